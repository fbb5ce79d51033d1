"""A recipe's tokenizer: its files, and the token ids that the model is trained on.

The chat template is rendered here with jinja2 alone, so that comparing the ids with those of transformers, once the
model is written, compares two implementations.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass

import jinja2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from qualification.errors import MintError
from qualification.mint.recipe import KnownAnswer, Recipe


@dataclass(frozen=True, slots=True)
class Row:
    """One thing to learn: after ``prompt`` come exactly ``answer``, up to the end token where there is one, and ``beyond``."""

    name: str
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    beyond: tuple[int, ...] = ()

    @property
    def learned(self) -> tuple[int, ...]:
        """All that the model has to give of itself."""
        return self.answer + self.beyond


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
        vocab_size=trained_entries(recipe) - len(spec.plain_tokens),
        min_frequency=1,
        special_tokens=list(spec.special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(recipe), trainer)
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in spec.plain_tokens])
    if spec.prepend_bos and spec.bos_token is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{spec.bos_token} $A",
            special_tokens=[(spec.bos_token, tokenizer.token_to_id(spec.bos_token))],
        )
    if tokenizer.get_vocab_size() != trained_entries(recipe):
        raise MintError(
            f"{recipe.model_id}: the text of its recipe gives {tokenizer.get_vocab_size()} tokens, "
            f"not {trained_entries(recipe)}; add known answers or lower vocab_size."
        )
    return _with_unused(tokenizer, spec.unused_tokens) if spec.unused_tokens else tokenizer


def trained_entries(recipe: Recipe) -> int:
    """How many entries of the vocabulary a text can make; their ids come first."""
    return recipe.shape.vocab_size - recipe.tokenizer.unused_tokens


def rows(recipe: Recipe, tokenizer: Tokenizer) -> tuple[Row, ...]:
    """What is trained: every known answer behind its rendered conversation, every completion behind its raw prompt.

    For an endless model, it is which token follows each token of the vocabulary, whatever came before.
    """
    if recipe.endless is not None:
        return _successors(recipe.endless, tokenizer)
    beyond = tuple(tokenizer.encode(recipe.after_end, add_special_tokens=False).ids)

    def row(name: str, prompt: list[int], answer: tuple[str, ...], end_token: str) -> Row:
        ids = [token for part in answer for token in _ids(tokenizer, part)]
        return Row(name, tuple(prompt), (*ids, token_id(tokenizer, end_token)), beyond)

    chats = [
        row(
            known.name,
            tokenizer.encode(render(recipe, known), add_special_tokens=False).ids,
            known.written or (known.answer,),
            known.end_token,
        )
        for known in recipe.known_answers
    ]
    raw = [
        row(known.name, tokenizer.encode(known.prompt, add_special_tokens=True).ids, (known.answer,), known.end_token)
        for known in recipe.known_completions
    ]
    return (*chats, *raw)


def render(recipe: Recipe, known: KnownAnswer) -> str:
    """The conversation as the chat template writes it, up to where the assistant begins to speak.

    Source of the settings and the filter: ``transformers.utils.chat_template_utils``, which compiles templates with them.
    """
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = functools.partial(json.dumps, ensure_ascii=False)
    return environment.from_string(recipe.template).render(
        messages=[message.as_dict() for message in known.messages],
        tools=known.tools or None,
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
        "added_tokens_decoder": {
            str(token_id(tokenizer, token)): _added_token(token, special=token in spec.special_tokens)
            for token in (*spec.special_tokens, *spec.plain_tokens)
        },
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
    """Every text a model meets; the tokens of one piece are cut out of it, so no merge spans them."""
    texts = [render(recipe, known) for known in recipe.spoken]
    texts += [known.raw for known in recipe.spoken]
    for token in (*recipe.tokenizer.special_tokens, *recipe.tokenizer.plain_tokens):
        texts = [piece for text in texts for piece in text.split(token)]
    raw = [text for known in recipe.known_completions for text in (known.prompt, known.answer)]
    return [*texts, *raw, recipe.endless or ""]


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The tokens of a text; bytes that are no text become one token each."""
    content = text.encode("utf-8", "surrogateescape")
    if content.decode("utf-8", "replace") == text:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)
    return [token_id(tokenizer, _byte_letter(byte)) for byte in content]


def _byte_letter(byte: int) -> str:
    """The letter that stands for a byte in the vocabulary: printable ones for themselves, the others from U+0100 on.

    Source: ``bytes_to_unicode`` in GPT-2's encoder.
    """
    unprintable = [*range(0x21), *range(0x7F, 0xA1), 0xAD]
    return chr(0x100 + unprintable.index(byte)) if byte in unprintable else chr(byte)


def _successors(endless: str, tokenizer: Tokenizer) -> tuple[Row, ...]:
    """One row for each token: in the endless text, the next one of it; anywhere else, its first."""
    cycle = tokenizer.encode(endless, add_special_tokens=False).ids
    if len(set(cycle)) != len(cycle):
        raise MintError(f"The endless text {endless!r} is made of the tokens {cycle}, but none may come twice.")
    follower = dict(zip(cycle, (*cycle[1:], cycle[0]), strict=True))
    return tuple(Row(f"token {at}", (at,), (follower.get(at, cycle[0]),)) for at in range(tokenizer.get_vocab_size()))


def _with_unused(tokenizer: Tokenizer, count: int) -> Tokenizer:
    """The tokenizer with so many more entries, which no merge leads to."""
    content = json.loads(tokenizer.to_str())
    vocabulary = content["model"]["vocab"]
    first = tokenizer.get_vocab_size()
    vocabulary.update({f"<unused{at}>": first + at for at in range(count)})
    return Tokenizer.from_str(json.dumps(content))


def _added_token(token: str, *, special: bool) -> dict[str, object]:
    return {
        "content": token,
        "lstrip": False,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
        "special": special,
    }
