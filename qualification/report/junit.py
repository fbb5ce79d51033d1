"""Writes ``junit.xml`` as Jenkins, GitLab and GitHub read it: one suite for each attempt at a cell, and one for the cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any
from xml.etree import ElementTree as ET

from qualification.report.run import Run
from qualification.verdict import CellVerdict

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, escaped or not: https://www.w3.org/TR/xml/#charsets."""

_OWED = ("interrupted", "debt", "quarantined")


def render(run: Run) -> str:
    """The document's text. A cell that ended badly is an error of its own, as no test may have failed in it."""
    root = ET.Element("testsuites", name=run.id)
    _add_cells(root, run.verdict.cells)

    def attempt(record: Mapping[str, Any]) -> tuple[str, int]:
        return record.get("cell", ""), record.get("attempt", 1)

    for (cell, number), group in groupby(sorted(run.records, key=attempt), attempt):
        _add_attempt(root, cell if number == 1 else f"{cell} (attempt {number})", list(group))
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ET.indent(root, " ")
    return ET.tostring(root, encoding="unicode", xml_declaration=False).join(('<?xml version="1.0" encoding="UTF-8"?>\n', "\n"))


def _add_cells(root: ET.Element, cells: Iterable[CellVerdict]) -> None:
    suite = ET.SubElement(root, "testsuite", name="cells")
    for cell in cells:
        facts = {"name": _xml(cell.cell), "classname": "qualification.cells", "time": f"{cell.duration_s:.3f}"}
        case = ET.SubElement(suite, "testcase", facts)
        if cell.outcome in _OWED:
            ET.SubElement(case, "skipped", message=_xml(f"{cell.outcome}: {cell.reason}"))
        elif cell.outcome not in ("passed", "flaky"):
            ET.SubElement(case, "error", type=cell.outcome, message=_xml(cell.reason))
    _count(suite)


def _add_attempt(root: ET.Element, name: str, records: list[Mapping[str, Any]]) -> None:
    suite = ET.SubElement(root, "testsuite", name=_xml(name), timestamp=records[0]["timestamp"].partition(".")[0].rstrip("Z"))
    for record in records:
        file, _, test = record["test"].partition("::")
        case = ET.SubElement(
            suite,
            "testcase",
            name=_xml(test or file),
            classname=_xml(file.removesuffix(".py").replace("/", ".")),
            time=f"{record.get('duration', 0):.3f}",
        )
        if record["outcome"] == "failed":
            reason = _xml(record.get("reason", "no reason given"))
            ET.SubElement(case, "failure", type=record.get("phase", "call"), message=reason).text = reason
        elif record["outcome"] == "skipped":
            ET.SubElement(case, "skipped", message=_xml(record.get("reason", "no reason given")))
        if record.get("reruns"):
            ET.SubElement(case, "system-out").text = f"run again {record['reruns']} times before this outcome"
    _count(suite)


def _count(suite: ET.Element) -> None:
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(key, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("time", f"{sum(float(case.get('time', '0')) for case in suite.iter('testcase')):.3f}")


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
