"""How far a download is, for a person at a terminal; and what Ctrl-C leaves of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mlxk.errors import Interrupted
from mlxk.fetch import Plan, Progress
from mlxk.output import plain


@contextmanager
def shown(plan: Plan, *, wanted: bool) -> Iterator[Progress]:
    """A bar on stderr, if that is a terminal, once it takes longer than a second. Raises Interrupted."""
    try:
        if not wanted or not sys.stderr.isatty() or not plan.missing:
            yield lambda count: None
            return
        from tqdm import tqdm  # type: ignore[import-untyped]  # noqa: PLC0415 - for a terminal only; huggingface_hub brings it

        whole = plan.missing_bytes + plan.partial_bytes
        with tqdm(
            total=whole, initial=plan.partial_bytes, desc=plain(plan.name), unit="B", unit_scale=True, delay=1, leave=False
        ) as bar:

            def advance(count: int) -> None:
                bar.update(count)

            yield advance
    except KeyboardInterrupt:
        raise Interrupted("Interrupted. What has come is kept; the next time goes on with it.") from None
