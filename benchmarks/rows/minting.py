"""Making every model that behaves, from an empty store, beside finding them made: wall time, once, since it is a minute."""

from __future__ import annotations

from collections.abc import Iterator

from figures import Row, at_most
from measuring import wall_of
from session import Session


def measure(session: Session) -> Iterator[Row]:
    argv = [session.python, "-m", "qualification", "mint"]
    made, found = (wall_of(argv, QUALIFICATION_MINT_ROOT=str(session.scratch / "store")) for _ in range(2))
    yield Row("mint all models, the first time", "s", (made,), "finding them made", (found,), at_most(180, of="figure"))
