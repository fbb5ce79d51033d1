"""Tries the release gate on wheels whose truth is known: one against itself, and against a copy whose engine is slowed.

``python benchmarks/check_gate.py WHEEL --times 10`` must say PASS ten times and FAIL ten times. A comparison takes 40 seconds to
a little more than a minute; on a busy machine it may say INCONCLUSIVE, which is no right answer here. Each is kept in
reports/compare/ with all its samples.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import peers
import slowed

REPORTS = peers.ROOT / "reports" / "compare"


def main() -> int:
    """Exit codes: 0 every answer was right, 1 one was not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--times", type=int, default=10, help="comparisons of each kind (default: 10)")
    parser.add_argument("--share", type=float, default=0.10, help="how much the engine is slowed (default: 0.10)")
    arguments = parser.parse_args()
    slow = slowed.make(arguments.wheel, arguments.share, REPORTS / "slowed")
    answers: Counter[tuple[str, str]] = Counter()
    for number in range(arguments.times):
        for kind, candidate, right in (("unchanged", arguments.wheel, "PASS"), ("slowed", slow, "FAIL")):
            answer = _compare(candidate, arguments.wheel, REPORTS / f"{kind}-{number}.json")
            answers[kind, answer] += 1
            print(
                f"{number + 1}/{arguments.times} {kind}: {answer}{'' if answer == right else f' (should be {right})'}", flush=True
            )
    print(", ".join(f"{kind} {answer} {count} of {arguments.times}" for (kind, answer), count in sorted(answers.items())))
    return 0 if set(answers) == {("unchanged", "PASS"), ("slowed", "FAIL")} else 1


def _compare(candidate: Path, base: Path, output: Path) -> str:
    argv = [sys.executable, "-m", "qualification", "compare", str(candidate), "--base", str(base), "--output", str(output)]
    done = subprocess.run(
        [*argv, "--constraints", str(peers.CONSTRAINTS)], cwd=peers.ROOT, stdout=subprocess.DEVNULL, check=False, timeout=1800
    )
    if done.returncode not in {0, 1, 5} or not output.is_file():
        raise SystemExit(f"the comparison itself failed with code {done.returncode}; see above")
    return str(json.loads(output.read_text(encoding="utf-8"))["answer"])


if __name__ == "__main__":
    raise SystemExit(main())
