"""The recipes of the text families: data only, one entry per family.

Special tokens, template and pre-tokenizer are each family's own convention; sizes and training are shared.
"""

from __future__ import annotations

import dataclasses

from qualification.mint.questions import FEW, Thinking, known_answers, known_completions
from qualification.mint.recipe import Quantization, Recipe, Shape, TokenizerRecipe, Training

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

MISTRAL_TEMPLATE = """\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
{%- set before = messages[0]['content'] + '\\n\\n' %}
{%- set turns = messages[1:] %}
{%- else %}
{%- set before = '' %}
{%- set turns = messages %}
{%- endif %}
{%- for message in turns %}
{%- if message['role'] == 'user' %}
{{- '[INST]' + (before if loop.first else '') + message['content'] + '[/INST]' }}
{%- else %}
{{- message['content'] + eos_token }}
{%- endif %}
{%- endfor %}
"""

GEMMA_TEMPLATE = """\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
{%- set before = messages[0]['content'] + '\\n\\n' %}
{%- set turns = messages[1:] %}
{%- else %}
{%- set before = '' %}
{%- set turns = messages %}
{%- endif %}
{%- for message in turns %}
{{- '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' }}
{{- (before if loop.first else '') + message['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<start_of_turn>model\\n' }}
{%- endif %}
"""

