"""From a transcript to the body of an answer, in the formats of OpenAI's API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mlxk.engines import Completion, Heard, Segment
from mlxk.server.transcriptions import Asked


def answer(completion: Completion, asked: Asked) -> tuple[bytes, str]:
    """The body, and its type."""
    heard = completion.heard
    assert heard is not None
    if asked.response_format == "text":
        return completion.text.encode(), "text/plain; charset=utf-8"
    if asked.response_format == "srt":
        return _srt(heard.segments).encode(), "text/plain; charset=utf-8"
    if asked.response_format == "vtt":
        return _vtt(heard.segments).encode(), "text/vtt; charset=utf-8"
    told: dict[str, Any] = {"text": completion.text, "usage": {"type": "duration", "seconds": heard.duration_s}}
    if asked.response_format == "verbose_json":
        told |= _verbose(heard, asked)
    return json.dumps(told, ensure_ascii=False).encode(), "application/json"


def _verbose(heard: Heard, asked: Asked) -> dict[str, Any]:
    told: dict[str, Any] = {"task": "transcribe", "language": heard.language or "", "duration": heard.duration_s}
    if "segment" in asked.granularities:
        told["segments"] = [_segment(number, segment) for number, segment in enumerate(heard.segments)]
    if "word" in asked.granularities:
        words = (word for segment in heard.segments for word in segment.words)
        told["words"] = [{"word": word.text, "start": word.start_s, "end": word.end_s} for word in words]
    return told


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    told: dict[str, Any] = {"id": number, "start": segment.start_s, "end": segment.end_s, "text": segment.text}
    if (decoding := segment.decoding) is not None:
        told |= {
            "seek": decoding.seek,
            "tokens": list(decoding.tokens),
            "temperature": decoding.temperature,
            "avg_logprob": decoding.avg_logprob,
            "compression_ratio": decoding.compression_ratio,
            "no_speech_prob": decoding.no_speech_prob,
        }
    return told


def _srt(segments: Sequence[Segment]) -> str:
    """SubRip: https://www.matroska.org/technical/subtitles.html#srt-subtitles"""
    return "".join(f"{number}\n{_span(each, ',')}\n{_line(each)}\n\n" for number, each in enumerate(segments, start=1))


def _vtt(segments: Sequence[Segment]) -> str:
    """WebVTT: https://www.w3.org/TR/webvtt1/"""
    cues = (f"{_span(each, '.')}\n{_line(each).replace('&', '&amp;').replace('<', '&lt;')}\n\n" for each in segments)
    return "WEBVTT\n\n" + "".join(cues)


def _span(segment: Segment, mark: str) -> str:
    return f"{_moment(segment.start_s, mark)} --> {_moment(segment.end_s, mark)}"


def _moment(seconds: float, mark: str) -> str:
    total_ms = round(1000 * seconds)
    minutes, ms = divmod(total_ms, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02}{mark}{ms % 1000:03}"


def _line(segment: Segment) -> str:
    """On one line, and without the arrow, which begins another cue."""
    return " ".join(segment.text.split()).replace("-->", "→")
