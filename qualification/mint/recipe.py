"""What a minted model is made from: the types of a recipe, and the digest that names its result.

Nothing here imports an ML library: a plan is made from recipes on machines that will never mint one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
Modality = Literal["text", "vision", "audio"]

FORMAT = 1
"""Raised whenever the makers write something else for an unchanged recipe, so that no store keeps the old one."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str

    def as_dict(self) -> dict[str, Any]:
        """As templates take it."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """A conversation, what greedy decoding gives for it up to ``end_token``, and what of that a tool has to show."""

    name: str
    messages: tuple[Message, ...]
    answer: str
    """What the user is to see as the answer."""
    end_token: str
    """The token at which the model's own configuration lets a generation end."""
    reasoning: str | None = None
    """What the user is to see as reasoning, apart from the answer; None where the model gives none."""
    written: tuple[str, ...] = ()
    """What the model writes before ``end_token``, where that is not the answer alone: markup, or more than it should.

    The parts are turned into tokens one by one, so a special token's name that two parts share is spelled in ordinary
    tokens. Bytes that are no text stand here as Python's ``surrogateescape`` puts them.
    """

    @property
    def raw(self) -> str:
        """All the text that mlx-lm gives, with the names of special tokens in it."""
        written = "".join(self.written or (self.answer,))
        return written.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The functions that the model may call."""
        return []

    @property
    def prompt(self) -> str:
        """What the user said last."""
        return next(message.content for message in reversed(self.messages) if message.role == "user")

    @property
    def system(self) -> str | None:
        """The system prompt, if the conversation has one."""
        first = self.messages[0]
        return first.content if first.role == "system" else None

    @property
    def single_turn(self) -> bool:
        """Whether a bare prompt is the whole conversation."""
        return len(self.messages) == 1


@dataclass(frozen=True, slots=True)
class KnownCompletion:
    """A raw prompt, outside any chat template, and the exact text that greedy decoding continues it with."""

    name: str
    prompt: str
    answer: str
    end_token: str


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a decoder-only transformer, under the names of ``config.json``.

    One layer of width 64 learns all answers; 64 is the smallest that still permits quantization in groups of 64.
    """

    hidden_size: int = 64
    num_hidden_layers: int = 1
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    intermediate_size: int = 128
    vocab_size: int = 512
    max_position_embeddings: int = 4096
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    tie_word_embeddings: bool = True


@dataclass(frozen=True, slots=True)
class TokenizerRecipe:
    """A byte-level BPE tokenizer: the special tokens take ids 0, 1, … in the order given here."""

    special_tokens: tuple[str, ...]
    split: str
    """The pre-tokenizer's regular expression."""
    normalize: Literal["NFC"] | None
    tokenizer_class: str
    bos_token: str | None
    eos_token: str
    pad_token: str
    prepend_bos: bool = False
    """Whether encoding a raw text puts ``bos_token`` before it."""
    plain_tokens: tuple[str, ...] = ()
    """Tokens of one piece that are not special, so no decoder leaves them out; they take the last ids."""
    unused_tokens: int = 0
    """Entries of the vocabulary, of the size in ``Shape``, that no text and no answer ever makes."""


@dataclass(frozen=True, slots=True)
class Training:
    """How the weights are found: AdamW on the full batch, warm-up, then a cosine down to zero at ``max_steps``."""

    seed: int = 0
    learning_rate: float = 1e-2
    warmup_steps: int = 10
    max_steps: int = 45
    clip_norm: float = 1.0
    handicap: float = 6.0
    """Taken from the right token's logit in the loss, so that learning goes on until it leads by more than that.

    Without it the gradient of a fit that is right, but by little, all but vanishes, and training takes twice as long.
    """
    buckets: int = 8
    """Rows of similar length are computed together, so that little is spent on padding."""
    stop_margin: float = 7.0
    """Training ends when the right token leads by this much at every answer position, in 32-bit floats."""
    required_margin: float = 6.0
    """What must be left of it after rounding to the type on disk; below that, the mint fails."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """Weights in groups of few bits, under the names of ``config.json``; training goes on until they answer right."""

    mode: Literal["affine", "mxfp4"]
    group_size: int
    bits: int
    learning_rate: float = 3e-3
    max_steps: int = 40


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a minted text model's weights and files depend on, but for the version of mlx."""

    model_id: str
    family: str
    tokenizer: TokenizerRecipe
    template: str
    template_in: Literal["file", "config"]
    """``chat_template.jinja``, or the entry in ``tokenizer_config.json``: real repositories have either."""
    end_tokens: tuple[str, ...]
    """All tokens that end a generation; the first is the one that ends a turn."""
    known_answers: tuple[KnownAnswer, ...]
    known_completions: tuple[KnownCompletion, ...]
    architecture: str
    parameters: int
    size_bytes: int
    """Rough size of all files, for planning."""
    config_extra: tuple[tuple[str, str | int | float | bool | None], ...] = ()
    """Entries of ``config.json`` that only this family has."""
    shape: Shape = Shape()
    training: Training = Training()
    shards: int = 1
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    quantization: Quantization | None = None
    after_end: str = ""
    """What the model goes on to write behind its end token, for whoever does not stop there."""
    endless: str | None = None
    """What the model writes over and over, whatever it was asked, without ever ending; it has no known answers then."""

    @property
    def modality(self) -> Modality:
        """The portfolio that it is a part of."""
        return "text"

    @property
    def spoken(self) -> tuple[KnownAnswer, ...]:
        """All questions and answers, from which the tokenizer is made."""
        return self.known_answers

    def digest(self) -> str:
        """SHA-256 of this recipe and of the makers' format, as 64 hex digits."""
        content = {"format": FORMAT, "recipe": dataclasses.asdict(self)}
        canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
