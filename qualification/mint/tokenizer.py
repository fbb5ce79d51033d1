"""A recipe's tokenizer: its files, and the token ids that the model is trained on.

The chat template is rendered here with jinja2 alone, so that comparing the ids with those of transformers, once the
model is written, compares two implementations.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import jinja2
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from qualification.errors import MintError
from qualification.mint.recipe import Message, Recipe


@dataclass(frozen=True, slots=True)
class Row:
    """One thing to learn: after ``prompt`` come exactly ``answer``, of which the last id is the end token."""

    name: str
    prompt: tuple[int, ...]
    answer: tuple[int, ...]


def build(recipe: Recipe) -> Tokenizer:
    """A byte-level BPE tokenizer over everything the recipe says: special tokens, 256 bytes, then merges.

    Raises ``MintError`` if the recipe's text is too little to fill the vocabulary.
    """
    spec = recipe.tokenizer
    tokenizer = Tokenizer(models.BPE())
    if spec.normalize == "NFC":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(spec.split), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.shape.vocab_size,
        min_frequency=1,
        special_tokens=list(spec.special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(recipe), trainer)
    if spec.prepend_bos and spec.bos_token is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{spec.bos_token} $A",
            special_tokens=[(spec.bos_token, tokenizer.token_to_id(spec.bos_token))],
        )
    if tokenizer.get_vocab_size() != recipe.shape.vocab_size:
        raise MintError(
            f"{recipe.model_id}: the text of its recipe gives {tokenizer.get_vocab_size()} tokens, "
            f"not {recipe.shape.vocab_size}; add known answers or lower vocab_size."
        )
    return tokenizer


def rows(recipe: Recipe, tokenizer: Tokenizer) -> tuple[Row, ...]:
    """What is trained: every known answer behind its rendered conversation, every completion behind its raw prompt."""

    def row(name: str, prompt: list[int], answer: str, end_token: str) -> Row:
        ids = tokenizer.encode(answer, add_special_tokens=False).ids
        return Row(name, tuple(prompt), (*ids, token_id(tokenizer, end_token)))

    chats = [
        row(
            known.name,
            tokenizer.encode(render(recipe, known.messages), add_special_tokens=False).ids,
            known.answer,
            known.end_token,
        )
        for known in recipe.known_answers
    ]
    raw = [
        row(known.name, tokenizer.encode(known.prompt, add_special_tokens=True).ids, known.answer, known.end_token)
        for known in recipe.known_completions
    ]
    return (*chats, *raw)


def render(recipe: Recipe, messages: tuple[Message, ...]) -> str:
    """The conversation as the chat template writes it, up to where the assistant begins to speak.

    Source of the two settings: ``transformers.utils.chat_template_utils``, which compiles templates with them.
    """
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(recipe.template).render(
        messages=[{"role": message.role, "content": message.content} for message in messages],
        add_generation_prompt=True,
        bos_token=recipe.tokenizer.bos_token or "",
        eos_token=recipe.tokenizer.eos_token,
    )


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a special token; raises ``MintError`` if the tokenizer has none by that name."""
    found = tokenizer.token_to_id(token)
    if found is None:
        raise MintError(f"The token {token!r} is named in a recipe, but not among its special tokens.")
    return int(found)


def files(recipe: Recipe, tokenizer: Tokenizer) -> tuple[tuple[str, bytes], ...]:
    """The tokenizer's files by name, as they lie in a repository."""
    spec = recipe.tokenizer
    named = {"bos_token": spec.bos_token, "eos_token": spec.eos_token, "pad_token": spec.pad_token}
    special = {name: token for name, token in named.items() if token is not None}
    settings: dict[str, object] = {
        "tokenizer_class": spec.tokenizer_class,
        **named,
        "clean_up_tokenization_spaces": False,
        "model_max_length": recipe.shape.max_position_embeddings,
        "added_tokens_decoder": {str(token_id(tokenizer, token)): _added_token(token) for token in spec.special_tokens},
    }
    written = [
        ("tokenizer.json", f"{tokenizer.to_str(pretty=True)}\n".encode()),
        ("special_tokens_map.json", json_bytes(special)),
    ]
    if recipe.template_in == "config":
        settings["chat_template"] = recipe.template
    else:
        written.append(("chat_template.jinja", recipe.template.encode()))
    return (*written, ("tokenizer_config.json", json_bytes(settings)))


def json_bytes(content: object) -> bytes:
    """JSON as repositories have it: indented by two, text readable, a newline at the end."""
    return f"{json.dumps(content, indent=2, ensure_ascii=False)}\n".encode()


def _corpus(recipe: Recipe) -> list[str]:
    """Every text a model meets; the special tokens are cut out of the rendered prompts, so no merge spans them."""
    texts = [render(recipe, known.messages) for known in recipe.known_answers]
    for token in recipe.tokenizer.special_tokens:
        texts = [piece for text in texts for piece in text.split(token)]
    answers = [known.answer for known in recipe.known_answers]
    raw = [text for known in recipe.known_completions for text in (known.prompt, known.answer)]
    return [*texts, *answers, *raw]


def _added_token(token: str) -> dict[str, object]:
    return {
        "content": token,
        "lstrip": False,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
        "special": True,
    }
