"""User and system time of ``list`` and ``health`` over caches of 20 and 1,000 models, beside a bare interpreter."""

from __future__ import annotations

from collections.abc import Iterator

import make_cache
from figures import Row, at_most
from measuring import cpu_of, paired
from session import Session


def measure(session: Session) -> Iterator[Row]:
    for count, limit_s in ((20, 0.15), (1000, 0.5)):
        home = str(make_cache.make(count, session.scratch / f"home-{count}"))
        for command in ("list", "health"):
            argv = [session.tool, command, "--json"]
            ours, bare = paired(
                session.rounds,
                lambda argv=argv, home=home: cpu_of(argv, HF_HOME=home),
                lambda: cpu_of(session.bare),
            )
            yield Row(
                f"mlxk {command} --json, {count:,} models (CPU)", "s", ours, "python -c pass", bare, at_most(limit_s, of="figure")
            )
