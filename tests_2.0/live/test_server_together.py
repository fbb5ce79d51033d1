"""Eight clients at once get what each would get alone: byte for byte, streamed or not, whatever the others ask and stop at.

Models with known answers know them far better than rounding can shake. A model of the user's may be in doubt, and sums in another
order then take another word: how many answers were the same is put into the record, and is no failure.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from qualification.plugin import subject

pytestmark = [pytest.mark.live, pytest.mark.live_e2e]

CLIENTS = 8
QUESTIONS = ("Write one sentence about cats.", "Hello!", "Tell me a story.", "Count from 1 to 5.")


def test_eight_at_once_are_answered_as_each_is_alone(text_model_info, text_known_answers, messages, leaked, report_benchmark):
    model = text_model_info.model_id
    asked = [messages(known) for known in text_known_answers] or [[{"role": "user", "content": text}] for text in QUESTIONS]
    asked = (asked * CLIENTS)[:CLIENTS] if len(asked) < CLIENTS else asked[:: len(asked) // CLIENTS][:CLIENTS]
    budgets = [200, 200, 200, 5, 200, 200, 9, 200]

    with subject.serving("--model", model) as server, ThreadPoolExecutor(2 * CLIENTS) as clients:
        alone = [_text(server.chat(model, sent, max_tokens=most)) for sent, most in zip(asked, budgets, strict=True)]
        whole = [clients.submit(server.chat, model, sent, max_tokens=most) for sent, most in zip(asked, budgets, strict=True)]
        pieces = [
            clients.submit(server.stream_chat, model, sent, max_tokens=most) for sent, most in zip(asked, budgets, strict=True)
        ]
        together = [_text(each.result()) for each in whole]
        streamed = [each.result().text for each in pieces]

    report_benchmark(same_together_as_alone=f"{sum(map(str.__eq__, together + streamed, alone + alone))} of {2 * CLIENTS}")
    assert together == streamed == alone or not text_known_answers
    assert [token for text in alone for token in leaked(text)] == []


def _text(answer):
    return answer.json["choices"][0]["message"]["content"]
