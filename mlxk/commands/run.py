"""Answer a prompt with a model: word by word on a terminal, in one piece into a pipe. Without a prompt, chat on a terminal."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from mlxk import interactive, languages, run, settings, showing, sounds
from mlxk.chat import Message
from mlxk.commands import media
from mlxk.commands.options import number, whole
from mlxk.display import Display, as_text
from mlxk.engines import Completion, Generation, Recording, Sampling
from mlxk.errors import UsageError
from mlxk.library import Library, Model
from mlxk.output import Result, notice, write

_DEFAULT = Sampling()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="org/name or a part of a name, with @REVISION if need be")
    parser.add_argument("words", nargs="*", metavar="prompt", help='the prompt; "-" puts the text of stdin before it')
    parser.add_argument("--prompt", metavar="TEXT", help="the prompt, in one argument")
    parser.add_argument("--system", metavar="TEXT", help="what the model is told before the conversation")
    parser.add_argument("--max-tokens", type=whole(1), metavar="N", help="default: as many as the model's context allows")
    media.add_arguments(parser)
    _add_sampling(parser)
    parser.add_argument("--no-stream", action="store_true", help="print the answer in one piece, on a terminal too")
    parser.add_argument("--no-chat-template", action="store_true", help="continue the prompt as it is")
    parser.add_argument("--no-reasoning", action="store_true", help="show the answer only, on a terminal too")
    parser.add_argument("--verbose", action="store_true", help="times, token counts and what ended the answer, on stderr")


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--temperature", type=number(0, 2), default=_DEFAULT.temperature, metavar="T", help="0 is greedy; %(default)s")
    add("--top-p", type=number(0, 1), default=_DEFAULT.top_p, metavar="P", help="%(default)s")
    add("--top-k", type=whole(0), default=_DEFAULT.top_k, metavar="K", help="0 is all tokens; %(default)s")
    add("--min-p", type=number(0, 1), default=_DEFAULT.min_p, metavar="P", help="%(default)s")
    penalty = _DEFAULT.repetition_penalty
    add(
        "--repetition-penalty",
        type=number(0.01, 10),
        default=penalty,
        metavar="R",
        help="above 1 against repetition; %(default)s",
    )
    add("--seed", type=whole(0), metavar="N", help="makes the choice of words repeatable")


def execute(arguments: argparse.Namespace) -> Result | int:
    if arguments.image and arguments.audio:
        raise UsageError("--image and --audio are for different models. Leave one out.")
    if arguments.language is not None and not arguments.audio:
        raise UsageError("--language is for recordings, and there is no --audio.")
    if arguments.chunk is not None and not arguments.image:
        raise UsageError("--chunk is for images, and there is no --image.")
    if arguments.image:
        return _look(arguments)
    if arguments.audio:
        return _listen(arguments)
    if arguments.words or arguments.prompt is not None:
        return _answer(arguments, _prompt(arguments))
    _check_interactive(arguments)
    return _converse(arguments)


def _answer(arguments: argparse.Namespace, prompt: str) -> Result | int:
    model = _admitted(arguments)
    request = _request(arguments, prompt, model)
    on_terminal = sys.stdout.isatty() and not arguments.json
    engine = run.load(model)
    if on_terminal and not arguments.no_stream:
        _finish(arguments, run.answer(engine, request, _display(arguments).show))
        return 0
    completion = run.answer(engine, request)
    _tell(arguments, completion)
    return Result(_data(arguments, prompt, completion), as_text(completion, reasoning=on_terminal and not arguments.no_reasoning))


def _look(arguments: argparse.Namespace) -> Result | int:
    """An answer for each chunk of images, each from a fresh context."""
    files, behind = media.without_prompt(arguments.image)
    arguments.words = [*arguments.words, *behind]
    if arguments.no_chat_template:
        raise UsageError("Images stand in a conversation, and --no-chat-template continues a prompt as it is. Leave one out.")
    prompt = _prompt(arguments) if arguments.words or arguments.prompt is not None else showing.DESCRIBE
    chunks = media.chunks(files, arguments.chunk)
    model = run.admit(Library.of_user(), arguments.model, "vision")
    engine = run.load(model, "vision")
    on_terminal = sys.stdout.isatty() and not arguments.json
    completions, texts = [], []
    for chunk in chunks:
        message, heading = media.shown(chunk, prompt)
        request = _generation(arguments, (*_opening(arguments), message))
        if on_terminal and not arguments.no_stream:
            write(heading, end="")
            _finish(arguments, run.answer(engine, request, _display(arguments).show))
            continue
        completions.append(run.answer(engine, request))
        texts.append(heading + completions[-1].text)
        if not arguments.json:
            write(heading + as_text(completions[-1], reasoning=on_terminal and not arguments.no_reasoning))
            _tell(arguments, completions[-1])
    return Result(_data(arguments, prompt, showing.joined(completions, texts)), "") if arguments.json else 0


def _listen(arguments: argparse.Namespace) -> Result:
    """The transcript of a recording; a prompt is what was said before it."""
    for option in ("system", "max_tokens", "no_chat_template"):
        if getattr(arguments, option) not in (None, False):
            raise UsageError(f"--{option.replace('_', '-')} is for answers, and a recording is transcribed. Leave one out.")
    prompt = _prompt(arguments) if arguments.words or arguments.prompt is not None else ""
    language = languages.code(arguments.language) if arguments.language is not None else None
    recording = Recording(sounds.read(Path(arguments.audio)), language)
    engine = run.load(run.admit(Library.of_user(), arguments.model, "audio"), "audio")
    chosen = 0.0 if arguments.temperature == _DEFAULT.temperature else arguments.temperature
    completion = run.answer(engine, Generation(prompt, sampling=Sampling(temperature=chosen), recording=recording))
    heard = completion.heard
    assert heard is not None
    if arguments.verbose:
        notice(_report(completion))
    told = {"language": heard.language, "duration_s": heard.duration_s}
    parts = [{"start_s": each.start_s, "end_s": each.end_s, "text": each.text} for each in heard.segments]
    text = completion.text + (media.table(heard.segments) if settings.segments_wanted() else "")
    return Result({**_data(arguments, prompt, completion), **told, "segments": parts}, text)


def _converse(arguments: argparse.Namespace) -> int:
    model = _admitted(arguments)
    engine = run.load(model)
    interactive.prepare_line_editing()
    notice(f'mlxk chats with {model.name}: "exit", "quit" or Ctrl-D ends it, Ctrl-C ends an answer.')
    terminal = interactive.Terminal(
        ask=lambda: _encodable(input("You: "), "The line"),
        show=lambda: _display(arguments).show,
        finish=lambda completion: _finish(arguments, completion),
        say=write,
    )
    interactive.converse(engine, _generation(arguments, ()), _opening(arguments), terminal)
    return 0


def _admitted(arguments: argparse.Namespace) -> Model:
    return run.admit(Library.of_user(), arguments.model)


def _prompt(arguments: argparse.Namespace) -> str:
    words = list(arguments.words)
    from_stdin = "-" in words
    if from_stdin:
        words.remove("-")
    typed = _encodable(arguments.prompt if arguments.prompt is not None else " ".join(words), "The prompt")
    if not from_stdin and not typed.strip():
        raise UsageError('The prompt is empty. Add one, or "-" to read it from stdin.')
    return "\n\n".join(part for part in (_piped(), typed) if part) if from_stdin else typed


def _piped() -> str:
    if sys.stdin is None:
        raise UsageError('Stdin is closed, and "-" reads the prompt from it.')
    try:
        text = sys.stdin.buffer.read().decode("utf-8").strip("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"The text on stdin is not valid UTF-8: {error.reason} at byte {error.start}.") from error
    if not text.strip():
        raise UsageError('Nothing came from stdin, from which "-" reads the prompt.')
    return text


def _check_interactive(arguments: argparse.Namespace) -> None:
    if arguments.json:
        raise UsageError("There is no prompt, and the interactive chat has no JSON. Add a prompt, or leave --json out.")
    if arguments.no_chat_template:
        raise UsageError("There is no prompt, and the interactive chat needs a chat template. Add a prompt to be continued.")
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout and sys.stdout.isatty()):
        raise UsageError(
            'There is no prompt, and the interactive chat needs a terminal. Add a prompt, or "-" to read it from stdin.'
        )


def _request(arguments: argparse.Namespace, prompt: str, model: Model) -> Generation:
    if "chat" in model.description.capabilities and not arguments.no_chat_template:
        return _generation(arguments, (*_opening(arguments), Message("user", prompt)))
    if arguments.system is not None:
        raise UsageError("--system is for conversations, and this prompt is continued as it is.")
    return _generation(arguments, prompt)


def _opening(arguments: argparse.Namespace) -> tuple[Message, ...]:
    return () if arguments.system is None else (Message("system", _encodable(arguments.system, "The system prompt")),)


def _generation(arguments: argparse.Namespace, prompt: tuple[Message, ...] | str) -> Generation:
    known = {field.name for field in dataclasses.fields(Sampling)}
    sampling = Sampling(**{name: value for name, value in vars(arguments).items() if name in known})
    return Generation(prompt, arguments.max_tokens, sampling=sampling, look_past_end=arguments.verbose)


def _encodable(text: str, what: str) -> str:
    """Python keeps bytes of the command line that are not UTF-8 as halves of surrogate pairs, which no tokenizer takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"{what} is not valid UTF-8.") from error
    return text


