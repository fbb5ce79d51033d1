"""Recipes of models that misbehave in ways real ones do, each in one way: data only.

What a tool has to show of them is ``KnownAnswer.answer``, and what they write is ``KnownAnswer.raw``.
"""

from __future__ import annotations

import dataclasses

from qualification.mint.calling import CALLING
from qualification.mint.families import LLAMA, PHI3, QWEN2, QWEN3, QWEN3_TEMPLATE
from qualification.mint.questions import messages
from qualification.mint.recipe import KnownAnswer, Recipe, TokenizerRecipe, Training

SKY = "The sky is blue."
SKY_ASKED = "What color is the sky?"

TRANSCRIPT_TEMPLATE = """\
{%- for message in messages %}
{{- {'system': 'System', 'user': 'Human', 'assistant': 'Assistant'}[message['role']] + ': ' + message['content'] + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- 'Assistant: ' }}
{%- endif %}
"""


def _known(name: str, prompt: str, answer: str, end_token: str, *written: str) -> KnownAnswer:
    return KnownAnswer(name, messages(None, prompt), answer, end_token, written=written)


def _thought(name: str, prompt: str, reasoning: str | None, answer: str, *written: str) -> KnownAnswer:
    return dataclasses.replace(_known(name, prompt, answer, "<|im_end|>", *written), reasoning=reasoning)


def _like(sister: Recipe, name: str, known: tuple[KnownAnswer, ...], tokenizer: TokenizerRecipe | None = None) -> Recipe:
    """A small model of the sister's family that knows a few answers, and ends where its ``eos_token`` says."""
    tokenizer = tokenizer or sister.tokenizer
    parameters = sister.parameters - _entries_saved(sister)
    return dataclasses.replace(
        sister,
        model_id=f"mint-pathology/{name}",
        tokenizer=tokenizer,
        end_tokens=(tokenizer.eos_token,),
        known_answers=known,
        known_completions=(),
        parameters=parameters,
        size_bytes=4 * parameters + 12_000,
        shape=dataclasses.replace(sister.shape, vocab_size=_VOCABULARY),
        training=Training(max_steps=100),
        dtype="float32",
        shards=1,
    )


def _entries_saved(sister: Recipe) -> int:
    """Parameters of the vocabulary's entries that the sister has and a small model lacks."""
    tables = 1 if sister.shape.tie_word_embeddings else 2
    return tables * (sister.shape.vocab_size - _VOCABULARY) * sister.shape.hidden_size


_VOCABULARY = 270
_CHATML_UNDECLARED = dataclasses.replace(QWEN2.tokenizer, eos_token="<|endoftext|>")
_PLAIN = dataclasses.replace(
    LLAMA.tokenizer,
    special_tokens=("<unk>", "<s>", "</s>"),
    bos_token="<s>",
    eos_token="</s>",
    pad_token="</s>",
)

NEVER_STOPS = dataclasses.replace(_like(LLAMA, "never-stops", ()), endless="tick, tock;\n")
"""Whatever it is asked, no token leads to an end, and what it writes repeats from the first line on."""

TWO_ENDS = dataclasses.replace(
    _like(PHI3, "two-ends", (_known("sky", SKY_ASKED, SKY, "<|end|>"), _known("sum", "2+2?", "4", "<|end|>"))),
    end_tokens=PHI3.end_tokens,
    after_end="<|endoftext|>",
)
"""Two end tokens in a row, both of which the configuration names."""

TWO_ENDS_UNDECLARED = _like(
    PHI3,
    "two-ends-undeclared",
    (
        _known("sky", SKY_ASKED, SKY, "<|endoftext|>", SKY, "<|end|>"),
        _known("sum", "2+2?", "4", "<|endoftext|>", "4", "<|end|>"),
    ),
)
"""The same weights; the configuration names the second end token only."""

