"""One answer, four ways: streamed to a terminal, in one piece on a terminal, in a pipe, as JSON; always the same text."""

from __future__ import annotations

import pytest

from qualification.plugin import subject

pytestmark = [pytest.mark.live, pytest.mark.live_e2e]


def test_stream_and_batch_show_the_same_text(mlxk, text_model_info, text_known_answers, leaked):
    known = {answer.name: answer for answer in text_known_answers}
    prompt = known["mixed"].prompt if known else "Write one sentence about cats."
    arguments = ("run", text_model_info.model_id, prompt, "--temperature", "0", "--max-tokens", "400")
    data = mlxk(*arguments, "--json").envelope["data"]
    expected = data["response"]
    if data["reasoning"]:
        expected = f"[Reasoning]\n{data['reasoning']}" + (f"\n\n[Answer]\n{data['response']}" if data["response"] else "")

    streamed = subject.on_terminal(*arguments)
    in_one_piece = subject.on_terminal(*arguments, "--no-stream")
    piped = mlxk(*arguments).stdout

    assert leaked(streamed.text) == []
    assert (streamed.code, in_one_piece.code) == (0, 0)
    assert streamed.text == in_one_piece.text == expected + "\n"
    assert not in_one_piece.came_in_pieces
    assert piped == data["response"] + "\n"
    assert not known or (data["response"], data["reasoning"]) == (known["mixed"].answer, known["mixed"].reasoning)
