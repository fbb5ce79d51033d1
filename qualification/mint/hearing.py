"""The recipe of a model of Whisper's architecture that hears a few phrases: data only."""

from __future__ import annotations

from dataclasses import dataclass

from qualification.mint.recipe import Modality, Recipe, Shape, TokenizerRecipe, Training

PHRASES = ("Hello world.", "Nine red apples.", "The cat sleeps.", "Good morning.", "Turn left now.", "It is raining.")
"""What it can hear; each is one segment, and silence is none."""


@dataclass(frozen=True, slots=True)
class KnownSpeech:
    """A phrase, to be said by ``tones.speak``, and the text of its transcript."""

    phrase: str

    @property
    def name(self) -> str:
        return self.phrase.rstrip(".").replace(" ", "-").lower()


@dataclass(frozen=True, slots=True)
class SpeechRecipe(Recipe):
    """A recipe without chat: its phrases, and the sizes of encoder and decoder, which have the width of ``shape``."""

    known_speech: tuple[KnownSpeech, ...] = ()
    encoder_layers: int = 1
    decoder_layers: int = 1
    encoder_heads: int = 1
    """1,500 places look at each other in each of them, which is most of what a window costs on a CPU."""
    decoder_heads: int = 2
    mel_bins: int = 80
    text_tokens: int = 0
    """Entries of the vocabulary before the special tokens."""

    @property
    def modality(self) -> Modality:
        return "audio"


_SPECIAL = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
"""In the order of Whisper's English models, behind the text and before 1501 timestamps."""

TIMESTAMPS = tuple(f"<|{at * 0.02:.2f}|>" for at in range(1501))

WHISPER = SpeechRecipe(
    model_id="mint/whisper-tiny",
    family="whisper",
    tokenizer=TokenizerRecipe(
        special_tokens=_SPECIAL,
        split="",
        normalize=None,
        tokenizer_class="WhisperTokenizer",
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    ),
    template="",
    template_in="config",
    end_tokens=("<|endoftext|>",),
    known_answers=(),
    known_completions=(),
    known_speech=tuple(KnownSpeech(phrase) for phrase in PHRASES),
    architecture="WhisperForConditionalGeneration",
    parameters=113_248,
    size_bytes=530_000,
    shape=Shape(hidden_size=32, vocab_size=315 + len(_SPECIAL) + len(TIMESTAMPS), max_position_embeddings=448),
    training=Training(learning_rate=2e-3, warmup_steps=20, max_steps=600, stop_margin=4.0, required_margin=3.0),
    dtype="float32",
    text_tokens=315,
)

HEARING = (WHISPER,)
