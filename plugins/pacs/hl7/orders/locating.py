"""Which entries of the worklist a message means.

An order is named by its accession number, its requested procedure and its step. Many messages say only part of that,
and what the mapping had to suppose must not make a second entry of the same order; so entries are also known by their
order numbers. Nothing is ever taken for the same against a number that both sides have and that differs. Whose the
entry is, is checked by the worklist when it is written.

An entry that was made before its accession number was known is a stand-in; plugins/README.md tells what becomes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from sqlalchemy.orm import Session

from pacs.hl7.orders.mapper import EntryReading
from pacs.hl7.orders.marks import is_replaced
from pacs.studies.dicom_values import text
from pacs.worklist.attributes import identity_of, patient_of
from pacs.worklist.statuses import NOT_BEGUN, StepStatus
from pacs.worklist.steps import StepRow
from pacs.worklist.worklist import Worklist

_ISSUER = "IssuerOfAccessionNumberSequence"
_ACCESSION, _PROCEDURE, _STEP = "accession_number", "requested_procedure_id", "step_id"
_ORDER_ISSUERS = ("OrderPlacerIdentifierSequence", "OrderFillerIdentifierSequence")

type _Issuer = tuple[str, str]
# Value and scheme, "" for what is not said.
type _Code = tuple[str, str]


@dataclass(frozen=True)
class Naming:
    """How a message names one entry.

    Attributes
    ----------
    identity : columns that name a step.
    supposed : those that the message itself does not give.
    placer, filler : order numbers.
    issuers : of the placer's and the filler's number: local name and universal id, "" for what is not said.
    codes : of the requested procedure and of its protocol.
    patient : Patient ID and its issuer.
    """

    identity: dict[str, str]
    supposed: frozenset[str]
    placer: str
    filler: str
    issuers: tuple[_Issuer, ...]
    codes: tuple[_Code, _Code]
    patient: tuple[str, str]

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
            _codes(dataset, item),
            patient_of(dataset),
        )

    @property
    def accession_number(self) -> str:
        """The accession number."""
        return self.identity[_ACCESSION]

    @property
    def code(self) -> str:
        """The code of the requested procedure, without its scheme."""
        return self.codes[0][0]

    @property
    def names_a_procedure(self) -> bool:
        """Whether it says by a code what is to be done."""
        return any(value for value, _ in self.codes)

    def is_for(self, row: StepRow) -> bool | None:
        """Tell whether an entry has the same procedure; None where that can't be compared."""
        return _is_same(self.codes, _codes_of(row))

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
    stand_ins : entries that were made before an accession number was known, and of which any may be this order's.
    is_taken : there is an entry of the same name that is another order's.
    """

    rows: tuple[StepRow, ...]
    stand_ins: tuple[StepRow, ...] = ()
    is_taken: bool = False


def locate(
    worklist: Worklist,
    session: Session,
    naming: Naming,
    *,
    done: set[int],
    of_message: Sequence[Naming],
    of_whole_order: bool,
) -> Located:
    """Return the entries that `naming` means.

    Parameters
    ----------
    done : entries that the same message is about already; they are not meant once more.
    of_message : how the message names all its entries.
    of_whole_order : what is asked for is meant of every procedure, unless the message says of which.
    """
    found = worklist.of_order(
        session,
        accession_number=naming.accession_number,
        placer_order_number=naming.placer,
        filler_order_number=naming.filler,
    )
    same_name = tuple(row for row in found if _identity(row) == naming.identity)
    if same_name and not naming.supposed and not naming.has_stand_in:
        return Located(same_name)
    order = [row for row in found if not _contradicts(row, naming)]
    with_number = [row for row in order if not _had_stand_in(row)]

    def is_in_force(row: StepRow) -> bool:
        """Tell whether no entry with an accession number took the place of a stand-in."""
        if not with_number or not _had_stand_in(row) or row.status in (*NOT_BEGUN, StepStatus.STARTED):
            return True
        if row.status is StepStatus.CANCELED and any(_may_be_same(row, other) for other in with_number):
            return False
        return not is_replaced(worklist, session, row)

    rows = [row for row in order if row.id not in done]
    stand_ins: list[StepRow] = []
    if naming.has_stand_in:
        meant = [row for row in rows if is_in_force(row)]
    else:
        meant = [row for row in rows if _agree(row.accession_number, naming)]
        others = all(naming.is_for(row) is False for row in meant)
        # What had the order's numbers and its accession number already took the place of its own stand-in then.
        if others or not any(row.placer_order_number or row.filler_order_number for row in meant):
            may_be = [row for row in rows if row not in meant and _had_stand_in(row) and _has_issuers(row, naming)]
            stand_ins = _likeliest([row for row in may_be if is_in_force(row)], naming, of_message)
        if meant and others:
            # Another procedure of the same accession number, unless it is the same one with a new code.
            stand_ins = [row for row in stand_ins if naming.is_for(row)]
            meant = [] if stand_ins else meant
    meant = [row for row in meant if naming.is_for(row)] or meant
    exact = [row for row in meant if _identity(row) == naming.identity]
    of_all = of_whole_order and not naming.names_a_procedure and of_message.count(naming) == 1
    return Located(tuple(meant if of_all else exact or meant), tuple(stand_ins), is_taken=bool(same_name) and not exact)


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


def _likeliest(stand_ins: Sequence[StepRow], naming: Naming, of_message: Sequence[Naming]) -> list[StepRow]:
    """Return the stand-ins of which `naming` means one: those of its procedure, else those that may be, else all.

    Several procedures may share an order's number, and two systems may give the same one to different orders.
    """
    own = [row for row in stand_ins if row.is_of(naming.patient)]
    if not own:
        # Two patients share a number, or the order was another one's: writing it is refused, and a person looks.
        waiting = [row for row in stand_ins if row.status in NOT_BEGUN]
        return [row for row in waiting if naming.is_for(row) or not (naming.code and _codes_of(row)[0][0])]
    own = [row for row in own if naming.is_for(row) or not _is_of_another(row, naming, of_message)]
    ways = ([row for row in own if naming.is_for(row) is is_for] for is_for in (True, None, False))
    return next(filter(None, ways), [])


def _is_of_another(row: StepRow, naming: Naming, of_message: Sequence[Naming]) -> bool:
    """Tell whether the message names another entry of the stand-in's order by its very procedure."""
    return any(other != naming and other.is_for(row) and not _contradicts(row, other) for other in of_message)


