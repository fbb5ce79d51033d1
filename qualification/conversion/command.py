"""``convert_tests_bulk``: its options, a line for each script, a table of what was sure, guessed and refused, and the report."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qualification.conversion import bulk
from qualification.conversion.bulk import Result
from qualification.errors import UsageError

RULE = "=" * 70
REPORT = "conversion_report.json"
_FACTS = ("model_id", "name", "task", "category")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 each script was converted or kept, 1 some were refused, 2 usage."""
    arguments = _parser().parse_args(argv)
    try:
        return _convert(arguments)
    except UsageError as error:
        print(f"convert_tests_bulk: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"convert_tests_bulk: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="convert_tests_bulk", description="Convert legacy test_hf_*.py scripts into tests.")
    parser.add_argument(
        "--input-dir", type=Path, default=Path("test"), metavar="DIR", help="where the scripts are (default: test)"
    )
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="where the tests go (default: improved/ in the input)")
    parser.add_argument("--pattern", default="test_hf_*.py", help="which scripts (default: test_hf_*.py)")
    parser.add_argument("--limit", type=_count, metavar="N", help="the first N of them only")
    parser.add_argument("--overwrite", action="store_true", help="replace tests that are there")
    return parser


def _convert(arguments: argparse.Namespace) -> int:
    found = bulk.scripts(arguments.input_dir, arguments.pattern, arguments.limit)
    output: Path = arguments.output_dir or arguments.input_dir / "improved"
    print(RULE, "Bulk Test Conversion", RULE, sep="\n")
    print(f"Input directory:  {arguments.input_dir}\nOutput directory: {output}")
    print(f"Pattern:          {arguments.pattern}\nFiles found:      {len(found)}\n{RULE}\n")
    output.mkdir(parents=True, exist_ok=True)
    results = []
    for number, result in enumerate(bulk.convert(found, output, overwrite=arguments.overwrite), 1):
        print(f"[{number}/{len(found)}] {_line(result)}")
        results.append(result)
    done = sum(result.status != "refused" for result in results)
    print(f"{RULE}\nConversion complete: {done}/{len(found)} successful\n{RULE}")
    print(_table(results))
    report = output / REPORT
    report.write_text(json.dumps(describe(results), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"report: {report}")
    return 0 if done == len(found) else 1


def describe(results: Sequence[Result]) -> dict[str, Any]:
    """The JSON report: counts, and for each script what is known of its model and how."""
    return {
        "conversion": 1,
        "counts": dict(Counter(result.status for result in results)),
        "scripts": [
            {
                "script": result.script.name,
                "status": result.status,
                "target": result.target.name if result.target else None,
                "reason": result.reason or None,
                "backend": result.backend,
                "facts": asdict(result.findings) if result.findings else None,
            }
            for result in results
        ],
    }


def _line(result: Result) -> str:
    name = result.script.name
    if result.status == "refused":
        return f"❌ Not convertible: {name}: {result.reason}"
    if result.status == "kept":
        return f"⏭️ Kept {name}: {result.reason}"
    assert result.target is not None and result.findings is not None
    guessed = f" (guessed: {', '.join(result.findings.guessed)})" if result.findings.guessed else ""
    return f"✅ Converted {name} → {result.target.name}{guessed}"


def _table(results: Sequence[Result]) -> str:
    """How many of each fact were sure and how many guessed, and what runs on MLX."""
    known = [result.findings for result in results if result.findings]
    refused = sum(result.status == "refused" for result in results)
    lines = [f"{'':12}{'sure':>8}{'guessed':>10}{'refused':>10}"]
    for fact in _FACTS:
        sure = sum(getattr(each, fact).certainty == "sure" for each in known)
        lines.append(f"{fact.replace('_', ' '):12}{sure:>8}{len(known) - sure:>10}{refused:>10}")
    runs = sum(result.backend is not None for result in results)
    lines.append(f"{runs} of {len(known)} tests run on MLX; the others say why not")
    return "\n".join(lines)


def _count(given: str) -> int:
    if not given.isdecimal() or int(given) < 1:
        raise argparse.ArgumentTypeError(f"{given!r} is no number of scripts; write 1 or more")
    return int(given)