TEXT_STOP = dataclasses.replace(
    _like(
        LLAMA,
        "text-stop",
        (
            _known("sky", SKY_ASKED, SKY, "</s>", SKY, "\nHuman: And grass?\nAssistant: Green."),
            _known("sum", "2+2?", "4", "</s>", "4", "\nHuman: 3+3?\nAssistant: 6"),
        ),
        _PLAIN,
    ),
    template=TRANSCRIPT_TEMPLATE,
)
"""Writes the other side's next turn too, in a format whose turns begin with ordinary text."""

SELF_TALK = _like(
    QWEN2,
    "self-talk",
    (
        _known(
            "sky",
            SKY_ASKED,
            SKY,
            "<|endoftext|>",
            f"{SKY}<|im_end|>\n<|im_start|>user\nAnd grass?<|im_end|>\n<|im_start|>assistant\nGreen.<|im_end|>\n",
        ),
        _known("sum", "2+2?", "4", "<|endoftext|>", "4<|im_end|>\n<|im_start|>user\n3+3?<|im_end|>\n"),
    ),
    _CHATML_UNDECLARED,
)
"""Goes on with the conversation after the end of its turn, which the configuration does not name."""

SPELLED_END = _like(
    QWEN2,
    "spelled-end",
    (
        _known("sky", SKY_ASKED, SKY, "<|im_end|>", SKY, "<|im_", "end|>", "\nAnd grass?"),
        _known("sum", "2+2?", "4", "<|im_end|>", "4", "<|im_", "end|>"),
    ),
)
"""Writes the name of its end token in ordinary tokens before it writes the end token itself."""

BROKEN_UTF8 = _like(
    LLAMA,
    "broken-utf8",
    (
        _known("half", "Half a fox?", "A fox: \ufffd", "<|eot_id|>", "A fox: ", "\udcf0\udc9f\udca6"),
        _known("accent", "Half an accent?", "caf\ufffd au lait", "<|eot_id|>", "caf", "\udcc3", " au lait"),
        _known("whole", "A whole fox?", "A fox: 🦊", "<|eot_id|>"),
    ),
)
"""Writes bytes that are no text: the first three of an emoji's four at the end, the first of two in the middle."""

EMPTY_ANSWER = _like(
    QWEN2,
    "empty-answer",
    (_known("silence", "Say nothing.", "", "<|im_end|>"), _known("sky", SKY_ASKED, SKY, "<|im_end|>")),
)
"""Ends at once."""

OPENED_THINKING = dataclasses.replace(
    _like(
        QWEN3,
        "opened-thinking",
        (
            _thought("sky", SKY_ASKED, "By day it is blue.", SKY, "By day it is blue.\n</think>\n\n", SKY),
            _thought("sum", "2+2?", None, "4", "</think>\n\n", "4"),
            _thought("again", "Is water wet?", "Water, wet.", "Yes", "<think>\nWater, wet.\n</think>\n\n", "Yes"),
            _thought("lost", "What is pi?", "Three, and a little more, and", "", "Three, and a little more, and"),
        ),
    ),
    template=QWEN3_TEMPLATE.replace("assistant\\n'", "assistant\\n<think>\\n'"),
)
"""The template has opened the reasoning already, as in DeepSeek's R1: the model closes it, opens it again, or never closes it."""

BIG_VOCABULARY = dataclasses.replace(
    QWEN2,
    model_id="mint-pathology/big-vocabulary",
    tokenizer=dataclasses.replace(QWEN2.tokenizer, unused_tokens=151_936 - 384),
    known_answers=tuple(known for known in QWEN2.known_answers if known.name in {"cats", "capital", "hello", "mixed"}),
    known_completions=(),
    parameters=QWEN2.parameters + (151_936 - QWEN2.shape.vocab_size) * QWEN2.shape.hidden_size,
    size_bytes=24_200_000,
    shape=dataclasses.replace(QWEN2.shape, vocab_size=151_936),
)
"""A vocabulary of real size, whose costs show."""

PATHOLOGIES = (
    NEVER_STOPS,
    TWO_ENDS,
    TWO_ENDS_UNDECLARED,
    TEXT_STOP,
    SELF_TALK,
    SPELLED_END,
    BROKEN_UTF8,
    EMPTY_ANSWER,
    OPENED_THINKING,
    BIG_VOCABULARY,
    CALLING,
)
