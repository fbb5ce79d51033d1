"""Legacy scripts as they are found: one for each way of naming a model."""

from __future__ import annotations

import pytest

GPT2 = """\
import unittest
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL = "openai-community/gpt2"


class TestGPT2(unittest.TestCase):
    def test_generation(self):
        tokenizer = AutoTokenizer.from_pretrained("somebody/another-tokenizer")
        model = AutoModelForCausalLM.from_pretrained(MODEL)
        self.assertIsNotNone(model.generate(**tokenizer("Once", return_tensors="pt")))
"""

BERT = """\
BERT_MODELS_REGISTRY = {
    "bert-base-uncased": {"description": "BERT base", "class": "BertForMaskedLM"},
    "bert-large-uncased": {"description": "BERT large", "class": "BertForMaskedLM"},
}


class TestBertModels:
    def __init__(self, model_id=None):
        self.model_id = model_id or "bert-base-uncased"
        self.task = "fill-mask"

    def test_pipeline(self):
        import transformers

        return transformers.pipeline(self.task, model=self.model_id)("The [MASK] is blue.")
"""

WHISPER = """\
import transformers


class test_hf_whisper:
    def __init__(self, resources=None, metadata=None):
        self.model_name = "openai/whisper-tiny"

    def test(self):
        recognize = transformers.pipeline("automatic-speech-recognition", model=self.model_name)
        return recognize("tone.wav")
"""


@pytest.fixture
def legacy():
    """Sources by the name of their model."""
    return {"gpt2": GPT2, "bert": BERT, "whisper": WHISPER}
