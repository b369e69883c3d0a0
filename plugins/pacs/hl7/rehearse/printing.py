"""A sheet as text, to be read in a terminal and to be printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from pacs.hl7.rehearse.sheet import Check, Outcome, Sheet, StationSheet

_TITLES = {
    Check.ORDER: "Order taken and worked",
    Check.WORKLIST: "Worklist answered",
    Check.STARTED: "Started (MPPS)",
    Check.IMAGE: "Image stored",
    Check.INDEX: "Study listed",
    Check.ROUTED: "Sent on, and proven",
    Check.WEB: "Image given to viewers",
    Check.COMPLETED: "Completed (MPPS)",
    Check.STATUS_OUT: "Status told",
    Check.REMOVED: "All removed",
}
_WORDS = {Outcome.PASSED: "PASS", Outcome.FAILED: "FAIL", Outcome.NOT_TESTED: "-"}


def printed(record: Mapping[str, Any]) -> str:
    """Return the text of a rehearsal (`Record.as_json`)."""
    return "\n".join(_lines(record)) + "\n"


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    sheet = Sheet.from_json(record["sheet"])
    started = datetime.fromisoformat(record["started_at"]).astimezone()
    actor = record["actor"].removeprefix("person:")
    yield f"Go-live rehearsal {record['id']}, {started:%Y-%m-%d %H:%M:%S}, {actor}"
    yield f"Orders: {sheet.message_type} from {sheet.sender or 'an unknown sender'}"
    if sheet.told:
        yield f"Told of the patient of fiction: {', '.join(sheet.told)}"
    for station in sheet.stations:
        yield ""
        yield from _station(station)
    yield ""
    yield f"Result: {_result(record, sheet)}"
    yield ""
    yield "Date, name, signature: ____________________________________________"


def _station(station: StationSheet) -> Iterator[str]:
    name = f"{station.name} " if station.name else ""
    yield f"{name}({station.ae_title}), {station.modality}"
    for line in station.lines:
        seconds = f"{line.seconds:6.2f} s" if line.outcome is not Outcome.NOT_TESTED else " " * 8
        yield f"  {_WORDS[line.outcome]:4}  {_TITLES[line.check]:24} {seconds}  {line.detail}".rstrip()


def _result(record: Mapping[str, Any], sheet: Sheet) -> str:
    if record["is_interrupted"]:
        return "INTERRUPTED"
    return _WORDS[sheet.outcome] if sheet.outcome in (Outcome.PASSED, Outcome.FAILED) else "NOT TESTED"
