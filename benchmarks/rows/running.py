"""``mlxk run`` beside mlx-lm's own command on the same model and prompt, both greedy: wall and processor time."""

from __future__ import annotations

from collections.abc import Iterator

from figures import Row, at_most
from measuring import cpu_of, paired, wall_of
from session import Session

MODEL = "mint/llama-tiny"
STORY = "Tell me a story."


def measure(session: Session) -> Iterator[Row]:
    environment = session.minted(MODEL)
    ours = [session.tool, "run", MODEL, STORY, "--temperature", "0", "--max-tokens", "100"]
    theirs = [
        session.peer("mlx-lm") / "mlx_lm.generate",
        "--model",
        MODEL,
        "--temp",
        "0",
        "--max-tokens",
        "100",
        "--prompt",
        STORY,
    ]
    for clock, said in ((wall_of, ""), (cpu_of, " (CPU)")):
        mine, other = paired(
            session.rounds, lambda clock=clock: clock(ours, **environment), lambda clock=clock: clock(theirs, **environment)
        )
        yield Row(f"mlxk run, a tiny model{said}", "s", mine, "mlx_lm.generate", other, at_most(1.05))
