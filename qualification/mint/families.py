"""The recipes of the text families: data only, one entry per family.

Special tokens, template and pre-tokenizer are each family's own convention; sizes and training are shared.
"""

from __future__ import annotations

from qualification.mint.questions import known_answers, known_completions
from qualification.mint.recipe import Recipe, Shape, TokenizerRecipe

LLAMA_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Character for character what transformers puts in its place for ``model_type`` qwen2, whatever the file says."""

LLAMA_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

CHATML_TEMPLATE = """\
{%- if messages[0]['role'] != 'system' %}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

PHI3_TEMPLATE = """\
{%- for message in messages %}
{{- '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|assistant|>\\n' }}
{%- endif %}
"""

_LLAMA_ENDS = ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>")
_QWEN_ENDS = ("<|im_end|>", "<|endoftext|>")
_PHI3_ENDS = ("<|end|>", "<|endoftext|>")

LLAMA = Recipe(
    model_id="mint/llama-tiny",
    family="llama",
    tokenizer=TokenizerRecipe(
        special_tokens=(
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|finetune_right_pad_id|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eom_id|>",
            "<|eot_id|>",
        ),
        split=LLAMA_SPLIT,
        normalize=None,
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        pad_token="<|finetune_right_pad_id|>",
        prepend_bos=True,
    ),
    template=LLAMA_TEMPLATE,
    template_in="config",
    end_tokens=_LLAMA_ENDS,
    known_answers=known_answers("llama-tiny", _LLAMA_ENDS),
    known_completions=known_completions("<|end_of_text|>"),
    architecture="LlamaForCausalLM",
    parameters=69_824,
    size_bytes=180_000,
    config_extra=(("attention_bias", False), ("mlp_bias", False), ("head_dim", 16)),
)

QWEN2 = Recipe(
    model_id="mint/qwen2-tiny",
    family="qwen2",
    tokenizer=TokenizerRecipe(
        special_tokens=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        split=QWEN_SPLIT,
        normalize="NFC",
        tokenizer_class="Qwen2Tokenizer",
        bos_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    ),
    template=CHATML_TEMPLATE,
    template_in="file",
    end_tokens=_QWEN_ENDS,
    known_answers=known_answers("qwen2-tiny", _QWEN_ENDS),
    known_completions=known_completions("<|endoftext|>"),
    architecture="Qwen2ForCausalLM",
    parameters=69_952,
    size_bytes=180_000,
    config_extra=(("use_sliding_window", False),),
)

PHI3 = Recipe(
    model_id="mint/phi3-tiny",
    family="phi3",
    tokenizer=TokenizerRecipe(
        special_tokens=("<unk>", "<s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        split=LLAMA_SPLIT,
        normalize=None,
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token="<s>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    ),
    template=PHI3_TEMPLATE,
    template_in="config",
    end_tokens=_PHI3_ENDS,
    known_answers=known_answers("phi3-tiny", _PHI3_ENDS),
    known_completions=known_completions("<|endoftext|>"),
    architecture="Phi3ForCausalLM",
    parameters=102_592,
    size_bytes=245_000,
    config_extra=(("original_max_position_embeddings", 4096), ("rope_scaling", None), ("attention_bias", False)),
    shape=Shape(tie_word_embeddings=False),
    shards=3,
)

FAMILIES = (LLAMA, QWEN2, PHI3)
