"""Whose order it is: the numbers of a patient with who gave them. A number is never compared without its issuer.

Source: HL7 v2.5.1 chapter 3.4.2.3 (PID-3, type CX); DICOM PS3.3 C.7.1.1 and C.2.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from pacs.hl7.errors import REQUIRED_FIELD_MISSING
from pacs.hl7.orders.composites import hierarchic_designator
from pacs.hl7.orders.explanation import Explained, Unusable
from pacs.hl7.orders.filling import Filling
from pacs.hl7.orders.mapping import IdentityRules
from pacs.hl7.orders.values import LIMITS, BadValue, convert
from pacs.hl7.paths import Path
from pacs.hl7.segment import Repetition, Segment

_AUTHORITY = 4
_TYPE = 5
_FIELDS_BESIDE = (2, 4)  # PID-2 and PID-4: numbers of chips and tattoos, passports, older systems.


@dataclass(frozen=True)
class PatientNumber:
    """One number of a patient.

    Attributes
    ----------
    issuer : assigning authority; "" where none is said.
    qualifiers : the authority's universal id, as an item; None without one.
    type : CX.5, what kind of number it is.
    place, location : where it stands, for people and for ERR-2.
    """

    number: str
    issuer: str
    qualifiers: Dataset | None
    type: str
    place: str
    location: str

    @property
    def key(self) -> tuple[str, str]:
        """The number with its issuer, as the worklist compares patients."""
        return self.number, self.issuer


@dataclass(frozen=True)
class PatientNumbers:
    """The numbers of a patient; the first is the Patient ID.

    Attributes
    ----------
    beside : further numbers that name the patient elsewhere.
    """

    primary: PatientNumber
    others: tuple[PatientNumber, ...] = ()
    beside: tuple[PatientNumber, ...] = ()

    @property
    def keys(self) -> list[tuple[str, str]]:
        """What may be the Patient ID of this patient in entries of other senders: others only with their issuer."""
        return [self.primary.key, *(other.key for other in self.others if other.issuer)]

    def are_of_same_patient(self, other: PatientNumbers) -> bool:
        """Tell whether another segment of the same message has the numbers of the same patient, in whatever order.

        A number that both have is not enough where an issuer gave them different ones: families share an insurance.
        """
        mine, theirs = ({each.key for each in (one.primary, *one.others)} for one in (self, other))
        if self.primary.key == other.primary.key or mine == theirs:
            return True
        shared = {issuer for _, issuer in mine & theirs}
        return any(shared) and {issuer for _, issuer in mine} & {issuer for _, issuer in theirs} <= shared


def read_numbers(segment: Segment, rules: IdentityRules) -> PatientNumbers | Unusable:
    """Return the numbers that a PID segment gives, by the rules of the mapping."""
    for name in rules.fields:
        numbers = _trusted(_numbers(segment, Path.parse(name).field, rules), rules)
        if numbers:
            return _ordered(segment, numbers, rules)
    return Unusable(segment.location(3), _missing("PID-3", rules), REQUIRED_FIELD_MISSING)


def read_prior_numbers(segment: Segment, rules: IdentityRules) -> list[PatientNumber] | Unusable:
    """Return the numbers under which the patient was known before (MRG-1)."""
    numbers = _trusted(_numbers(segment, 1, rules), rules)
    return numbers or Unusable(segment.location(1), _missing("MRG-1", rules), REQUIRED_FIELD_MISSING)


def put_numbers(filling: Filling, numbers: PatientNumbers) -> None:
    """Give an entry the patient's numbers."""
    primary = numbers.primary
    if fault := _fault(primary):
        filling.faults.append(fault)
        return
    filling.put(Explained("PatientID", primary.number, primary.place, "identity", None), primary.number)
    if primary.issuer:
        filling.put(Explained("IssuerOfPatientID", primary.issuer, primary.place, "identity", None), primary.issuer)
    if primary.qualifiers is not None:
        filling.values["IssuerOfPatientIDQualifiersSequence"] = [primary.qualifiers]
    if kind := _kind(primary):
        filling.put(Explained("TypeOfPatientID", kind, primary.place, "identity", None), kind)
    items = [_item(number) for number in (*numbers.others, *numbers.beside) if _fault(number) is None]
    if items:
        shown = " / ".join(str(item.PatientID) for item in items)
        filling.put(Explained("OtherPatientIDsSequence", shown, "PID-3", "identity", None), items)


def _numbers(segment: Segment, field: int, rules: IdentityRules) -> Iterator[PatientNumber]:
    for repetition_number, repetition in enumerate(segment.repetitions(field), start=1):
        number = (repetition.text(1) or "").strip()
        if number:
            yield _number(segment, field, repetition_number, repetition, rules)


def _number(
    segment: Segment, field: int, repetition_number: int, repetition: Repetition, rules: IdentityRules
) -> PatientNumber:
    name, universal_id, universal_type = ((repetition.text(_AUTHORITY, part) or "").strip() for part in (1, 2, 3))
    try:
        qualifiers = hierarchic_designator(None, universal_id, universal_type)
    except BadValue:
        qualifiers = None
    path = Path(segment.name, field, repetition=repetition_number, occurrence=segment.number)
    return PatientNumber(
        number=(repetition.text(1) or "").strip(),
        issuer=name or universal_id or rules.issuer,
        qualifiers=qualifiers,
        type=(repetition.text(_TYPE) or "").strip(),
        place=str(path),
        location=path.location,
    )


def _trusted(numbers: Iterable[PatientNumber], rules: IdentityRules) -> list[PatientNumber]:
    return [number for number in numbers if not rules.only or number.issuer in rules.only]


def _ordered(segment: Segment, numbers: Sequence[PatientNumber], rules: IdentityRules) -> PatientNumbers:
    ranks = {issuer: rank for rank, issuer in enumerate(rules.prefer)}
    first, *others = sorted(numbers, key=lambda number: ranks.get(number.issuer, len(ranks)))
    known = {number.key for number in numbers}
    beside = [
        number for field in _FIELDS_BESIDE for number in _numbers(segment, field, rules) if number.key not in known
    ]
    bare = {number.number for number in numbers}
    return PatientNumbers(
        first,
        tuple({other.key: other for other in others if other.key != first.key}.values()),
        tuple({number.key: number for number in beside if number.issuer or number.number not in bare}.values()),
    )


def _item(number: PatientNumber) -> Dataset:
    item = Dataset()
    item.PatientID = number.number
    if number.issuer:
        item.IssuerOfPatientID = number.issuer
    if number.qualifiers is not None:
        item.IssuerOfPatientIDQualifiersSequence = [number.qualifiers]
    if kind := _kind(number):
        item.TypeOfPatientID = kind
    return item


def _kind(number: PatientNumber) -> str:
    try:
        return convert(number.type, "CS").text
    except BadValue:
        return ""


def _fault(number: PatientNumber) -> Unusable | None:
    """Say why a number can't be a Patient ID; it is never changed to fit."""
    for text, what in ((number.number, "patient ID"), (number.issuer, "assigning authority")):
        if len(text) > LIMITS["LO"]:
            return Unusable(number.location, f"expected {what} of at most {LIMITS['LO']} characters, found {len(text)}")
        if "\\" in text or not text.isprintable():
            return Unusable(number.location, f"expected {what} without backslashes and control characters")
    return None


def _missing(field: str, rules: IdentityRules) -> str:
    whose = f" of {' or '.join(rules.only)}" if rules.only else ""
    return f"{field} has no number of the patient{whose}"
