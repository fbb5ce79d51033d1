"""What a script is found to say of its model, and that nothing is ever made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualification.conversion import evidence
from qualification.conversion.evidence import NotConvertibleError


@pytest.mark.parametrize(
    ("script", "model_id", "name", "task", "category"),
    [
        ("gpt2", "openai-community/gpt2", "GPT2", "text-generation", "text"),
        ("bert", "bert-base-uncased", "Bert", "fill-mask", "text"),
        ("whisper", "openai/whisper-tiny", "whisper", "automatic-speech-recognition", "audio"),
    ],
)
def test_what_the_code_says_is_sure(legacy, script, model_id, name, task, category):
    found = evidence.find(legacy[script], "test_hf_unrelated")

    assert (found.model_id.value, found.name.value, found.task.value, found.category.value) == (model_id, name, task, category)
    assert found.guessed == ()


@pytest.mark.parametrize(
    ("code", "model_id"),
    [
        ('AutoModel.from_pretrained("org/a")', "org/a"),
        ('AutoModel.from_pretrained(pretrained_model_name_or_path="org/a")', "org/a"),
        ('x = pipeline("fill-mask", "org/a")', "org/a"),
        ('x = pipeline(task="fill-mask", model="org/a")', "org/a"),
        ('NAME = "gpt2"\nAutoModel.from_pretrained(NAME)', "gpt2"),
        ('class T:\n    model_id: str = "gpt2"', "gpt2"),
        ('class T:\n    def __init__(self, model_id="gpt2"):\n        pass', "gpt2"),
        ('class T:\n    def __init__(self, *, model_id=None):\n        self.model_id = model_id or "gpt2"', "gpt2"),
        ('self.model_id = given if given else "gpt2"', "gpt2"),
        ('VIT_MODELS_REGISTRY = {"google/vit": {}}', "google/vit"),
        ('model_name = "GPT-2"\nmodel_id = "gpt2"', "gpt2"),
        ('model_id = "a/b"\nAutoModel.from_pretrained("c/d")', "c/d"),
    ],
)
def test_a_model_is_found_however_the_code_names_it(code, model_id):
    found = evidence.find(f'task = "fill-mask"\n{code}', "test_hf_x")

    assert (found.model_id.value, found.model_id.certainty) == (model_id, "sure")


@pytest.mark.parametrize(
    "code",
    [
        "",
        'print("bert-base-uncased")',
        '"""Tests org/model."""',
        "# org/model",
        'model_name = "BERT"',
        'model_id = "weights/model.pt"',
        'model_id = "fill-mask"',
        'model_id = "not an id"',
        'model_id = "/home/me/model"',
        'model_id = f"org/{size}"',
        'AutoTokenizer.from_pretrained("org/tokenizer")',
        'if False:\n    model_id = compute("org/model")',
    ],
)
def test_where_no_code_names_a_model_none_is_made_up(code):
    with pytest.raises(NotConvertibleError, match="its code names no model"):
        evidence.find(f'task = "fill-mask"\n{code}\n', "test_hf_bert")


def test_a_task_from_the_file_s_name_is_a_guess_and_says_so():
    found = evidence.find('model_id = "org/a"', "test_hf_bert")

    assert found.guessed == ("name", "task", "category")
    assert (found.task.value, found.task.said) == ("fill-mask", "the file's name")


def test_a_model_without_a_task_is_refused():
    with pytest.raises(NotConvertibleError, match="names org/a and not what it does"):
        evidence.find('model_id = "org/a"', "test_hf_unheard_of")


def test_equally_direct_sayings_that_disagree_are_a_guess_with_all_of_them():
    found = evidence.find(
        'a = AutoModelForCausalLM.from_pretrained("a/b")\nb = AutoModelForCausalLM.from_pretrained("c/d")', "test_hf_x"
    )

    assert (found.model_id.value, found.model_id.certainty) == ("a/b", "guessed")
    assert "beside c/d" in found.model_id.said


@pytest.mark.parametrize("source", ["print 'two'", "def f(:", "\x00", "(" * 5000])
def test_what_is_no_python_is_refused(source):
    with pytest.raises(NotConvertibleError, match="no Python that this version reads"):
        evidence.find(source, "test_hf_x")


@given(st.text())
def test_any_text_is_read_or_refused(source):
    try:
        found = evidence.find(source, "test_hf_bert")
    except NotConvertibleError:
        return

    assert found.model_id.value in source
