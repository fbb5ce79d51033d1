"""One answer, four ways: streamed to a terminal, in one piece on a terminal, in a pipe, as JSON; always the same text."""

from __future__ import annotations

import pytest

from qualification.plugin import subject

pytestmark = [pytest.mark.live, pytest.mark.live_e2e]


def test_stream_and_batch_show_the_same_text(mlxk, text_model_info, text_known_answers, leaked):
    known = {answer.name: answer for answer in text_known_answers}
    prompt = known["mixed"].prompt if known else "Write one sentence about cats."
    arguments = ("run", text_model_info.model_id, prompt, "--temperature", "0", "--max-tokens", "400")

    streamed = seen_in_pieces(*arguments)
    in_one_piece = subject.on_terminal(*arguments, "--no-stream")
    piped = mlxk(*arguments)
    told = mlxk(*arguments, "--json").envelope["data"]

    assert leaked(streamed.text) == []
    assert (streamed.code, in_one_piece.code, piped.code, piped.stderr) == (0, 0, 0, "")
    assert streamed.text == in_one_piece.text
    assert streamed.came_in_pieces
    assert not in_one_piece.came_in_pieces
    assert piped.stdout.strip()
    assert piped.stdout == told["response"] + "\n"
    assert streamed.text.endswith(piped.stdout)
    assert not known or (piped.stdout, streamed.text) == (known["mixed"].answer + "\n", shown(known["mixed"]))


def seen_in_pieces(*arguments):
    """What a terminal is shown. Who was kept waiting reads all at once, and looks again; what was printed so stays so."""
    for _ in range(4):
        streamed = subject.on_terminal(*arguments)
        if streamed.came_in_pieces:
            break
    return streamed


def shown(known):
    """A known answer as a terminal shows it."""
    return f"[Reasoning]\n{known.reasoning}\n\n[Answer]\n{known.answer}\n" if known.reasoning else known.answer + "\n"
