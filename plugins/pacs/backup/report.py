"""The report of a drill: dated, signed, for an auditor and for the drawer, in Spanish, Portuguese or English."""

from __future__ import annotations

import json
from pathlib import Path

from pacs import __version__
from pacs.backup import signing
from pacs.backup.drill import DrillResult
from pacs.backup.report_words import WORDS

LANGUAGES = tuple(WORDS)
REPORTS = "reports"
_WIDTH = 34


def write(result: DrillResult, folder: Path, key: Path, language: str) -> Path:
    """Write the report, the same as JSON, and the signatures; return the report's path."""
    reports = folder / REPORTS
    reports.mkdir(parents=True, exist_ok=True)
    stem = f"drill-{result.began.replace(':', '').replace('-', '')[:15]}-{result.place}"
    path, figures = reports / f"{stem}.{language}.txt", reports / f"{stem}.json"
    path.write_text(text_of(result, language), encoding="utf-8")
    figures.write_text(json.dumps(result.as_json(), indent=1, ensure_ascii=False), encoding="utf-8")
    for one in (path, figures):
        signing.sign(one, key)
    return path


def text_of(result: DrillResult, language: str) -> str:
    """Return the report as text."""
    words = WORDS[language]
    lines = [words["title"], "=" * len(words["title"]), ""]
    lines += [words["good"] if result.is_good else words["bad"], ""]
    rows = {
        "place": result.place,
        "began": result.began,
        "ended": result.ended,
        "point": f"{result.point} (LSN {result.lsn})" if result.point else "–",
        "version": __version__,
        "files": f"{result.checked_files} ({result.checked_bytes} {words['bytes']})",
        "missing": str(result.missing_count),
        "wrong": str(result.wrong_count),
        "orphans": str(result.orphan_count),
        "studies": f"{result.studies_opened} / {result.studies_opened + len(result.studies_failed)}",
    }
    lines += [_row(words[name], value) for name, value in rows.items()]
    lines += ["", words["rows"], *(_row(f"  {name}", str(count)) for name, count in result.totals.items())]
    lines += ["", words["steps"], *(_row(f"  {name}", f"{seconds:.1f} s") for name, seconds in result.steps.items())]
    lines += _findings(result, words)
    return "\n".join([*lines, "", words["verify"], "", words["sign"], ""])


def _findings(result: DrillResult, words: dict[str, str]) -> list[str]:
    lines = [f"  {fault}" for fault in result.faults]
    lines += [f"  {name}: {then} → {now}" for name, (then, now) in result.differences.items()]
    for title, those in (("missing", result.missing), ("wrong", result.wrong), ("orphans", result.orphans)):
        lines += [f"  {words[title]}: {one['uuid']} {one['study']}".rstrip() for one in those]
    lines += [f"  {uid}: {fault}" for uid, fault in result.studies_failed.items()]
    return ["", words["findings"], *lines] if lines else []


def _row(name: str, value: str) -> str:
    return f"{name + ' ':.<{_WIDTH}} {value}"
