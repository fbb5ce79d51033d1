"""One answer on the command line: load, generate, hand the pieces on."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from mlxk import engines, interrupts
from mlxk.compatibility import Modality
from mlxk.engines import Completion, Engine, Event, Generation
from mlxk.library import Library, Model

if TYPE_CHECKING:
    from mlxk.engines.audio import AudioEngine


def admit(library: Library, spec: str, modality: Modality = "text") -> Model:
    """The model that ``spec`` names, if it may be loaded for this."""
    return library.admit(library.locate(spec), modality=modality)


def load(model: Model, modality: Modality = "text") -> Engine:
    """The model in memory, for as long as the process lives. A Ctrl-C ends it, whatever the libraries make of one while imported.

    Importing makes a million objects that stay. To look for garbage among them takes 4 % of it, and at the end of the process
    0.2 s.
    """
    with _importing():
        return engines.load(model, modality)


def load_for_speech(model: Model) -> AudioEngine:
    """The same of a speech model."""
    with _importing():
        return engines.load_for_speech(model)


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        interrupts.check()


def answer(engine: Engine, request: Generation, show: Callable[[Event], None] = lambda event: None) -> Completion:
    """The whole answer; ``show`` gets each piece of it as soon as it is certain. Ctrl-C raises KeyboardInterrupt."""
    completion = engines.complete(_shown(engine.stream(request, interrupts.received), show))
    if completion is None:
        raise KeyboardInterrupt
    return completion


def _shown(events: Iterable[Event], show: Callable[[Event], None]) -> Iterator[Event]:
    for event in events:
        show(event)
        yield event
