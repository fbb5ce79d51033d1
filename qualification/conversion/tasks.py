"""What is known of the Hub's tasks: their category, which classes and model families do them, and which run on MLX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Category = Literal["text", "vision", "audio", "multimodal"]

CATEGORIES: Mapping[str, Category] = {
    **dict.fromkeys(
        (
            "text-generation", "text2text-generation", "fill-mask", "text-classification", "token-classification",
            "question-answering", "summarization", "translation", "feature-extraction", "sentence-similarity",
            "zero-shot-classification", "multiple-choice", "table-question-answering", "time-series-forecasting",
        ),
        "text",
    ),
    **dict.fromkeys(
        (
            "image-classification", "object-detection", "image-segmentation", "semantic-segmentation", "depth-estimation",
            "image-feature-extraction", "image-to-image", "video-classification", "keypoint-detection", "mask-generation",
            "zero-shot-object-detection", "zero-shot-image-classification", "masked-image-modeling",
        ),
        "vision",
    ),
    **dict.fromkeys(
        ("automatic-speech-recognition", "audio-classification", "text-to-audio", "text-to-speech", "audio-xvector"), "audio"
    ),
    **dict.fromkeys(
        ("image-text-to-text", "image-to-text", "visual-question-answering", "document-question-answering", "any-to-any"),
        "multimodal",
    ),
}  # fmt: skip
"""Every task that is known, with what it is about. Source: the Hub's list of tasks and transformers' pipelines."""

BACKENDS: Mapping[str, str] = {
    "text-generation": "mlx-lm",
    "image-text-to-text": "mlx-vlm",
    "image-to-text": "mlx-vlm",
    "visual-question-answering": "mlx-vlm",
    "automatic-speech-recognition": "mlx-audio",
}
"""What runs a task on MLX, through ``mlxk run``."""

HEADS: Mapping[str, str] = {
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForMaskedLM": "fill-mask",
    "ForSeq2SeqLM": "text2text-generation",
    "ForConditionalGeneration": "",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMultipleChoice": "multiple-choice",
    "ForImageClassification": "image-classification",
    "ForObjectDetection": "object-detection",
    "ForSemanticSegmentation": "semantic-segmentation",
    "ForDepthEstimation": "depth-estimation",
    "ForVideoClassification": "video-classification",
    "ForMaskedImageModeling": "masked-image-modeling",
    "ForVision2Seq": "image-to-text",
    "ForImageTextToText": "image-text-to-text",
    "ForVisualQuestionAnswering": "visual-question-answering",
    "ForCTC": "automatic-speech-recognition",
    "ForSpeechSeq2Seq": "automatic-speech-recognition",
    "ForAudioClassification": "audio-classification",
}
"""How transformers' class names end, and what such a class does; empty where the ending alone does not say."""

FAMILIES: Mapping[str, str] = {
    "bert": "fill-mask", "roberta": "fill-mask", "distilbert": "fill-mask", "albert": "fill-mask", "electra": "fill-mask",
    "deberta": "fill-mask", "xlm": "fill-mask", "mpnet": "fill-mask", "gpt": "text-generation", "gptj": "text-generation",
    "gpt2": "text-generation", "llama": "text-generation", "mistral": "text-generation", "mixtral": "text-generation",
    "qwen2": "text-generation", "qwen3": "text-generation", "phi": "text-generation", "phi3": "text-generation",
    "gemma": "text-generation", "gemma2": "text-generation", "opt": "text-generation", "bloom": "text-generation",
    "falcon": "text-generation", "mamba": "text-generation", "olmo": "text-generation", "starcoder2": "text-generation",
    "t5": "text2text-generation", "bart": "text2text-generation", "pegasus": "summarization", "marian": "translation",
    "vit": "image-classification", "swin": "image-classification", "deit": "image-classification",
    "beit": "image-classification", "convnext": "image-classification", "resnet": "image-classification",
    "detr": "object-detection", "yolos": "object-detection", "segformer": "semantic-segmentation", "dpt": "depth-estimation",
    "clip": "zero-shot-image-classification", "whisper": "automatic-speech-recognition",
    "wav2vec2": "automatic-speech-recognition", "hubert": "automatic-speech-recognition", "llava": "image-text-to-text",
    "paligemma": "image-text-to-text", "idefics": "image-text-to-text", "blip": "image-to-text", "git": "image-to-text",
    "vilt": "visual-question-answering",
}  # fmt: skip
"""What a family of models usually does: no more than a guess, where a file's name is all that tells."""


def of_class(name: str) -> str | None:
    """The task that a transformers class does by its name, as ``AutoModelForCausalLM`` does text-generation."""
    return next((task for ending, task in HEADS.items() if name.endswith(ending)), None) or None


def of_family(name: str) -> str | None:
    """The usual task of a family; of ``gpt_neo`` that of ``gpt``."""
    words = name.lower().replace("-", "_").split("_")
    return next((FAMILIES[each] for each in ("_".join(words), words[0]) if each in FAMILIES), None)
