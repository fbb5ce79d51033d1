"""What the cheapest commands cost beside a bare interpreter."""

from __future__ import annotations

from collections.abc import Iterator

from figures import Row, at_most
from measuring import paired, wall_of
from session import Session


def measure(session: Session) -> Iterator[Row]:
    for option in ("--version", "--help"):
        ours, bare = paired(session.rounds, lambda option=option: wall_of([session.tool, option]), lambda: wall_of(session.bare))
        yield Row(f"mlxk {option}", "s", ours, "python -c pass", bare, at_most(2.0))
