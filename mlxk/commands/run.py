"""Answer a prompt with a model: word by word on a terminal, in one piece into a pipe."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from mlxk import run, settings
from mlxk.chat import Message
from mlxk.commands.options import number, whole
from mlxk.compatibility import MlxLm
from mlxk.engines import Completion, Generation, Sampling
from mlxk.errors import UsageError
from mlxk.library import Library, Model
from mlxk.output import Result, notice, write

_DEFAULT = Sampling()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="org/name or a part of a name, with @REVISION if need be")
    parser.add_argument("words", nargs="*", metavar="prompt", help='the prompt; "-" puts the text of stdin before it')
    parser.add_argument("--prompt", metavar="TEXT", help="the prompt, in one argument")
    parser.add_argument("--max-tokens", type=whole(1), metavar="N", help="default: as many as the model's context allows")
    parser.add_argument("--temperature", type=number(0, 2), default=_DEFAULT.temperature, metavar="T", help="%(default)s")
    parser.add_argument("--top-p", type=number(0, 1), default=_DEFAULT.top_p, metavar="P", help="%(default)s")
    parser.add_argument(
        "--repetition-penalty",
        type=number(0.01, 10),
        default=_DEFAULT.repetition_penalty,
        metavar="R",
        help="above 1 against repetition; %(default)s",
    )
    parser.add_argument("--seed", type=whole(0), metavar="N", help="makes the choice of words repeatable")
    parser.add_argument("--no-stream", action="store_true", help="print the answer in one piece, on a terminal too")
    parser.add_argument("--no-chat-template", action="store_true", help="continue the prompt as it is")
    parser.add_argument("--verbose", action="store_true", help="times and token counts on stderr")


def execute(arguments: argparse.Namespace) -> Result:
    prompt = _prompt(arguments)
    model = run.admit(Library(settings.hub_cache(), MlxLm.installed()), arguments.model)
    streams = sys.stdout.isatty() and not arguments.no_stream and not arguments.json
    completion = run.answer(model, _request(arguments, prompt, model), _show if streams else _hold)
    if arguments.verbose:
        notice(_report(completion))
    data = {
        "model": arguments.model,
        "prompt": prompt,
        "response": completion.text,
        "finish_reason": completion.finish_reason,
        "usage": {**dataclasses.asdict(completion.usage), "total_tokens": completion.usage.total_tokens},
        "timings": dataclasses.asdict(completion.timings),
    }
    return Result(data, "" if streams else completion.text)


def _prompt(arguments: argparse.Namespace) -> str:
    words = list(arguments.words)
    from_stdin = "-" in words
    if from_stdin:
        words.remove("-")
    typed = arguments.prompt if arguments.prompt is not None else " ".join(words)
    if not from_stdin:
        if not typed.strip():
            raise UsageError('There is no prompt, and no interactive mode. Add a prompt, or "-" to read it from stdin.')
        return str(typed)
    try:
        piped = sys.stdin.read().strip("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"The text on stdin is not valid UTF-8: {error.reason}.") from error
    return "\n\n".join(part for part in (piped, typed) if part)


def _request(arguments: argparse.Namespace, prompt: str, model: Model) -> Generation:
    chats = "chat" in model.description.capabilities and not arguments.no_chat_template
    sampling = Sampling(
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        repetition_penalty=arguments.repetition_penalty,
        seed=arguments.seed,
    )
    return Generation((Message("user", prompt),) if chats else prompt, arguments.max_tokens, sampling=sampling)


def _show(text: str) -> None:
    write(text, end="")


def _hold(text: str) -> None:
    """It is printed at the end, as a whole."""


def _report(completion: Completion) -> str:
    usage, timings = completion.usage, completion.timings
    decoding = f"{timings.generation_tps:.1f} tokens/s" if timings.generation_tps is not None else "one token"
    return (
        f"load {timings.load_time_s:.2f} s, first token after {timings.time_to_first_token_s:.3f} s, "
        f"prompt {usage.prompt_tokens} tokens at {timings.prompt_tps:.1f} tokens/s, "
        f"answer {usage.completion_tokens} tokens at {decoding}, "
        f"peak memory {timings.peak_memory_gb:.2f} GB, ended by {completion.finish_reason}"
    )
