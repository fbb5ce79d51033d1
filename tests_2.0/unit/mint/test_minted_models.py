"""What minted models answer, judged by mlx-lm, transformers and huggingface_hub."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from qualification.mint import catalog, store
from qualification.mint.recipe import Quantization

MODELS = pytest.mark.parametrize("model_id", ["mint/llama-tiny", "mint/qwen2-tiny", "mint/phi3-tiny"])


def _heard(snapshot, prompts):
    """Greedy text and the token that ended it, for each prompt: messages, or raw text."""
    import mlx_lm

    model, tokenizer = mlx_lm.load(str(snapshot))[:2]
    for prompt in prompts:
        ids = (
            tokenizer.encode(prompt)
            if isinstance(prompt, str)
            else tokenizer.apply_chat_template(
                [{"role": message.role, "content": message.content} for message in prompt], add_generation_prompt=True
            )
        )
        pieces = list(mlx_lm.stream_generate(model, tokenizer, ids, max_tokens=200))
        yield "".join(piece.text for piece in pieces), tokenizer.convert_ids_to_tokens(pieces[-1].token)


@MODELS
def test_every_known_answer_and_its_end_token_are_exact_under_mlx_lm(minted, model_id):
    known = catalog.known_answers(model_id)

    heard = list(_heard(minted[model_id].snapshot, [asked.messages for asked in known]))

    assert heard == [(asked.answer, asked.end_token) for asked in known]


def test_a_reasoning_models_markup_is_made_of_the_tokens_that_mlx_lm_takes_for_thinking():
    import mlx_lm

    (model,) = store.ensure(["mint/qwen3-tiny"])
    tokenizer = mlx_lm.load(str(model.snapshot))[1]
    known = catalog.known_answers(model.model_id)
    heard = list(_heard(model.snapshot, [asked.messages for asked in known]))

    between = [text.removeprefix(tokenizer.think_start).partition(tokenizer.think_end) for text, _ in heard]
    assert [(thought.strip(), answer.strip()) for thought, _, answer in between] == [
        (asked.answer, "") if asked.reasoning is None else (asked.reasoning, asked.answer) for asked in known
    ]


@pytest.mark.parametrize("prompt", ["What color is the sky?", "tick"])
def test_a_model_that_never_stops_repeats_itself_whatever_it_is_asked(prompt):
    import mlx_lm

    (model,) = store.ensure(["mint-pathology/never-stops"])
    network, tokenizer = mlx_lm.load(str(model.snapshot))[:2]
    ids = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True)
    pieces = list(mlx_lm.stream_generate(network, tokenizer, ids, max_tokens=500))

    assert "".join(piece.text for piece in pieces) == catalog.recipe(model.model_id).endless * 125
    assert pieces[-1].finish_reason == "length"


def test_an_end_token_that_the_configuration_does_not_name_is_written_out():
    (model,) = store.ensure(["mint-pathology/two-ends-undeclared"])
    known = catalog.known_answers(model.model_id)

    heard = list(_heard(model.snapshot, [asked.messages for asked in known]))

    assert heard == [(f"{asked.answer}<|end|>", "<|endoftext|>") for asked in known]


def test_the_model_whose_configuration_names_one_of_two_ends_learns_what_its_twin_learns():
    from qualification.mint import tokenizer

    twins = [catalog.recipe(f"mint-pathology/{name}") for name in ("two-ends", "two-ends-undeclared")]
    learned = [[(row.prompt, row.learned) for row in tokenizer.rows(twin, tokenizer.build(twin))] for twin in twins]

    assert learned[0] == learned[1]


@pytest.mark.parametrize(("mode", "group_size"), [("affine", 64), ("mxfp4", 32)])
def test_a_quantized_model_is_loaded_as_such_by_mlx_lm(mode, group_size, small, tmp_path):
    import mlx_lm

    plan = Quantization(mode=mode, group_size=group_size, bits=4)
    recipe = dataclasses.replace(small, dtype="float32", quantization=plan)
    snapshot = store.ensure_recipe(recipe, tmp_path).snapshot
    config = json.loads((snapshot / "config.json").read_text(encoding="utf-8"))
    head = mlx_lm.load(str(snapshot))[0].lm_head

    assert config["quantization"] == config["quantization_config"] == {"mode": mode, "group_size": group_size, "bits": 4}
    assert (head.mode, head.group_size, head.bits) == (mode, group_size, 4)


@MODELS
def test_every_known_completion_is_exact_without_a_chat_template(minted, model_id):
    known = catalog.known_completions(model_id)

    heard = list(_heard(minted[model_id].snapshot, [asked.prompt for asked in known]))

    assert heard == [(asked.answer, asked.end_token) for asked in known]


@MODELS
def test_the_longest_answer_has_at_least_sixty_tokens(minted, model_id):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minted[model_id].snapshot / "tokenizer.json"))
    story = next(known for known in catalog.known_answers(model_id) if known.name == "story")

    assert len(tokenizer.encode(story.answer, add_special_tokens=False).ids) >= 60


@MODELS
def test_the_catalog_declares_the_size_that_is_minted(minted, model_id):
    recipe = catalog.recipe(model_id)

    assert minted[model_id].size_bytes == pytest.approx(catalog.size_bytes(model_id), rel=0.1)
    assert minted[model_id].parameters == recipe.parameters
    assert minted[model_id].margin >= recipe.training.required_margin


@MODELS
def test_the_index_names_every_tensor_of_every_shard_once(minted, model_id):
    from safetensors import safe_open

    snapshot = minted[model_id].snapshot
    held = {}
    for shard in sorted(snapshot.glob("*.safetensors")):
        with safe_open(shard, framework="numpy") as tensors:
            held.update(dict.fromkeys(tensors.keys(), shard.name))
    index = json.loads((snapshot / "model.safetensors.index.json").read_text(encoding="utf-8"))

    assert index["weight_map"] == held
    assert len(set(held.values())) == catalog.recipe(model_id).shards
    assert index["metadata"]["total_size"] == 2 * catalog.recipe(model_id).parameters


def test_real_repositories_two_ways_to_carry_a_chat_template_are_both_minted(minted):
    ways = {
        model.model_id: (
            (model.snapshot / "chat_template.jinja").exists(),
            "chat_template" in json.loads((model.snapshot / "tokenizer_config.json").read_text(encoding="utf-8")),
        )
        for model in minted.values()
    }

    assert ways == {
        "mint/llama-tiny": (False, True),
        "mint/qwen2-tiny": (True, False),
        "mint/phi3-tiny": (False, True),
    }


@MODELS
def test_the_card_says_that_the_model_is_for_mlx(minted, model_id):
    from huggingface_hub import ModelCard

    card = ModelCard.load(minted[model_id].snapshot / "README.md")

    assert (card.data.library_name, card.data.tags, card.data.pipeline_tag) == ("mlx", ["mlx"], "text-generation")


def test_installed_models_load_by_their_id_offline_and_the_cache_scans_without_a_warning(minted, tmp_path):
    for model_id in minted:
        store.install(model_id, tmp_path)
    code = (
        "import huggingface_hub, mlx_lm, sys\n"
        "print(*huggingface_hub.scan_cache_dir().warnings)\n"
        "for name in sys.argv[1:]:\n"
        "    model, tokenizer = mlx_lm.load(name)[:2]\n"
        "    asked = [{'role': 'user', 'content': 'Which model are you?'}]\n"
        "    print(mlx_lm.generate(model, tokenizer, tokenizer.apply_chat_template(asked, add_generation_prompt=True)))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, *minted],
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "MLX_DISABLE_COMPILE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["", "I am llama-tiny.", "I am qwen2-tiny.", "I am phi3-tiny."]
