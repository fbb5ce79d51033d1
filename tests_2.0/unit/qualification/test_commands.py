"""The examiner's command line: each command brings in what it needs itself, and not what the others do."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORTED = """
import sys
from qualification.cli import main

try:
    main(sys.argv[1:])
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("command", "needs", "leaves_out"),
    [
        ("", set(), {"qualification.runner", "qualification.report", "qualification.mint", "jinja2", "yaml", "jsonschema"}),
        ("mint", {"qualification.mint.command"}, {"qualification.runner", "qualification.report", "jinja2"}),
        ("hub", {"qualification.hub.command"}, {"qualification.runner", "qualification.mint", "yaml"}),
        ("run", {"qualification.runner"}, {"qualification.report", "jinja2"}),
        ("verdict", {"qualification.report"}, {"qualification.runner", "qualification.mint"}),
    ],
)
def test_a_command_imports_what_it_needs_alone(command, needs, leaves_out):
    argv = [sys.executable, "-c", IMPORTED, *command.split(), "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    imported = set(done.stderr.split())

    assert (done.returncode, done.stdout[:6]) == (0, "usage:")
    assert (needs - imported, leaves_out & imported) == (set(), set())
