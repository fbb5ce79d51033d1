"""A file is put in place whole or not at all, also where a system call takes less than it is given."""

import subprocess
import sys

LIMITED = """
import resource, sys
from mlxk.files import write_whole

resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    write_whole(sys.argv[1], b"new" * 1000)
except OSError as error:
    print(error.strerror)
"""


def test_a_file_system_that_takes_only_a_part_keeps_the_old_content(tmp_path):
    (tmp_path / "main").write_text("old", encoding="utf-8")
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "main")]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    assert said == "File too large\n"
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {"main": "old"}
