"""Requests of a model that cannot be decoded together: they take turns, or wait for each other, each on a stream of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mlxk.engines import Event, Finished, Generation, Job, unexpected
from mlxk.errors import MlxkError


class Turns:
    """``stream`` is an engine's."""

    def __init__(self, stream: Callable[[Generation, Callable[[], bool]], Iterator[Event]]) -> None:
        self._stream = stream
        self._jobs: list[tuple[Job, Iterator[Event]]] = []

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        self._jobs.append((job, self._stream(job.request, job.cancelled)))

    def step(self) -> None:
        self._jobs = [(job, events) for job, events in self._jobs if _advance(job, events)]


class OneByOne(Turns):
    """For models that note in themselves where they are in an answer, as those with eyes do: it is finished before the next."""

    def step(self) -> None:
        if self._jobs and not _advance(*self._jobs[0]):
            del self._jobs[0]


def _advance(job: Job, events: Iterator[Event]) -> bool:
    """Hand one event on; whether there are more. A stream that is cancelled ends by itself."""
    try:
        event = next(events, None)
    except MlxkError as error:
        job.put(error)
        return False
    except Exception as error:  # noqa: BLE001 - the boundary of the request
        job.put(unexpected(error))
        return False
    if event is not None:
        job.put(event)
    return event is not None and not isinstance(event, Finished)
