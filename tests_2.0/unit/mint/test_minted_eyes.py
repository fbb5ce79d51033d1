"""What minted vision models tell of pictures, judged by mlx-vlm and mlx-lm."""

import pytest

from qualification.mint import catalog, store
from qualification.mint.pictures import Drawing, Picture, draw

pytestmark = pytest.mark.timeout(600)  # the first to ask mints the model, or waits for who does

SEEING = pytest.mark.parametrize("model_id", [recipe.model_id for recipe in catalog.recipes("vision")])
UNSEEN = Drawing(side=77, reach=0.35, centre=(0.52, 0.48), shade=(5, -5, 5), jpeg_quality=85)
"""As no picture was drawn in training."""


@pytest.fixture(scope="module")
def ask():
    """``ask(model_id, prompt, images)`` is what the model answers, in the pieces of ``mlx_vlm.stream_generate``."""
    import mlx_vlm

    loaded = {}

    def heard(model_id, prompt, images):
        if model_id not in loaded:
            loaded[model_id] = mlx_vlm.load(str(store.ensure([model_id])[0].snapshot))
        model, processor = loaded[model_id]
        text = mlx_vlm.apply_chat_template(processor, model.config, prompt, num_images=len(images))
        return list(mlx_vlm.stream_generate(model, processor, text, image=images, max_tokens=40, temperature=0.0))

    return heard


@SEEING
def test_every_known_picture_is_told_exactly_however_it_is_drawn(ask, model_id):
    for look in catalog.known_looks(model_id):
        pieces = ask(model_id, look.prompt, [draw(picture, UNSEEN) for picture in look.pictures])

        assert ("".join(piece.text for piece in pieces), pieces[-1].finish_reason) == (look.answer, "stop"), look.name


@SEEING
def test_an_answer_follows_the_pictures_and_not_the_words_alone(ask, model_id):
    prompt = "Describe the image."
    red, yellow = draw(Picture("red", "circle")), draw(Picture("yellow"))
    answers = [
        "".join(piece.text for piece in ask(model_id, prompt, images)) for images in ([red], [red, yellow], [yellow, red], [])
    ]

    assert answers == [
        "A red circle on white.",
        "A red circle on white. Plain yellow.",
        "Plain yellow. A red circle on white.",
        "I see no image.",
    ]


@SEEING
def test_an_answer_comes_in_pieces(ask, model_id):
    assert len([piece.text for piece in ask(model_id, "Describe the image.", [draw(Picture("blue"))]) if piece.text]) > 1


def test_mlx_lm_reads_text_with_a_model_that_has_eyes():
    import mlx_lm

    (minted,) = store.ensure(["mint/qwen2-vl-tiny"])
    model, tokenizer = mlx_lm.load(str(minted.snapshot))[:2]
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "Hello!"}], add_generation_prompt=True)

    assert mlx_lm.generate(model, tokenizer, ids, max_tokens=20) == "Hello! How can I help?"
