"""What a bundle tells of the person who made it: nothing."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualification import redaction
from qualification.report.run import judge
from qualification.verify import verify

TOKEN = "hf_" + "abcdefghijklmnopqrstuvwxyz0123456789"[:34]
LEAKS = f"/home/alice/src/a.py, https://alice:pw@hub.example/, /Users/bob/hub and {Path.home()}/x used {TOKEN} and s3cr3t-of-mine"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("/home/alice/src/a.py", "~/src/a.py"),
        ("'/Users/bob'", "'~'"),
        (f"{Path.home()}/x", "~/x"),
        (f"token={TOKEN}", "token=<token>"),
        ("ghp_0123456789abcdefghij", "<token>"),
        ("sk-proj-0123456789abcdefghij", "<token>"),
        ("https://alice:pass-w0rd@hub.example/x", "https://<token>@hub.example/x"),
        ("Authorization: Bearer abc.def-123_456", "Authorization: Bearer <token>"),
        ("/tmp/pytest-of-alice/pytest-0", "/tmp/pytest-of-~/pytest-0"),
        ('["http://a", "b:c@d"] and http://127.0.0.1:8000/a@b', '["http://a", "b:c@d"] and http://127.0.0.1:8000/a@b'),
        ("below a folder of one's own: ../home/none, mine/Users/x", "below a folder of one's own: ../home/none, mine/Users/x"),
        ("homework, /homestead/x, hf_model and /opt/home", "homework, /homestead/x, hf_model and /opt/home"),
    ],
    ids=lambda text: f"{len(text)} characters",  # an id that names a home would itself be cleaned
)
def test_homes_and_tokens_are_replaced_and_nothing_else(text: str, cleaned: str) -> None:
    assert redaction.clean(text) == cleaned


@given(st.text())
def test_what_is_clean_stays_clean(text: str) -> None:
    once = redaction.clean(text)

    assert redaction.clean(once) == once


def test_no_file_of_a_bundle_holds_a_home_a_user_or_a_token_whatever_tests_and_processes_wrote(
    build: Any, begin: Any, sealed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "s3cr3t-of-mine")
    run = begin(build.plan(build.cell("text[a]"), build.cell("text[b]")))
    run.started("text[a]")
    raw = [run.told("text[a]", reason=LEAKS, metadata={"note": [LEAKS]}, outcome="failed")]
    run.ended("text[a]", "failed", 1, raw, reason=LEAKS, log="logs/a.1.log")
    bundle = sealed(run, tmp_path / "bundle", log=LEAKS)

    assert verify(bundle.root).holds
    files = [path for path in bundle.root.rglob("*") if path.is_file()]
    assert len(files) > 9
    secrets = ("alice", "bob", str(Path.home()) + "/", TOKEN, "s3cr3t")
    assert [(path.name, secret) for path in files for secret in secrets if secret in path.read_text(encoding="utf-8")] == []
    assert all("~/src/a.py" in path.read_text(encoding="utf-8") for path in files if path.name in ("a.1.log", "tests.jsonl"))
    user = getpass.getuser()
    assert f'"{user}"' not in bundle.machine.read_text(encoding="utf-8")


def test_a_log_that_is_no_text_is_cleaned_and_its_other_bytes_stay(build: Any, begin: Any, sealed: Any, tmp_path: Path) -> None:
    run = begin(build.plan(build.cell("text[a]")))
    run.ran("text[a]", log="logs/a.1.log")
    bundle = sealed(run, tmp_path / "bundle")
    bundle.manifest.unlink()
    log = bundle.logs / "a.1.log"
    log.write_bytes(b"\xff\x00 /home/alice/x \xc3\r\n" + TOKEN.encode() + b"\xfe no end of line")

    judge(bundle)

    assert log.read_bytes() == b"\xff\x00 ~/x \xc3\r\n<token>\xfe no end of line"
    assert not [path.name for path in bundle.root.iterdir() if path.name.startswith(".")]
