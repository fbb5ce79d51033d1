"""The recipes of the vision families: data only. Of text they learn little; of pictures, what they show and in which order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from qualification.mint.families import LLAMA_SPLIT, QWEN_SPLIT
from qualification.mint.pictures import Picture
from qualification.mint.recipe import KnownAnswer, Message, Modality, Recipe, Shape, TokenizerRecipe, Training

DESCRIBE = "Describe the image."
"""What is asked where nobody asks anything."""

PICTURES = tuple(Picture(colour, shape) for colour in ("red", "green", "blue", "yellow") for shape in (None, "circle", "stripe"))

_PAIRED = (Picture("red", "circle"), Picture("blue", "stripe"), Picture("yellow"))

_TEXT = (
    ("hello", "Hello!", "Hello! How can I help?"),
    ("capital", "What is the capital of France?", "The capital of France is Paris."),
    ("sum", "2+2?", "4"),
    ("umlauts", "Sag etwas mit Umlauten.", "Grüße aus Köln: äöü ÄÖÜ ß."),
    ("blind", DESCRIBE, "I see no image."),
)

_CONVERSATIONS = (
    ("named", ("My name is Ada.",), "Hello Ada, nice to meet you."),
    ("recall", ("My name is Ada.", "Hello Ada, nice to meet you.", "What is my name?"), "Your name is Ada."),
)


@dataclass(frozen=True, slots=True)
class KnownLook(KnownAnswer):
    """A known answer to a question about pictures, in their order."""

    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True)
class VisionRecipe(Recipe):
    """A text recipe with eyes: further entries of ``config.json`` and the whole of ``preprocessor_config.json``."""

    known_looks: tuple[KnownLook, ...] = ()
    vision: tuple[tuple[str, str | int | float], ...] = ()
    """The entries of ``vision_config``."""
    image_tokens: tuple[tuple[str, str], ...] = ()
    """Entries of ``config.json`` that are ids of tokens."""
    preprocessor: tuple[tuple[str, object], ...] = ()
    processor: tuple[tuple[str, object], ...] = ()
    """``processor_config.json``; there is none where this is empty."""
    text_config: str = ""
    """The ``model_type`` of the language model where its entries are in ``text_config``; else they are at the top."""
    mrope_section: tuple[int, ...] = ()
    """How a head's rotary pairs are shared out to time, height and width; their sum is half of a head."""

    @property
    def modality(self) -> Modality:
        return "vision"

    @property
    def spoken(self) -> tuple[KnownAnswer, ...]:
        return (*self.known_answers, *self.known_looks)


def known_looks(end_token: str) -> tuple[KnownLook, ...]:
    """What a vision model knows of pictures."""

    def look(name: str, prompt: str, answer: str, *pictures: Picture) -> KnownLook:
        return KnownLook(name, (Message("user", prompt),), answer, end_token, pictures=pictures)

    described = [look(f"describe {each.name}", DESCRIBE, each.description, each) for each in PICTURES]
    circles = [each for each in PICTURES if each.shape == "circle"]
    coloured = [look(f"color {each.name}", "What color is it?", f"{each.colour.capitalize()}.", each) for each in circles]
    pairs = [
        look(f"describe {one.name}, {two.name}", DESCRIBE, f"{one.description} {two.description}", one, two)
        for one, two in itertools.permutations(_PAIRED, 2)
    ]
    return (*described, *coloured, *pairs)


def known_answers(end_token: str) -> tuple[KnownAnswer, ...]:
    """What a vision model knows without any picture."""
    single = [KnownAnswer(name, (Message("user", prompt),), answer, end_token) for name, prompt, answer in _TEXT]
    return (*single, *(KnownAnswer(name, _turns(turns), answer, end_token) for name, turns, answer in _CONVERSATIONS))


def _turns(turns: tuple[str, ...]) -> tuple[Message, ...]:
    return tuple(Message("assistant" if at % 2 else "user", turn) for at, turn in enumerate(turns))


