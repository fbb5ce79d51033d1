"""``scripts/convert_tests_bulk.py`` over folders of scripts: its output, its tests, its report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qualification.mint import store

SCRIPT = Path(__file__).parents[3] / "scripts" / "convert_tests_bulk.py"
EXPECTED = Path(__file__).with_name("gpt2_improved.py")
"""What becomes of the first script; `make lint` shows that it is formatted."""


@pytest.fixture
def folder(tmp_path, legacy):
    """A folder ``test`` with four scripts, one of which names no model."""
    (tmp_path / "test").mkdir()
    for name, source in {**legacy, "nothing": "print('hello')\n"}.items():
        (tmp_path / "test" / f"test_hf_{name}.py").write_text(source, encoding="utf-8")
    return tmp_path


@pytest.fixture
def convert(folder):
    """``convert(*options)``: the command as a user calls it; gives its exit code, stdout and stderr."""

    def run(*options):
        argv = [sys.executable, str(SCRIPT), *options]
        done = subprocess.run(argv, cwd=folder, capture_output=True, timeout=60, check=False)
        return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")

    return run


def test_a_folder_is_converted_and_told_as_the_guide_shows(convert, folder):
    code, said, _ = convert()

    rule = "=" * 70
    assert said.startswith(
        f"{rule}\nBulk Test Conversion\n{rule}\n"
        "Input directory:  test\nOutput directory: test/improved\nPattern:          test_hf_*.py\n"
        f"Files found:      4\n{rule}\n\n"
        "[1/4] ✅ Converted test_hf_bert.py → test_hf_bert_improved.py\n"
        "[2/4] ✅ Converted test_hf_gpt2.py → test_hf_gpt2_improved.py\n"
        "[3/4] ❌ Not convertible: test_hf_nothing.py: its code names no model"
    )
    assert f"{rule}\nConversion complete: 3/4 successful\n{rule}\n" in said
    assert "2 of 3 tests run on MLX; the others say why not" in said
    assert code == 1
    assert sorted(path.name for path in (folder / "test" / "improved").iterdir()) == [
        "conversion_report.json",
        "test_hf_bert_improved.py",
        "test_hf_gpt2_improved.py",
        "test_hf_whisper_improved.py",
    ]


def test_a_test_is_written_as_expected_to_the_byte(convert, folder):
    assert convert("--pattern", "test_hf_gpt*.py")[0] == 0

    written = (folder / "test" / "improved" / "test_hf_gpt2_improved.py").read_bytes()
    assert written == EXPECTED.read_bytes()


def test_the_report_says_what_was_sure_guessed_and_refused(convert, folder):
    convert()

    report = json.loads((folder / "test" / "improved" / "conversion_report.json").read_text(encoding="utf-8"))
    assert report["counts"] == {"converted": 3, "refused": 1}
    bert, gpt2, nothing, whisper = report["scripts"]
    assert (bert["backend"], gpt2["backend"], whisper["backend"]) == (None, "mlx-lm", "mlx-audio")
    assert gpt2["facts"]["model_id"] == {
        "value": "openai-community/gpt2",
        "certainty": "sure",
        "said": "from_pretrained, line 10",
    }
    assert nothing["facts"] is None and nothing["reason"].startswith("its code names no model")


@pytest.fixture
def pytest_on_converted(folder):
    """``pytest_on_converted(*options)``: what pytest prints over the converted tests, none of which may fail."""
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-c",
        str(SCRIPT.parents[1] / "pyproject.toml"),
        "--rootdir",
        str(folder),
    ]

    def run(*options, **variables):
        environment = {**os.environ, **variables}
        done = subprocess.run(
            [*argv, "test/improved", *options],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


def test_the_tests_are_collected_and_wait_for_their_flag(convert, pytest_on_converted):
    convert()

    assert "6 skipped" in pytest_on_converted()


def test_what_cannot_run_here_says_why(convert, pytest_on_converted, tmp_path):
    convert()

    said = pytest_on_converted("--run-model-tests", "-k", "BertInference or GPT2Inference", HF_HOME=str(tmp_path / "empty"))

    assert "2 skipped" in said
    assert "nothing in mlxk runs fill-mask on MLX" in said
    assert "openai-community/gpt2 does not run here: " in said


def test_a_converted_test_runs_its_model_on_mlx_where_it_is_there(convert, folder, pytest_on_converted, tmp_path):
    source = 'model = AutoModelForCausalLM.from_pretrained("mint/llama-tiny")\n'
    (folder / "test" / "test_hf_llama.py").write_text(source, encoding="utf-8")
    store.install("mint/llama-tiny", tmp_path / "home")

    convert("--pattern", "test_hf_llama.py")

    assert "1 passed" in pytest_on_converted("--run-model-tests", "-k", "Inference", HF_HOME=str(tmp_path / "home"))


def test_what_is_there_is_kept_unless_it_may_be_replaced(convert, folder):
    mine = folder / "test" / "improved" / "test_hf_gpt2_improved.py"
    mine.parent.mkdir()
    mine.write_text("# mine\n", encoding="utf-8")

    assert "Kept test_hf_gpt2.py" in convert("--pattern", "test_hf_gpt2.py")[1]
    assert mine.read_text(encoding="utf-8") == "# mine\n"

    convert("--pattern", "test_hf_gpt2.py", "--overwrite")
    assert mine.read_bytes() == EXPECTED.read_bytes()


def test_limit_and_folders_are_as_asked_for(convert, folder):
    code, said, _ = convert("--limit", "2", "--input-dir", str(folder / "test"), "--output-dir", str(folder / "out"))

    assert (code, "Files found:      2" in said) == (0, True)
    assert len(list((folder / "out").glob("test_*.py"))) == 2
    assert not (folder / "test" / "improved").exists()


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--input-dir", "absent"], 2, "absent is not a folder; --input-dir names the one with the legacy tests"),
        (["--pattern", "../*.py"], 2, "--pattern '../*.py' is no pattern of file names"),
        (["--limit", "0"], 2, "'0' is no number of scripts"),
        (["--output-dir", "test/test_hf_gpt2.py"], 1, "test/test_hf_gpt2.py: File exists"),
    ],
)
def test_what_cannot_be_is_one_sentence(convert, options, code, sentence):
    got, _, error = convert(*options)

    assert (got, sentence in error, "Traceback" in error) == (code, True, False)


def test_scripts_that_cannot_be_read_are_refused_and_harm_no_other(convert, folder):
    (folder / "test" / "test_hf_a.py").write_bytes(b"model_id = '\xff'\n")
    (folder / "test" / "test_hf_b.py").write_bytes(b"# -*- coding: no-such -*-\n")
    (folder / "test" / "test_hf_c.py").write_text("def broken(:\n", encoding="utf-8")
    (folder / "test" / "test_hf_d.py").symlink_to("nowhere.py")

    code, said, _ = convert()

    assert code == 1
    assert said.count("❌ Not convertible") == 4
    assert "Conversion complete: 3/7 successful" in said


def test_an_id_is_written_as_text_and_never_as_code(convert, folder):
    source = 'model_id = "org/model"\ntask = "text-generation"\nmodel_type = "x\\"\\"\\"y"\n'
    (folder / "test" / "test_hf_quote.py").write_text(source, encoding="utf-8")

    convert("--pattern", "test_hf_quote.py")

    written = (folder / "test" / "improved" / "test_hf_quote_improved.py").read_text(encoding="utf-8")
    compile(written, "written", "exec")
