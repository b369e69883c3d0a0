"""Sending what a target lacks of a delivery: the files, in the form that was ordered, and what came of each."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.orm import Session

from pacs.ports import Archive, Json
from pacs.processes import Cancellation, ProcessCancelled
from pacs.routing.delivery import results
from pacs.routing.delivery.children import Children, Sent, Shipment
from pacs.routing.delivery.commitment import Commitment
from pacs.routing.delivery.entry import Entry
from pacs.routing.delivery.identities import Identities, Identity
from pacs.routing.delivery.instances import OutgoingInstance
from pacs.routing.delivery.ledger import Ledger, transfer_of
from pacs.routing.delivery.models import DeliveryRecord
from pacs.routing.delivery.states import ENDED, DeliveryState, InstanceState
from pacs.routing.senders.outcome import Outcome
from pacs.studies.instance_files import InstanceFiles
from pacs.work import GiveBack


@dataclass(frozen=True)
class Means:
    """What deliveries are done with.

    Attributes
    ----------
    scratch : folder of what children write down.
    identities : the projects of de-identification.
    """

    archive: Archive
    ledger: Ledger
    files: InstanceFiles
    commitment: Commitment
    scratch: Path
    identities: Identities


class Shipping:
    """Sends one delivery's instances.

    Parameters
    ----------
    argument : the target, as the child is told of it.
    heard : called when the target accepted something.
    """

    def __init__(
        self, means: Means, children: Children, entry: Entry, argument: Json, heard: Callable[[], None]
    ) -> None:
        self._means = means
        self._children = children
        self._entry = entry
        self._argument = argument
        self._heard = heard

    def send(self, lacking: Sequence[OutgoingInstance]) -> None:
        """Send what the target lacks.

        Raises
        ------
        SendingFault : what ended it early; what was accepted before is written down. Or it can't be de-identified now.
        GiveBack : the program ends, or it was ordered in another form, or handed to another target, meanwhile.
        """
        identity = self._identity()
        self._begin(identity)
        row = self._entry.row
        journal = self._means.scratch / f"{row.id}-{secrets.token_hex(4)}.jsonl"
        sizes: list[int] = []

        def told(outcomes: Sequence[Outcome]) -> None:
            with self._means.ledger.database.session(write=True) as session:
                self._require_same_order(session)
                results.note(session, row.id, outcomes, self._means.ledger.queues.clock())
            sizes.extend(one.size_bytes for one in outcomes)
            if any(one.state == InstanceState.SENT for one in outcomes):
                self._heard()

        sent, state = Sent(), DeliveryState.WAITING
        try:
            with self._means.files.opened(lacking) as paths:
                found = [replace(one, path=path) for one, path in zip(lacking, paths, strict=True)]
                sent = self._shipped(found, identity, journal, told)
            # Not for a moment one that waits, and that an alternative may take over: the target has it.
            state = DeliveryState.CHECKING if sent.fault is None else state
        finally:
            journal.unlink(missing_ok=True)
            # All that was answered is written down: nothing is unknown but what was on the line.
            self._entry.change(
                state=state.value,
                sent_bytes=row.sent_bytes + sum(sizes),
                seconds=row.seconds + sent.seconds,
                report=sent.report or row.report,
            )
        if sent.fault is not None:
            raise sent.fault

    def _identity(self) -> Identity | None:
        """Return by what it is de-identified: the version it began with, else the one in force; None by nothing."""
        row = self._entry.row
        if row.deidentify is None:
            return None
        identities = self._means.identities
        return identities.current(row.deidentify) if row.identity is None else identities.kept(row.identity)

    def _begin(self, identity: Identity | None) -> None:
        """Write down that something may be at the target from now on, and by which version of the project."""
        ledger, row = self._means.ledger, self._entry.row
        values = {"state": DeliveryState.SENDING.value, "error": None, "remedy": None}
        if identity is not None:
            values["identity"] = identity.version
        with ledger.database.session(write=True) as session:
            self._require_same_order(session)
            if identity is not None:
                self._means.identities.keep(session, identity)
            ledger.change(row.id, values, session=session)
        for name, value in values.items():
            setattr(row, name, value)

    def _shipped(
        self,
        files: Sequence[OutgoingInstance],
        identity: Identity | None,
        journal: Path,
        told: Callable[[Sequence[Outcome]], None],
    ) -> Sent:
        row = self._entry.row
        shipment = Shipment(
            [one.as_argument(row.study_instance_uid) for one in files],
            transfer_of(row),
            None if identity is None else identity.as_argument(),
            row.changes,
        )
        try:
            return self._children.send(self._argument, shipment, journal, told, Cancellation())
        except ProcessCancelled:
            raise GiveBack from None

    def _require_same_order(self, session: Session) -> None:
        """Raise GiveBack once another identity or form is ordered, or an alternative took over: it is not to go on."""
        row = session.get(DeliveryRecord, self._entry.row.id, with_for_update=True)
        if row is None or row.state in ENDED or _form(row) != _form(self._entry.row):
            raise GiveBack


def _form(row: DeliveryRecord) -> tuple[object, ...]:
    """Return what makes the copies of one order other than those of another."""
    return row.deidentify, row.identity, row.changes, row.transfer