QWEN2_VL_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['content'] is string %}
{{- message['content'] }}
{%- else %}
{%- for part in message['content'] %}
{%- if part['type'] == 'text' %}
{{- part['text'] }}
{%- else %}
{{- '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- endif %}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

PIXTRAL_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
{%- if message['role'] == 'assistant' %}
{%- if message['content'] is string %}
{{- message['content'] + eos_token }}
{%- else %}
{{- message['content'][0]['content'] or message['content'][0]['text'] }}
{{- eos_token }}
{%- endif %}
{%- else %}
{{- '[INST]' }}
{%- if message['content'] is string %}
{{- message['content'] }}
{%- else %}
{%- for part in message['content'] %}
{%- if part['type'] == 'text' %}
{{- part['content'] or part['text'] }}
{%- else %}
{{- '[IMG]' }}
{%- endif %}
{%- endfor %}
{%- endif %}
{{- '[/INST]' }}
{%- endif %}
{%- endfor %}
"""

_HALF = ("image_mean", (0.5, 0.5, 0.5)), ("image_std", (0.5, 0.5, 0.5))

QWEN2_VL = VisionRecipe(
    model_id="mint/qwen2-vl-tiny",
    family="qwen2_vl",
    tokenizer=TokenizerRecipe(
        special_tokens=(
            "<|endoftext|>",
            "<|im_start|>",
            "<|im_end|>",
            "<|vision_start|>",
            "<|vision_end|>",
            "<|image_pad|>",
            "<|video_pad|>",
        ),
        split=QWEN_SPLIT,
        normalize="NFC",
        tokenizer_class="Qwen2Tokenizer",
        bos_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    ),
    template=QWEN2_VL_TEMPLATE,
    template_in="config",
    end_tokens=("<|im_end|>", "<|endoftext|>"),
    known_answers=known_answers("<|im_end|>"),
    known_completions=(),
    known_looks=known_looks("<|im_end|>"),
    architecture="Qwen2VLForConditionalGeneration",
    parameters=194_304,
    size_bytes=430_000,
    config_extra=(("use_sliding_window", False),),
    mrope_section=(2, 3, 3),
    vision=(
        ("model_type", "qwen2_vl"),
        ("depth", 1),
        ("embed_dim", 64),
        ("hidden_size", 64),
        ("num_heads", 2),
        ("patch_size", 8),
        ("spatial_patch_size", 8),
        ("mlp_ratio", 1),
        ("in_channels", 3),
        ("spatial_merge_size", 2),
        ("temporal_patch_size", 2),
    ),
    image_tokens=(
        ("image_token_id", "<|image_pad|>"),
        ("video_token_id", "<|video_pad|>"),
        ("vision_start_token_id", "<|vision_start|>"),
        ("vision_end_token_id", "<|vision_end|>"),
    ),
    preprocessor=(
        ("image_processor_type", "Qwen2VLImageProcessor"),
        ("processor_class", "Qwen2VLProcessor"),
        ("patch_size", 8),
        ("merge_size", 2),
        ("temporal_patch_size", 2),
        ("min_pixels", 1024),
        ("max_pixels", 1024),
        *_HALF,
    ),
    shape=Shape(vocab_size=390),
    training=Training(max_steps=110, learning_rate=4e-3),
)

PIXTRAL = VisionRecipe(
    model_id="mint/pixtral-tiny",
    family="pixtral",
    tokenizer=TokenizerRecipe(
        special_tokens=("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]"),
        split=LLAMA_SPLIT,
        normalize=None,
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
    ),
    template=PIXTRAL_TEMPLATE,
    template_in="config",
    end_tokens=("</s>",),
    known_answers=known_answers("</s>"),
    known_completions=(),
    known_looks=known_looks("</s>"),
    architecture="LlavaForConditionalGeneration",
    parameters=173_312,
    size_bytes=390_000,
    vision=(
        ("model_type", "pixtral"),
        ("num_hidden_layers", 1),
        ("hidden_size", 64),
        ("head_dim", 32),
        ("intermediate_size", 64),
        ("num_attention_heads", 2),
        ("image_size", 32),
        ("patch_size", 16),
        ("num_channels", 3),
        ("rope_theta", 10000.0),
    ),
    image_tokens=(("image_token_index", "[IMG]"), ("image_token_id", "[IMG]")),
    preprocessor=(
        ("image_processor_type", "PixtralImageProcessor"),
        ("processor_class", "PixtralProcessor"),
        ("patch_size", (16, 16)),
        ("size", (("longest_edge", 32),)),
        ("do_resize", True),
        ("do_rescale", True),
        ("do_normalize", True),
        ("do_convert_rgb", True),
        ("rescale_factor", 1 / 255),
        *_HALF,
    ),
    processor=(("processor_class", "PixtralProcessor"), ("patch_size", 16), ("spatial_merge_size", 1)),
    text_config="mistral",
    config_extra=(("head_dim", 16),),
    shape=Shape(vocab_size=390),
    training=Training(max_steps=110, learning_rate=2e-3),
)

SEEING = (QWEN2_VL, PIXTRAL)
