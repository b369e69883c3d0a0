"""Which entries of the worklist a message means.

An order is named by its accession number, its requested procedure and its step. Many messages say only part of that,
and what the mapping had to suppose must not make a second entry of the same order; so entries are also known by their
order numbers. Nothing is ever taken for the same against a number that both sides have and that differs. Whose the
entry is, is checked by the worklist when it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from sqlalchemy.orm import Session

from pacs.hl7.orders.mapper import EntryReading
from pacs.studies.dicom_values import text
from pacs.worklist.attributes import identity_of
from pacs.worklist.steps import StepRow
from pacs.worklist.worklist import Worklist

_ISSUER = "IssuerOfAccessionNumberSequence"
_ACCESSION, _PROCEDURE, _STEP = "accession_number", "requested_procedure_id", "step_id"
_CODES = "RequestedProcedureCodeSequence"
_ORDER_ISSUERS = ("OrderPlacerIdentifierSequence", "OrderFillerIdentifierSequence")

type _Issuer = tuple[str, str]


@dataclass(frozen=True)
class Naming:
    """How a message names one entry.

    Attributes
    ----------
    identity : columns that name a step.
    supposed : those that the message itself does not give.
    placer, filler : order numbers.
    issuers : of the placer's and the filler's number: local name and universal id, "" for what is not said.
    code : of the requested procedure.
    """

    identity: dict[str, str]
    supposed: frozenset[str]
    placer: str
    filler: str
    issuers: tuple[_Issuer, ...]
    code: str

    @classmethod
    def of(cls, reading: EntryReading) -> Naming:
        """Return how an entry is named."""
        dataset, item = reading.step.dataset, reading.step.step_item
        names = {"RequestedProcedureID": _PROCEDURE, "ScheduledProcedureStepID": _STEP}
        return cls(
            identity_of(dataset, item),
            frozenset(names[keyword] for keyword in names.keys() & reading.supposed),
            text(dataset.get("PlacerOrderNumberImagingServiceRequest")),
            text(dataset.get("FillerOrderNumberImagingServiceRequest")),
            _issuers(dataset),
            _code(dataset),
        )

    @property
    def accession_number(self) -> str:
        """The accession number."""
        return self.identity[_ACCESSION]

    @property
    def has_stand_in(self) -> bool:
        """Whether an order number stands in for the accession number."""
        return self.accession_number in (self.placer, self.filler)


@dataclass(frozen=True)
class Located:
    """Entries that a message means.

    Attributes
    ----------
    rows : they are what the message is about.
    replaced : entries that were made before an accession number was known, and of which any may be this order's.
    is_taken : there is an entry of the same name that is another order's.
    """

    rows: tuple[StepRow, ...]
    replaced: tuple[StepRow, ...] = ()
    is_taken: bool = False


def locate(worklist: Worklist, session: Session, naming: Naming, done: set[int]) -> Located:
    """Return the entries that `naming` means, but for those that the same message is about already (`done`)."""
    found = worklist.of_order(
        session,
        accession_number=naming.accession_number,
        placer_order_number=naming.placer,
        filler_order_number=naming.filler,
    )
    same_name = tuple(row for row in found if _identity(row) == naming.identity)
    if same_name and not naming.supposed and not naming.has_stand_in:
        return Located(same_name)
    rows = [row for row in found if row.id not in done and not _contradicts(row, naming)]
    meant = [row for row in rows if _agree(row.accession_number, naming) or naming.has_stand_in]
    # What had the order's numbers and its accession number already took the place of its own stand-in then.
    is_replaced = any(row.placer_order_number or row.filler_order_number for row in meant)
    replaced = () if is_replaced else _stand_ins([row for row in rows if row not in meant], naming)
    with_code = [row for row in meant if naming.code and _code(row.dataset) == naming.code]
    meant = with_code or meant
    exact = [row for row in meant if _identity(row) == naming.identity]
    return Located(tuple(exact or meant), replaced, is_taken=bool(same_name) and not exact)


def naming_values(row: StepRow) -> dict[str, Any]:
    """Return the attributes that name an entry as it is there."""
    values: dict[str, Any] = {
        "AccessionNumber": row.accession_number,
        "RequestedProcedureID": row.requested_procedure_id,
        "ScheduledProcedureStepID": row.step_id,
    }
    if row.issuer_of_accession_number:
        values[_ISSUER] = row.dataset[_ISSUER].value
    return values


def _contradicts(row: StepRow, naming: Naming) -> bool:
    """Tell whether both sides have a number of the same kind, and different ones."""
    told = {column: value for column, value in naming.identity.items() if column not in (*naming.supposed, _ACCESSION)}
    told |= {"placer": naming.placer, "filler": naming.filler}
    known = _identity(row) | {"placer": row.placer_order_number, "filler": row.filler_order_number}
    for column in (_PROCEDURE, _STEP):
        if known[column] == row.accession_number:  # supposed, because nobody had said it
            known[column] = ""
    return any(value and known[column] and value != known[column] for column, value in told.items())


def _agree(accession_number: str, naming: Naming) -> bool:
    return not naming.accession_number or accession_number == naming.accession_number


def _had_stand_in(row: StepRow) -> bool:
    return row.accession_number in (row.placer_order_number, row.filler_order_number)


def _stand_ins(rows: Sequence[StepRow], naming: Naming) -> tuple[StepRow, ...]:
    """Return entries that were made before their accession number was known, and may be of this order and procedure.

    Several procedures may share an order's number, and two systems may give the same one to different orders.
    """
    may_be = [row for row in rows if _had_stand_in(row) and _is_of_same_procedure(row, naming)]
    with_code = [row for row in may_be if naming.code and _code(row.dataset) == naming.code]
    return tuple(with_code or may_be)


def _is_of_same_procedure(row: StepRow, naming: Naming) -> bool:
    """Tell whether nothing that both sides know speaks against it."""
    if naming.code and _code(row.dataset) not in ("", naming.code):
        return False
    return not any(map(_are_different, _issuers(row.dataset), naming.issuers))


def _are_different(known: _Issuer, told: _Issuer) -> bool:
    both = [pair for pair in zip(known, told, strict=True) if all(pair)]
    return bool(both) and all(one != other for one, other in both)


def _identity(row: StepRow) -> dict[str, str]:
    return {
        "issuer_of_accession_number": row.issuer_of_accession_number,
        _ACCESSION: row.accession_number,
        _PROCEDURE: row.requested_procedure_id,
        _STEP: row.step_id,
    }


def _issuers(dataset: Dataset) -> tuple[_Issuer, ...]:
    items = [(dataset.get(keyword) or [Dataset()])[0] for keyword in _ORDER_ISSUERS]
    return tuple((text(item.get("LocalNamespaceEntityID")), text(item.get("UniversalEntityID"))) for item in items)


def _code(dataset: Dataset) -> str:
    items = dataset.get(_CODES) or [Dataset()]
    return text(items[0].get("CodeValue") or items[0].get("LongCodeValue"))
