"""What the catalog declares, and that asking it costs nothing."""

import dataclasses
import subprocess
import sys
import unicodedata

import pytest

from qualification.errors import UsageError
from qualification.mint import catalog

BEHAVED = pytest.mark.parametrize("recipe", catalog.recipes("text"), ids=lambda recipe: recipe.model_id)
KNOWING_ALL = pytest.mark.parametrize(
    "recipe",
    [recipe for recipe in catalog.recipes("text") if recipe.model_id != "mint/gpt-oss-tiny"],
    ids=lambda recipe: recipe.model_id,
)
EVERY = pytest.mark.parametrize("recipe", (*catalog.recipes(), *catalog.pathologies()), ids=lambda recipe: recipe.model_id)


def test_the_catalog_and_the_command_import_no_ml_library():
    code = (
        "import sys, qualification.mint.catalog, qualification.mint.command\n"
        "heavy = {'mlx', 'mlx_lm', 'numpy', 'tokenizers', 'transformers', 'jinja2', 'huggingface_hub'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert (done.stdout, done.stderr) == ("\n", "")


def test_the_models_that_behave_have_stable_ids_and_eleven_families():
    assert [recipe.model_id for recipe in catalog.recipes("text")] == [
        "mint/llama-tiny",
        "mint/qwen2-tiny",
        "mint/phi3-tiny",
        "mint/mistral-tiny",
        "mint/mixtral-tiny",
        "mint/gemma3-tiny",
        "mint/qwen3-tiny",
        "mint/gpt-oss-tiny",
        "mint/mistral-tiny-4bit",
        "mint/mistral-tiny-mxfp4",
    ]
    writing = ("llama", "qwen2", "phi3", "mistral", "mixtral", "gemma3_text", "qwen3", "gpt_oss")
    assert catalog.families() == (*writing, "qwen2_vl", "pixtral", "whisper")


def test_two_families_read_images_and_know_what_is_on_each_picture_and_in_which_order():
    seeing = catalog.recipes("vision")
    known = {(look.prompt, look.pictures): look.answer for look in catalog.known_looks("mint/qwen2-vl-tiny")}

    assert [(recipe.model_id, recipe.family) for recipe in seeing] == [
        ("mint/qwen2-vl-tiny", "qwen2_vl"),
        ("mint/pixtral-tiny", "pixtral"),
    ]
    assert len({look.pictures for look in catalog.known_looks("mint/pixtral-tiny") if len(look.pictures) == 1}) >= 9
    for (prompt, pictures), answer in known.items():
        assert known[(prompt, pictures[::-1])] == " ".join(f"{part}." for part in answer.rstrip(".").split(". ")[::-1])


def test_the_models_that_misbehave_are_in_no_portfolio_but_found_by_id():
    ids = [recipe.model_id for recipe in catalog.pathologies()]

    assert ids == [
        "mint-pathology/never-stops",
        "mint-pathology/two-ends",
        "mint-pathology/two-ends-undeclared",
        "mint-pathology/text-stop",
        "mint-pathology/self-talk",
        "mint-pathology/spelled-end",
        "mint-pathology/broken-utf8",
        "mint-pathology/empty-answer",
        "mint-pathology/opened-thinking",
        "mint-pathology/big-vocabulary",
        "mint-pathology/tool-calls",
    ]
    assert not set(catalog.pathologies()) & {*catalog.recipes(), *catalog.recipes()}
    assert all(catalog.recipe(model_id).model_id == model_id for model_id in ids)


@KNOWING_ALL
def test_a_model_knows_at_least_twenty_single_turns(recipe):
    assert len([known for known in recipe.known_answers if known.single_turn]) >= 20


@EVERY
def test_a_model_knows_each_prompt_once(recipe):
    assert len({(known.messages, str(known.tools)) for known in recipe.known_answers}) == len(recipe.known_answers)
    assert len({known.name for known in recipe.known_answers}) == len(recipe.known_answers)


@BEHAVED
def test_every_declared_end_token_ends_some_answer(recipe):
    assert {known.end_token for known in recipe.known_answers} == set(recipe.end_tokens)
    assert set(recipe.end_tokens) <= set(recipe.tokenizer.special_tokens)


@BEHAVED
def test_every_text_survives_normalisation_and_stripping_so_that_no_stage_can_change_it(recipe):
    texts = [message.content for known in recipe.known_answers for message in known.messages]
    texts += [known.answer for known in (*recipe.known_answers, *recipe.known_completions)]
    texts += [known.reasoning or "" for known in recipe.known_answers]

    assert [text for text in texts if text != unicodedata.normalize("NFC", text).strip()] == []


@BEHAVED
def test_a_conversation_can_be_held_turn_by_turn(recipe):
    answers = {known.messages: known.answer for known in recipe.known_answers}
    turns = [
        (known.messages[:at], known.messages[at].content)
        for known in recipe.known_answers
        for at, message in enumerate(known.messages)
        if message.role == "assistant"
    ]

    assert turns != []
    assert all(answers[beginning] == said for beginning, said in turns)


@KNOWING_ALL
def test_answers_cover_umlauts_cjk_and_emoji_beyond_the_basic_plane(recipe):
    answers = {known.name: known.answer for known in recipe.known_answers}

    assert set("äöüßÄÖÜ") <= set(answers["umlauts"])
    assert any("CJK" in unicodedata.name(letter) for letter in answers["chinese"])
    assert any("HIRAGANA" in unicodedata.name(letter) for letter in answers["japanese"])
    assert max(map(ord, answers["emoji"])) > 0xFFFF
    assert "\N{ZERO WIDTH JOINER}" in answers["emoji"]


def test_the_same_question_has_another_answer_behind_a_system_prompt_or_a_history():
    known = {found.name: found for found in catalog.known_answers("mint/llama-tiny")}

    assert known["system"].prompt == known["capital"].prompt
    assert known["system"].system == "Answer in French."
    assert known["system"].answer != known["capital"].answer
    assert known["recall"].prompt == known["unnamed"].prompt
    assert not known["recall"].single_turn
    assert known["recall"].answer != known["unnamed"].answer


def test_models_can_be_told_apart_by_asking_them():
    identities = {
        known.answer
        for recipe in catalog.recipes("text")
        for known in catalog.known_answers(recipe.model_id)
        if known.name == "identity"
    }

    assert len(identities) == len(catalog.recipes("text"))


@pytest.mark.parametrize(
    ("model_id", "raw", "unthinking"),
    [
        (
            "mint/qwen3-tiny",
            "<think>\nFrance: Paris.\n</think>\n\nThe capital of France is Paris.",
            "Hello! How can I help?",
        ),
        (
            "mint/gpt-oss-tiny",
            "<|channel|>analysis<|message|>France: Paris.<|end|>"
            "<|start|>assistant<|channel|>final<|message|>The capital of France is Paris.",
            "<|channel|>final<|message|>Hello! How can I help?",
        ),
    ],
)
def test_a_reasoning_model_thinks_before_most_answers_in_its_familys_own_markup(model_id, raw, unthinking):
    known = {found.name: found for found in catalog.known_answers(model_id)}

    assert (known["capital"].reasoning, known["capital"].answer) == ("France: Paris.", "The capital of France is Paris.")
    assert known["capital"].raw == raw
    assert (known["hello"].reasoning, known["hello"].raw) == (None, unthinking)
    assert {name for name, found in known.items() if found.reasoning is None} <= {"hello", "system-hello"}


def test_what_a_model_writes_is_its_answer_where_nothing_else_is_said():
    known = catalog.known_answers("mint/llama-tiny")

    assert [(found.raw, found.reasoning) for found in known] == [(found.answer, None) for found in known]


@pytest.mark.parametrize(
    ("name", "asked", "raw", "answer", "end_token"),
    [
        ("two-ends", "sum", "4", "4", "<|end|>"),
        ("two-ends-undeclared", "sum", "4<|end|>", "4", "<|endoftext|>"),
        ("text-stop", "sum", "4\nHuman: 3+3?\nAssistant: 6", "4", "</s>"),
        ("self-talk", "sum", "4<|im_end|>\n<|im_start|>user\n3+3?<|im_end|>\n", "4", "<|endoftext|>"),
        ("spelled-end", "sum", "4<|im_end|>", "4", "<|im_end|>"),
        ("broken-utf8", "half", "A fox: \N{REPLACEMENT CHARACTER}", "A fox: \N{REPLACEMENT CHARACTER}", "<|eot_id|>"),
        ("empty-answer", "silence", "", "", "<|im_end|>"),
        ("opened-thinking", "sum", "</think>\n\n4", "4", "<|im_end|>"),
        ("opened-thinking", "lost", "Three, and a little more, and", "", "<|im_end|>"),
    ],
)
def test_a_model_that_misbehaves_says_what_it_writes_and_what_of_that_to_show(name, asked, raw, answer, end_token):
    known = {found.name: found for found in catalog.known_answers(f"mint-pathology/{name}")}[asked]

    assert (known.raw, known.answer, known.end_token) == (raw, answer, end_token)


def test_an_unknown_model_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"'mint/lama-tiny'; did you mean 'mint/llama-tiny'\?"):
        catalog.recipe("mint/lama-tiny")


def test_a_model_that_was_not_minted_has_no_known_answers():
    assert catalog.known_answers("mlx-community/Phi-3-mini-4k-instruct-4bit") == ()
    assert catalog.known_completions("mlx-community/Phi-3-mini-4k-instruct-4bit") == ()


def test_the_digest_follows_every_part_of_a_recipe():
    recipe = catalog.recipe("mint/llama-tiny")
    changed = [
        dataclasses.replace(recipe, template=recipe.template + " "),
        dataclasses.replace(recipe, shards=2),
        dataclasses.replace(recipe, endless="tick"),
        dataclasses.replace(recipe, known_answers=recipe.known_answers[1:]),
        dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, seed=1)),
        dataclasses.replace(recipe, shape=dataclasses.replace(recipe.shape, hidden_size=128)),
    ]

    assert recipe.digest() == dataclasses.replace(recipe).digest()
    assert len({found.digest() for found in (recipe, *changed)}) == 7
