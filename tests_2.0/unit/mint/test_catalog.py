"""What the catalog declares, and that asking it costs nothing."""

import dataclasses
import subprocess
import sys
import unicodedata

import pytest

from qualification.errors import UsageError
from qualification.mint import catalog

RECIPES = pytest.mark.parametrize("recipe", catalog.recipes(), ids=lambda recipe: recipe.family)


def test_the_catalog_and_the_command_import_no_ml_library():
    code = (
        "import sys, qualification.mint.catalog, qualification.mint.command\n"
        "heavy = {'mlx', 'mlx_lm', 'numpy', 'tokenizers', 'transformers', 'jinja2', 'huggingface_hub'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert (done.stdout, done.stderr) == ("\n", "")


def test_the_families_are_llama_qwen2_and_phi3_under_stable_ids():
    assert [recipe.model_id for recipe in catalog.recipes()] == ["mint/llama-tiny", "mint/qwen2-tiny", "mint/phi3-tiny"]
    assert catalog.families() == ("llama", "qwen2", "phi3")


@RECIPES
def test_every_model_knows_at_least_twenty_single_turns_and_each_prompt_once(recipe):
    single = [known for known in recipe.known_answers if known.single_turn]

    assert len(single) >= 20
    assert len({known.messages for known in recipe.known_answers}) == len(recipe.known_answers)
    assert len({known.name for known in recipe.known_answers}) == len(recipe.known_answers)


@RECIPES
def test_every_declared_end_token_ends_some_answer(recipe):
    assert {known.end_token for known in recipe.known_answers} == set(recipe.end_tokens)
    assert set(recipe.end_tokens) <= set(recipe.tokenizer.special_tokens)


@RECIPES
def test_every_text_survives_normalisation_and_stripping_so_that_no_stage_can_change_it(recipe):
    texts = [message.content for known in recipe.known_answers for message in known.messages]
    texts += [known.answer for known in (*recipe.known_answers, *recipe.known_completions)]

    assert [text for text in texts if text != unicodedata.normalize("NFC", text).strip()] == []


@RECIPES
def test_a_conversation_can_be_held_turn_by_turn(recipe):
    answers = {known.messages: known.answer for known in recipe.known_answers}
    turns = [
        (known.messages[:at], known.messages[at].content)
        for known in recipe.known_answers
        for at, message in enumerate(known.messages)
        if message.role == "assistant"
    ]

    assert len(turns) >= 4
    assert all(answers[beginning] == said for beginning, said in turns)


@RECIPES
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
        for recipe in catalog.recipes()
        for known in catalog.known_answers(recipe.model_id)
        if known.name == "identity"
    }

    assert len(identities) == len(catalog.recipes())


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
        dataclasses.replace(recipe, known_answers=recipe.known_answers[1:]),
        dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, seed=1)),
        dataclasses.replace(recipe, shape=dataclasses.replace(recipe.shape, hidden_size=128)),
    ]

    assert recipe.digest() == dataclasses.replace(recipe).digest()
    assert len({found.digest() for found in (recipe, *changed)}) == 6
