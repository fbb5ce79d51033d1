"""One answer on the command line: load, generate, hand the pieces on."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator

from mlxk import engines, interrupts, output
from mlxk.compatibility import Modality
from mlxk.engines import Completion, Engine, Event, Generation
from mlxk.library import Library, Model


def admit(library: Library, spec: str, modality: Modality = "text") -> Model:
    """The model that ``spec`` names, if it may be loaded for this."""
    return library.admit(library.locate(spec), modality=modality)


def load(model: Model, modality: Modality = "text") -> Engine:
    """The model in memory, for as long as the process lives. A Ctrl-C ends it, whatever the libraries make of one while imported.

    Importing makes a million objects that stay. To look for garbage among them takes 4 % of it, and at the end of the process
    0.2 s.
    """
    gc.disable()
    try:
        with output.unheard():
            return engines.load(model, modality)
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
