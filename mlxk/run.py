"""One answer on the command line: load, generate, hand the pieces on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mlxk import engines
from mlxk.cache import find
from mlxk.engines import Completion, Engine, Event, Generation, Text
from mlxk.errors import GenerationFailed
from mlxk.library import Library, Model


def admit(library: Library, spec: str) -> Model:
    """The model that ``spec`` names, if it may be loaded."""
    return library.admit(find(library.hub, spec))


def answer(
    model: Model,
    request: Generation,
    show: Callable[[str], None] = lambda text: None,
    load: Callable[[Model], Engine] = engines.load,
) -> Completion:
    """The whole answer; ``show`` gets each piece of it as soon as it is certain."""
    engine = load(model)
    completion = engines.complete(_shown(engine.stream(request, lambda: False), show))
    if completion is None:
        raise GenerationFailed("The answer ended before it was finished.")
    return completion


def _shown(events: Iterator[Event], show: Callable[[str], None]) -> Iterator[Event]:
    for event in events:
        if isinstance(event, Text):
            show(event.text)
        yield event
