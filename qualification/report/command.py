"""The sub-command ``report``: reads, checks, compares, merges and exports what runs have written."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from qualification import bundle
from qualification.errors import BundleError, UsageError
from qualification.report import (
    ctrf,
    diff,
    history,
    html,
    intoto,
    junit,
    keeping,
    markdown,
    merge,
    migrate,
    summary,
    terminal,
)
from qualification.report import run as runs
from qualification.report.run import Run
from qualification.report.spread import Spread
from qualification.units import format_bytes, format_seconds
from qualification.verify import verify

_DIFFERENT = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands of ``python -m qualification report``."""
    actions = parser.add_subparsers(dest="report", required=True, metavar="ACTION")

    validating = actions.add_parser("validate", help="hold every record against the schema that it names; exit 1 if one is wrong")
    validating.add_argument("files", type=Path, nargs="+", metavar="FILE", help="JSONL files of any schema version, or bundles")
    validating.set_defaults(report_action=_validate)

    migrating = actions.add_parser("migrate", help="rewrite records under the current schema, without loss")
    migrating.add_argument("file", type=Path)
    migrating.add_argument("-o", "--output", type=Path, help="write there, and refuse to overwrite (default: stdout)")
    migrating.add_argument("--back", action="store_true", help="give the records of earlier schemas back as they were")
    migrating.set_defaults(report_action=_migrate)

    showing = actions.add_parser("show", help="the verdict of a bundle, or the figures of a file of records")
    showing.add_argument("path", type=Path)
    showing.set_defaults(report_action=_show)

    comparing = actions.add_parser("diff", help="what changed from A to B; exit 1 if something got worse, 2 if not comparable")
    comparing.add_argument("old", type=Path, metavar="A")
    comparing.add_argument("new", type=Path, metavar="B")
    comparing.set_defaults(report_action=_diff)

    merging = actions.add_parser("merge", help="one bundle of the runs of several machines, each paying the others' debt")
    merging.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    merging.add_argument("-o", "--output", type=Path, required=True, help="the new bundle's directory")
    merging.set_defaults(report_action=_merge)

    verifying = actions.add_parser("verify", help="recompute hashes and verdict from the bundle; exit 3 if anything differs")
    verifying.add_argument("bundle", type=Path)
    verifying.add_argument("--seal", metavar="SHA256", help="the manifest must have this hash, such as a release's tag quotes")
    verifying.set_defaults(report_action=_verify)

    keeping_ = actions.add_parser(
        "keep", help="add the model tests of a run to the history of records, one file a day and version"
    )
    keeping_.add_argument("source", type=Path, metavar="FILE", help="what --report-output wrote, or a bundle")
    keeping_.add_argument("--into", type=Path, default=keeping.FOLDER, metavar="FOLDER", help=f"default: {keeping.FOLDER}")
    keeping_.set_defaults(report_action=_keep)

    exporting = actions.add_parser("export", help="a bundle in another form")
    exporting.add_argument("bundle", type=Path)
    exporting.add_argument("--format", choices=sorted(_FORMS), required=True)
    exporting.add_argument("-o", "--output", type=Path, help="write there (default: stdout)")
    exporting.set_defaults(report_action=_export)


def run(arguments: argparse.Namespace) -> int:
    """The exit code. Errors are left to the caller to report."""
    action: Callable[[argparse.Namespace], int] = arguments.report_action
    return action(arguments)


def _validate(arguments: argparse.Namespace) -> int:
    wrong = False
    for path in arguments.files:
        try:
            checked = history.check(path)
        except UsageError as error:
            print(error)
            wrong = True
            continue
        print(f"{checked.path}: {len(checked.records)} of {checked.lines} records valid")
        for number, sentence in checked.errors:
            print(f"{checked.path}:{number}: {sentence}")
        wrong |= bool(checked.errors)
    return _DIFFERENT if wrong else 0


