"""Why an entry looks as it does: which field gave which attribute, and what was done with it on the way."""

from __future__ import annotations

from dataclasses import dataclass

from pacs.hl7.errors import DATA_TYPE_ERROR, Hl7Error
from pacs.settings_files.faults import Place


@dataclass(frozen=True)
class Explained:
    """One attribute.

    Attributes
    ----------
    keyword, value : as DICOM has them; "" for an attribute that is deleted.
    place : where in the message the value stood, OBR[2]-18; "" when it stood nowhere.
    source : how the mapping writes where it comes from.
    rule : line of the mapping; None for what follows from `identity:` and the action tables.
    note : what was done with the value on the way, "" for nothing.
    """

    keyword: str
    value: str
    place: str
    source: str
    rule: Place | None
    note: str = ""


@dataclass(frozen=True)
class Notice:
    """Something that a person should know though the message was used: a value that was left out or shortened."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text


@dataclass(frozen=True)
class Unusable:
    """Why a message can't be used.

    Attributes
    ----------
    location : as ERR-2 writes it, PID^1^3.
    hl7_code : from table 0357.
    keyword : the attribute that it keeps from being filled; "" for the patient's number.
    """

    location: str
    text: str
    hl7_code: str = DATA_TYPE_ERROR
    keyword: str = ""


class UnusableMessage(Hl7Error):
    """What a message asks for can't be done with what it says. Tells everything that is in the way, never a name."""

    code = "hl7-unusable"

    def __init__(self, faults: list[Unusable]) -> None:
        told = "; ".join(f"{fault.location}: {fault.text}" if fault.location else fault.text for fault in faults)
        super().__init__(
            f"{told}.",
            remedy="Correct the message and replay it, or change the sender's mapping.",
            location=faults[0].location,
            hl7_code=faults[0].hl7_code,
        )
        self.faults = faults

    @property
    def locations(self) -> tuple[str, ...]:
        """Return where something is wrong, each place once."""
        return tuple(dict.fromkeys(fault.location for fault in self.faults if fault.location))


@dataclass(frozen=True)
class Explanation:
    """Everything that was read for one entry, in the order of the mapping."""

    mapping: str
    rows: tuple[Explained, ...]
    notices: tuple[Notice, ...]
    faults: tuple[Unusable, ...] = ()
