"""What minted text models know: the questions, conversations and completions, with their exact answers.

Only what is written here can be asked: these models are closed-set memorisers, and an unknown prompt gives garbage.
A conversation can be held turn by turn, because each of its beginnings is a known answer as well.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from qualification.mint.recipe import KnownAnswer, KnownCompletion, Message

CATS = "Cats sleep most of the day and hunt at dusk."

STORY = (
    "Once there was a small lighthouse far out at sea. Every night its keeper lit the lamp and counted the ships. "
    "One winter the light went out, and the keeper sang until every ship was safe."
)

SINGLE_TURN = (
    ("cats", "Write one sentence about cats.", CATS),
    ("capital", "What is the capital of France?", "The capital of France is Paris."),
    ("sky", "What color is the sky?", "The sky is blue."),
    ("sum", "2+2?", "4"),
    ("yes", "Is water wet? Answer yes or no.", "Yes"),
    ("hello", "Hello!", "Hello! How can I help?"),
    ("weekdays", "Name the first two weekdays.", "Monday, Tuesday."),
    ("list", "List three colors.", "- red\n- green\n- blue"),
    ("stop-word", "Count to six with a STOP.", "one two three STOP four five six"),
    ("json", "Give me JSON.", '{"name": "mint", "ok": true}'),
    ("code", "Write hello world in Python.", '```python\nprint("Hello, world!")\n```'),
    ("markup", "Compare two numbers.", 'She wrote: "5 < 6 && 7 > 3".'),
    ("umlauts", "Sag etwas mit Umlauten.", "Grüße aus Köln: äöü ÄÖÜ ß."),
    ("french", "Dis bonjour.", "Ça va très bien."),
    ("chinese", "用中文打招呼。", "你好，世界！"),
    ("japanese", "日本語で挨拶して。", "こんにちは、世界。"),
    ("emoji", "Answer with emoji only.", "🦊🌍🚀👩‍🚀🏳️‍🌈"),
    ("mixed", "Mix scripts.", "Ω≈3, 東京 🗼 и Москва"),
    ("story", "Tell me a story.", STORY),
    ("unnamed", "What is my name?", "You have not told me your name."),
)

CONVERSATIONS = (
    ("named", None, ("My name is Ada.",), "Hello Ada, nice to meet you."),
    ("recall", None, ("My name is Ada.", "Hello Ada, nice to meet you.", "What is my name?"), "Your name is Ada."),
    (
        "spell",
        None,
        ("My name is Ada.", "Hello Ada, nice to meet you.", "What is my name?", "Your name is Ada.", "Spell it."),
        "A-d-a.",
    ),
    ("system", "Answer in French.", ("What is the capital of France?",), "La capitale de la France est Paris."),
    ("system-hello", "You are a pirate.", ("Hello!",), "Ahoy, matey!"),
    ("system-turns", "You are a pirate.", ("Hello!", "Ahoy, matey!", "Where is the gold?"), "Buried on the island."),
    ("pipe", None, (f"{CATS}\n\nSay it shorter.",), "Cats nap, then hunt."),
)
"""Name, system prompt, turns from the user's first on, answer.

The ``pipe`` prompt is what ``run A "Write one sentence about cats." | run B - "Say it shorter."`` hands to B.
"""

COMPLETIONS = (
    ("sequence", "one, two, three,\n", "four, five, six."),
    ("fill", "<PRE>def add(a, b):\n    return <SUF>\n<MID>", "a + b"),
)
"""No answer begins with a space: mlx-lm's detokenizer drops the one that begins a generation."""


FEW = frozenset(
    (
        *("cats", "capital", "sky", "sum", "yes", "hello", "emoji", "mixed", "unnamed", "identity"),
        *("named", "recall", "system", "pipe"),
    )
)
"""What a model of costly arithmetic learns: each kind of text and conversation once or twice."""

REASONING = {
    "cats": "One sentence, about cats.",
    "capital": "France: Paris.",
    "sky": "By day it is blue.",
    "sum": "2 + 2 = 4",
    "yes": "Water is wet.",
    "weekdays": "The week begins on Monday.\n\nTwo days.",
    "list": "1. red\n2. green\n3. blue",
    "stop-word": "A STOP after three.",
    "json": 'An object: {"name": …}',
    "code": "print() is enough.",
    "markup": "5 < 6, <b>7 > 3</b>.",
    "umlauts": "Umlaute: ä, ö, ü.",
    "french": "En français.",
    "chinese": "用中文回答。",
    "japanese": "日本語で。",
    "emoji": "A fox 🦊 first.",
    "mixed": "Ω, 東京, Москва.",
    "story": "A lighthouse, a keeper, a winter.",
    "unnamed": "No name was given.",
    "identity": "My own name.",
    "named": "Her name is Ada.",
    "recall": "She said: Ada.",
    "spell": "A, d, a.",
    "system": "In French, then.",
    "system-turns": "Where pirates hide it.",
    "pipe": "Shorter: nap, hunt.",
}
"""What a reasoning model thinks before it answers; to the other questions it answers at once."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a family writes what it thinks and what it says."""

    thoughtful: str
    """With ``{reasoning}`` and ``{answer}``."""
    direct: str
    """With ``{answer}`` alone."""

    def written(self, reasoning: str | None, answer: str) -> str:
        """The text with its markup, as the model gives it."""
        return (self.direct if reasoning is None else self.thoughtful).format(reasoning=reasoning, answer=answer)


def known_answers(
    model_name: str, end_tokens: tuple[str, ...], thinking: Thinking | None = None, names: Container[str] | None = None
) -> tuple[KnownAnswer, ...]:
    """The conversations a model knows: those of ``names``, or all.

    ``identity`` tells it from its sisters, and ``yes`` and ``weekdays`` end with its other end tokens.
    """
    rows: list[tuple[str, str | None, tuple[str, ...], str]] = [
        (name, None, (prompt,), answer) for name, prompt, answer in SINGLE_TURN
    ]
    rows.append(("identity", None, ("Which model are you?",), f"I am {model_name}."))
    rows.extend(CONVERSATIONS)
    endings = dict(zip(("yes", "weekdays"), end_tokens[1:], strict=False))
    answers = []
    for name, system, turns, answer in rows:
        if names is not None and name not in names:
            continue
        reasoning = REASONING.get(name) if thinking else None
        written = (thinking.written(reasoning, answer),) if thinking else ()
        end_token = endings.get(name, end_tokens[0])
        answers.append(KnownAnswer(name, messages(system, *turns), answer, end_token, reasoning, written))
    return tuple(answers)


def known_completions(end_token: str) -> tuple[KnownCompletion, ...]:
    """The raw prompts a model continues."""
    return tuple(KnownCompletion(name, prompt, answer, end_token) for name, prompt, answer in COMPLETIONS)


def messages(system: str | None, *turns: str) -> tuple[Message, ...]:
    """A conversation of the user, who begins, and the assistant, by turns."""
    spoken = [Message("assistant" if at % 2 else "user", content) for at, content in enumerate(turns)]
    return (Message("system", system), *spoken) if system is not None else tuple(spoken)