def _display(arguments: argparse.Namespace) -> Display:
    return Display(lambda text: write(text, end=""), reasoning=not arguments.no_reasoning)


def _finish(arguments: argparse.Namespace, completion: Completion) -> None:
    """End the line of an answer that was streamed."""
    write("")
    _tell(arguments, completion)


def _tell(arguments: argparse.Namespace, completion: Completion) -> None:
    """What people should know of an answer beside its text."""
    if completion.finish_reason == "length" and not arguments.json:
        spent = completion.usage.completion_tokens
        why = "--max-tokens allows no more" if spent == arguments.max_tokens else "the model's context holds no more"
        notice(f"mlxk run: The answer was cut after {spent} tokens: {why}.")
    elif completion.reasoning and not completion.text and not arguments.json:
        notice("mlxk run: The model ended within its reasoning, so there is no answer.")
    if arguments.verbose:
        notice(_report(completion))
        if len(completion.end_tokens) > 1:
            several = " ".join(completion.end_tokens)
            notice(f"warning: the model emitted several end tokens in a row: {several}")


def _data(arguments: argparse.Namespace, prompt: str, completion: Completion) -> dict[str, object]:
    return {
        "model": arguments.model,
        "prompt": prompt,
        "response": completion.text,
        "reasoning": None if arguments.no_reasoning else completion.reasoning or None,
        "finish_reason": completion.finish_reason,
        "end_tokens": list(completion.end_tokens),
        "usage": {name: getattr(completion.usage, name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")},
        "timings": dataclasses.asdict(completion.timings),
    }


def _report(completion: Completion) -> str:
    usage, timings = completion.usage, completion.timings
    decoding = f"{timings.generation_tps:.1f} tokens/s" if timings.generation_tps is not None else "one token"
    ended = f"{completion.finish_reason} ({completion.end_tokens[0]})" if completion.end_tokens else completion.finish_reason
    return (
        f"load {timings.load_time_s:.2f} s, first token after {timings.time_to_first_token_s:.3f} s, "
        f"prompt {usage.prompt_tokens} tokens at {timings.prompt_tps:.1f} tokens/s, "
        f"answer {usage.completion_tokens} tokens at {decoding}, "
        f"peak memory {timings.peak_memory_gb:.2f} GB, ended by {ended}"
    )