QWEN3_TEMPLATE = """\
{%- for message in messages %}
{%- if message['role'] == 'assistant' %}
{%- set content = message['content'].split('</think>')[-1].lstrip('\\n') %}
{%- else %}
{%- set content = message['content'] %}
{%- endif %}
{{- '<|im_start|>' + message['role'] + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

HARMONY_TEMPLATE = """\
{{- '<|start|>system<|message|>Reasoning: low<|end|>' }}
{%- for message in messages %}
{%- if message['role'] == 'system' %}
{{- '<|start|>developer<|message|># Instructions\\n\\n' + message['content'] + '<|end|>' }}
{%- elif message['role'] == 'assistant' %}
{{- '<|start|>assistant<|channel|>final<|message|>' + message['content'] + '<|end|>' }}
{%- else %}
{{- '<|start|>user<|message|>' + message['content'] + '<|end|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|start|>assistant' }}
{%- endif %}
"""

THINK = Thinking(thoughtful="<think>\n{reasoning}\n</think>\n\n{answer}", direct="{answer}")

HARMONY = Thinking(
    thoughtful=("<|channel|>analysis<|message|>{reasoning}<|end|><|start|>assistant<|channel|>final<|message|>{answer}"),
    direct="<|channel|>final<|message|>{answer}",
)

_LLAMA_ENDS = ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>")
_QWEN_ENDS = ("<|im_end|>", "<|endoftext|>")
_PHI3_ENDS = ("<|end|>", "<|endoftext|>")
_MISTRAL_ENDS = ("</s>",)
_GEMMA_ENDS = ("<end_of_turn>", "<eos>")
_HARMONY_ENDS = ("<|return|>", "<|endoftext|>")

_MISTRAL_TOKENIZER = TokenizerRecipe(
    special_tokens=("<unk>", "<s>", "</s>", "[INST]", "[/INST]"),
    split=LLAMA_SPLIT,
    normalize=None,
    tokenizer_class="PreTrainedTokenizerFast",
    bos_token="<s>",
    eos_token="</s>",
    pad_token="</s>",
    prepend_bos=True,
)

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

MISTRAL = Recipe(
    model_id="mint/mistral-tiny",
    family="mistral",
    tokenizer=_MISTRAL_TOKENIZER,
    template=MISTRAL_TEMPLATE,
    template_in="file",
    end_tokens=_MISTRAL_ENDS,
    known_answers=known_answers("mistral-tiny", _MISTRAL_ENDS),
    known_completions=known_completions("</s>"),
    architecture="MistralForCausalLM",
    parameters=102_592,
    size_bytes=232_000,
    config_extra=(("head_dim", 16), ("sliding_window", None)),
    shape=Shape(tie_word_embeddings=False),
)

MIXTRAL = Recipe(
    model_id="mint/mixtral-tiny",
    family="mixtral",
    tokenizer=_MISTRAL_TOKENIZER,
    template=MISTRAL_TEMPLATE,
    template_in="config",
    end_tokens=_MISTRAL_ENDS,
    known_answers=known_answers("mixtral-tiny", _MISTRAL_ENDS),
    known_completions=known_completions("</s>"),
    architecture="MixtralForCausalLM",
    parameters=127_424,
    size_bytes=537_000,
    config_extra=(("num_local_experts", 4), ("num_experts_per_tok", 2), ("sliding_window", None)),
    shape=Shape(intermediate_size=64, tie_word_embeddings=False),
    training=Training(learning_rate=5e-3, max_steps=70),
    dtype="float32",
)

GEMMA3 = Recipe(
    model_id="mint/gemma3-tiny",
    family="gemma3_text",
    tokenizer=TokenizerRecipe(
        special_tokens=("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
        split=LLAMA_SPLIT,
        normalize=None,
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        prepend_bos=True,
    ),
    template=GEMMA_TEMPLATE,
    template_in="file",
    end_tokens=_GEMMA_ENDS,
    known_answers=known_answers("gemma3-tiny", _GEMMA_ENDS),
    known_completions=known_completions("<eos>"),
    architecture="Gemma3ForCausalLM",
    parameters=69_984,
    size_bytes=168_000,
    config_extra=(
        ("head_dim", 16),
        ("hidden_activation", "gelu_pytorch_tanh"),
        ("query_pre_attn_scalar", 16),
        ("rope_local_base_freq", 10000.0),
        ("sliding_window", 512),
        ("sliding_window_pattern", 1),
    ),
    shape=Shape(rms_norm_eps=1e-6),
)

QWEN3 = Recipe(
    model_id="mint/qwen3-tiny",
    family="qwen3",
    tokenizer=TokenizerRecipe(
        special_tokens=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        split=QWEN_SPLIT,
        normalize="NFC",
        tokenizer_class="Qwen2Tokenizer",
        bos_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        plain_tokens=("<think>", "</think>"),
    ),
    template=QWEN3_TEMPLATE,
    template_in="config",
    end_tokens=_QWEN_ENDS,
    known_answers=known_answers("qwen3-tiny", _QWEN_ENDS, THINK),
    known_completions=known_completions("<|endoftext|>"),
    architecture="Qwen3ForCausalLM",
    parameters=69_856,
    size_bytes=167_000,
    config_extra=(("attention_bias", False), ("head_dim", 16), ("use_sliding_window", False)),
)

GPT_OSS = Recipe(
    model_id="mint/gpt-oss-tiny",
    family="gpt_oss",
    tokenizer=TokenizerRecipe(
        special_tokens=(
            "<|startoftext|>",
            "<|endoftext|>",
            "<|return|>",
            "<|constrain|>",
            "<|channel|>",
            "<|start|>",
            "<|end|>",
            "<|message|>",
            "<|call|>",
        ),
        split=LLAMA_SPLIT,
        normalize=None,
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token="<|startoftext|>",
        eos_token="<|return|>",
        pad_token="<|endoftext|>",
    ),
    template=HARMONY_TEMPLATE,
    template_in="file",
    end_tokens=_HARMONY_ENDS,
    known_answers=known_answers("gpt-oss-tiny", _HARMONY_ENDS, HARMONY, FEW),
    known_completions=known_completions("<|endoftext|>"),
    architecture="GptOssForCausalLM",
    parameters=187_088,
    size_bytes=780_000,
    config_extra=(
        ("head_dim", 16),
        ("num_local_experts", 4),
        ("num_experts_per_tok", 2),
        ("sliding_window", 128),
        ("rope_scaling", None),
    ),
    shape=Shape(num_hidden_layers=2, intermediate_size=64, vocab_size=480, tie_word_embeddings=False),
    training=Training(learning_rate=7e-3, max_steps=50),
    dtype="float32",
)

MISTRAL_4BIT = dataclasses.replace(
    MISTRAL,
    model_id="mint/mistral-tiny-4bit",
    known_answers=known_answers("mistral-tiny-4bit", _MISTRAL_ENDS),
    size_bytes=95_000,
    dtype="float32",
    quantization=Quantization(mode="affine", group_size=64, bits=4),
)

MISTRAL_MXFP4 = dataclasses.replace(
    MISTRAL,
    model_id="mint/mistral-tiny-mxfp4",
    known_answers=known_answers("mistral-tiny-mxfp4", _MISTRAL_ENDS),
    size_bytes=84_000,
    dtype="float32",
    quantization=Quantization(mode="mxfp4", group_size=32, bits=4),
)

FAMILIES = (LLAMA, QWEN2, PHI3, MISTRAL, MIXTRAL, GEMMA3, QWEN3, GPT_OSS, MISTRAL_4BIT, MISTRAL_MXFP4)
