"""Converting 1,000 legacy scripts of 600 lines beside only parsing them: wall time of both."""

from __future__ import annotations

from collections.abc import Iterator

from figures import Row, at_most
from measuring import paired, wall_of
from session import ROOT, Session

SCRIPTS = 1000

SCRIPT = """\
import transformers


class TestGPT2:
    def test_generation(self):
        return transformers.AutoModelForCausalLM.from_pretrained("openai-community/gpt2")
"""

FILLING = """\


def helper_{number}(given, other=None):
    result = {{"value": given, "other": [each for each in range(10) if each]}}
    return result
"""

PARSE = "import ast, pathlib, sys; [ast.parse(path.read_bytes()) for path in pathlib.Path(sys.argv[1]).glob('*.py')]"


def measure(session: Session) -> Iterator[Row]:
    folder = session.scratch / "legacy"
    folder.mkdir()
    source = SCRIPT + "".join(FILLING.format(number=number) for number in range(120))
    for number in range(SCRIPTS):
        (folder / f"test_hf_{number:04d}.py").write_text(source, encoding="utf-8")
    argv = [session.python, ROOT / "scripts" / "convert_tests_bulk.py", "--input-dir", folder, "--overwrite"]
    floor = [session.python, "-c", PARSE, folder]
    ours, theirs = paired(max(3, session.rounds // 5), lambda: wall_of(argv), lambda: wall_of(floor))
    yield Row(f"convert {SCRIPTS:,} legacy scripts", "s", ours, "parsing them", theirs, at_most(30, of="figure"))
