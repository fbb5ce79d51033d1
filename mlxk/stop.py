"""Ending a text at the first stop string, while it is still being written."""

from __future__ import annotations

import re
from collections.abc import Iterable


class StopMatcher:
    """Passes text on, but for what could still become a stop string, and ends it before the earliest one.

    The text passed on is ``text[:first]``, where ``first`` is the lowest position at which any stop string begins, however the
    text is split into pushes. It holds back no more than the longest suffix that begins a stop string.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple({stop for stop in stops if stop})
        self._any = re.compile("|".join(map(re.escape, self._stops)) or r"(?!)")
        self._initials = frozenset(stop[0] for stop in self._stops)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.matched = False

    @property
    def held(self) -> int:
        """How many characters could still become a stop string."""
        return len(self._held)

    def push(self, text: str) -> str:
        """The text that is now certain; empty once a stop string has been found."""
        if self.matched:
            return ""
        self._held += text
        found = self._first_match()
        undecided = self._first_beginning(len(self._held) if found is None else found)
        if undecided is not None:
            return self._release(undecided)
        if found is not None:
            return self._end(found)
        return self._release(len(self._held))

    def finish(self) -> str:
        """What was held back, when no more text will come."""
        found = self._first_match()
        return self._release(len(self._held)) if found is None else self._end(found)

    def _first_match(self) -> int | None:
        found = self._any.search(self._held)
        return None if found is None else found.start()

    def _first_beginning(self, before: int) -> int | None:
        """The first place below ``before`` from which all that is held is the beginning, and not the whole, of a stop string."""
        for place in range(max(0, len(self._held) - self._longest + 1), before):
            if self._held[place] in self._initials:
                rest = self._held[place:]
                if any(len(stop) > len(rest) and stop.startswith(rest) for stop in self._stops):
                    return place
        return None

    def _release(self, length: int) -> str:
        certain, self._held = self._held[:length], self._held[length:]
        return certain

    def _end(self, length: int) -> str:
        self.matched = True
        certain, self._held = self._held[:length], ""
        return certain