def _may_be_same(one: StepRow, other: StepRow) -> bool:
    return _is_same(_codes_of(one), _codes_of(other)) is not False


def _has_issuers(row: StepRow, naming: Naming) -> bool:
    """Tell whether nothing that both sides know of who gave the order numbers speaks against it."""
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


def _codes_of(row: StepRow) -> tuple[_Code, _Code]:
    return _codes(row.dataset, row.step_item)


def _codes(dataset: Dataset, item: Dataset) -> tuple[_Code, _Code]:
    return _code(dataset, "RequestedProcedureCodeSequence"), _code(item, "ScheduledProtocolCodeSequence")


def _code(dataset: Dataset, keyword: str) -> _Code:
    item = (dataset.get(keyword) or [Dataset()])[0]
    return text(item.get("CodeValue") or item.get("LongCodeValue")), text(item.get("CodingSchemeDesignator"))


def _is_same(one: tuple[_Code, _Code], other: tuple[_Code, _Code]) -> bool | None:
    """Tell whether two are of the same procedure; None where that can't be compared.

    Codes of two schemes say nothing of each other: an order often has the requester's code, its accession number comes
    with the department's.
    """
    for (value, scheme), (other_value, other_scheme) in zip(one, other, strict=True):
        if value and other_value and (value == other_value or scheme == other_scheme):
            return value == other_value
    return None
