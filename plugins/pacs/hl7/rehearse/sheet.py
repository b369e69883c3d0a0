"""The sheet of a rehearsal: what was tried at each modality, and how it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Check(StrEnum):
    """What is tried, in this order."""

    ORDER = "order"
    WORKLIST = "worklist"
    STARTED = "started"
    IMAGE = "image"
    INDEX = "index"
    ROUTED = "routed"
    WEB = "web"
    COMPLETED = "completed"
    STATUS_OUT = "status out"
    REMOVED = "removed"


class Outcome(StrEnum):
    """How a check went."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_TESTED = "not tested"


# Without these there is nothing to sign; the others depend on what the hospital has.
_ESSENTIAL = frozenset({Check.ORDER, Check.WORKLIST, Check.IMAGE, Check.REMOVED})


@dataclass(frozen=True)
class Line:
    """One check.

    Attributes
    ----------
    detail : what was found, in technical words; names no real patient.
    """

    check: Check
    outcome: Outcome
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class StationSheet:
    """One modality.

    Attributes
    ----------
    name : as on the page of AEs; "" for an AE title that is not there.
    modality : as the order of fiction has it, CT.
    lines : of the checks that are over.
    """

    name: str
    ae_title: str
    modality: str
    lines: tuple[Line, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether every check is over."""
        return any(line.check is Check.REMOVED for line in self.lines)

    @property
    def outcome(self) -> Outcome | None:
        """FAILED when anything failed, NOT_TESTED when it was stopped; None while it goes on."""
        if any(line.outcome is Outcome.FAILED for line in self.lines):
            return Outcome.FAILED
        if not self.is_over:
            return None
        passed = {line.check for line in self.lines if line.outcome is Outcome.PASSED}
        return Outcome.PASSED if passed >= _ESSENTIAL else Outcome.NOT_TESTED

    def line(self, check: Check) -> Line | None:
        """Return the line of a check, None before it is over."""
        return next((line for line in self.lines if line.check is check), None)


@dataclass(frozen=True)
class Sheet:
    """A rehearsal.

    Attributes
    ----------
    message_type : of the order, "ORM^O01".
    sender : the peer in whose name it is sent; "" for one that is none.
    told : the systems that got messages about the patient of fiction.
    """

    message_type: str
    sender: str
    stations: tuple[StationSheet, ...]
    told: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome | None:
        """The worst of its stations; None while nothing failed and it goes on."""
        outcomes = [station.outcome for station in self.stations]
        return next((each for each in (Outcome.FAILED, None, Outcome.NOT_TESTED) if each in outcomes), Outcome.PASSED)

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "message_type": self.message_type,
            "sender": self.sender,
            "told": list(self.told),
            "stations": [
                {
                    "name": station.name,
                    "ae_title": station.ae_title,
                    "modality": station.modality,
                    "lines": [
                        {"check": line.check, "outcome": line.outcome, "seconds": line.seconds, "detail": line.detail}
                        for line in station.lines
                    ],
                }
                for station in self.stations
            ],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Sheet:
        """Read what `as_json` wrote."""
        return cls(
            document["message_type"],
            document["sender"],
            tuple(_station(station) for station in document["stations"]),
            tuple(document["told"]),
        )


@dataclass(frozen=True)
class Record:
    """A sheet as it is kept.

    Attributes
    ----------
    is_interrupted : nobody goes on with it: the archive was stopped.
    """

    id: int
    actor: str
    started_at: datetime
    ended_at: datetime | None
    is_interrupted: bool
    sheet: Sheet = field(repr=False)

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self.ended_at is None and not self.is_interrupted

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        ended_at = self.ended_at.isoformat() if self.ended_at else None
        return {
            "id": self.id,
            "actor": self.actor,
            "started_at": self.started_at.isoformat(),
            "ended_at": ended_at,
            "is_interrupted": self.is_interrupted,
            "outcome": self.sheet.outcome,
            "sheet": self.sheet.as_json(),
        }


def _station(document: Mapping[str, Any]) -> StationSheet:
    lines = tuple(
        Line(Check(line["check"]), Outcome(line["outcome"]), line["seconds"], line["detail"])
        for line in document["lines"]
    )
    return StationSheet(document["name"], document["ae_title"], document["modality"], lines)