def _migrate(arguments: argparse.Namespace) -> int:
    records = history.read(arguments.file)
    if arguments.back:
        records = [migrate.back(record) for record in records]
    _write("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), arguments.output, new=True)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    if (arguments.path / "plan.json").is_file():
        run = runs.load(bundle.find(arguments.path))
        print(terminal.render(run.plan, run.verdict, os.path.relpath(arguments.path / "index.html")))
        rows = summary.model_rows(run.records)
    else:
        records = history.read(arguments.path)
        passed = sum(record["outcome"] == "passed" for record in records)
        print(f"{len(records)} records, {passed} passed, {format_seconds(sum(record.get('duration', 0) for record in records))}")
        rows = summary.model_rows(records)
    for line in _figures(rows):
        print(terminal.plain(line))
    return 0


def _figures(rows: list[summary.ModelRow]) -> Iterator[str]:
    if rows:
        yield f"  {'model':40} {'mode':8}{'size':>10}{'tests':>7}{'time':>12}{'RAM (GB)':>12}{'tokens/s':>10}{'first token':>13}"
    for row in rows:
        size = format_bytes(row.size_gb * 1e9) if row.size_gb is not None else "–"
        ram = f"{row.ram_gb[0]:.1f}–{row.ram_gb[1]:.1f}" if row.ram_gb else "–"
        first = f"{row.first_token_s.median * 1000:.1f} ms" if row.first_token_s else "–"
        yield (
            f"  {row.model:40} {row.mode:8}{size:>10}{row.tests:>7}{format_seconds(row.seconds):>12}{ram:>12}"
            f"{_median(row.generation_tps):>10}{first:>13}"
        )


def _median(spread: Spread | None) -> str:
    return f"{spread.median:.0f}" if spread else "–"


def _diff(arguments: argparse.Namespace) -> int:
    compared = diff.compare(_judged(arguments.old), _judged(arguments.new))
    for line in diff.render(compared):
        print(terminal.plain(line))
    return _DIFFERENT if compared.worse else 0


def _judged(path: Path) -> Run:
    """Raises BundleError where the bundle is not what it claims to be: figures of such a one are worth nothing."""
    found = bundle.find(path)
    verified = verify(found.root)
    if not verified.holds:
        raise BundleError(f"{path} does not verify: {verified.findings[0]}")
    return runs.load(found)


def _merge(arguments: argparse.Namespace) -> int:
    run, seal = merge.write([(bundle.find(path), _judged(path)) for path in arguments.bundles], arguments.output)
    print(terminal.render(run.plan, run.verdict, os.path.relpath(arguments.output / "index.html"), seal))
    return run.verdict.exit_code


def _keep(arguments: argparse.Namespace) -> int:
    if (arguments.source / "plan.json").is_file():
        _judged(arguments.source)
    try:
        target, added = keeping.keep(arguments.source, arguments.into)
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be written: {error.strerror}") from error
    print(f"{target}: {added} records added")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    found = bundle.find(arguments.bundle)
    verified = verify(found.root)
    findings = list(verified.findings)
    if arguments.seal and arguments.seal != verified.seal:
        findings.append(f"manifest.json: its sha256 is {verified.seal or 'none'}, and not {arguments.seal}")
    for finding in findings:
        print(terminal.plain(f"  {finding}"))
    facts = f"{verified.cells} cells, {verified.records} records"
    if findings:
        print(f"NOT VERIFIED: {len(findings)} {'finding' if len(findings) == 1 else 'findings'} ({facts})")
        return BundleError.exit_code
    print(f"VERIFIED: {verified.word} ({facts}), sealed {verified.seal}")
    return 0


_FORMS: dict[str, Callable[[Run, str], str]] = {
    "ctrf": lambda run, _: ctrf.render(run),
    "html": lambda run, _: html.render(run),
    "in-toto": intoto.render,
    "junit": lambda run, _: junit.render(run),
    "markdown": lambda run, _: markdown.render(run),
}


def _export(arguments: argparse.Namespace) -> int:
    found = bundle.find(arguments.bundle)
    vouches = arguments.format == "in-toto"
    run = _judged(arguments.bundle) if vouches else runs.load(found)
    _write(_FORMS[arguments.format](run, verify(found.root).seal), arguments.output)
    return 0


def _write(text: str, output: Path | None, *, new: bool = False) -> None:
    """To stdout, or whole to a file. Raises UsageError where that cannot be, or where ``new`` and something is there."""
    if output is None:
        sys.stdout.write(text)
        return
    if new and output.exists():
        raise UsageError(f"{output} is there already; name a new file, or remove it first")
    try:
        bundle.write_atomically(output, text)
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from error
