"""What every live test shares: the mark ``live``, and words that no answer may contain."""

from __future__ import annotations

import pytest

from qualification.plugin import subject

STOP_TOKENS = (
    "<|end|>", "<|endoftext|>", "<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|return|>",
    "<end_of_turn>", "</s>", "<|assistant|>", "<|user|>",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.live)


@pytest.fixture(scope="module")
def server():
    """One server for all tests of a module, so that each also shows that those before it harmed nothing."""
    with subject.serving() as running:
        yield running


@pytest.fixture
def leaked(report_benchmark):
    """``leaked(text)`` tells which stop tokens, of this model or of others, are visible in a text; its record says if any was."""
    section = {"leaked": False}
    report_benchmark(stop_tokens=section)

    def look(text: str) -> list[str]:
        found = [token for token in STOP_TOKENS if token in text]
        section["leaked"] |= bool(found)
        return found

    return look


@pytest.fixture
def mlxk():
    """``mlxk("run", model, prompt)`` calls the tool in a pipe."""
    return subject.call


@pytest.fixture
def messages():
    """A known answer's messages as the API takes them."""
    return lambda known: [{"role": message.role, "content": message.content} for message in known.messages]
