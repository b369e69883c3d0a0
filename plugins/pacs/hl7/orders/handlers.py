"""What is done with each kind of accepted message, for `Processor.register`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from sqlalchemy.orm import Session

from pacs.hl7.checks import type_of
from pacs.hl7.orders.applying import Applying, Origin, check_usable
from pacs.hl7.orders.mapper import OrderMapper
from pacs.hl7.orders.patients import UPDATES, PatientChanges
from pacs.hl7.orders.values import read_moment
from pacs.hl7.processing import Effect, Incoming, MessageHandler, Result, keep
from pacs.hl7.settings import OrdersSettings
from pacs.worklist.steps import Version
from pacs.worklist.worklist import Worklist

ORDERS = ("ORM", "OMG", "OMI", "SIU")
PATIENTS = ("ADT",)


class OrderHandlers:
    """Lets orders, appointments and patients' messages change the worklist; results are kept in the journal alone.

    Handlers run in the processing threads, inside the transaction that settles the message.
    """

    def __init__(self, mapper: OrderMapper, worklist: Worklist, settings: OrdersSettings) -> None:
        self._mapper = mapper
        self._worklist = worklist
        self._settings = settings

    def __iter__(self) -> Iterator[tuple[tuple[str, ...], MessageHandler]]:
        """Yield types and their handler, for `Processor.register`."""
        yield ORDERS, self.order
        yield PATIENTS, self.patient

    def order(self, incoming: Incoming) -> Effect:
        """Read what a message orders or schedules; its effect enters, changes or cancels it.

        Raises
        ------
        Hl7Error : it can't be done, which the effect may raise too; nothing of it is.
        """
        readings = self._mapper.read_message(incoming.message, incoming.header, incoming.peer, incoming.received_at)
        check_usable(readings)
        origin = self._origin(incoming)

        def enter(session: Session) -> Result:
            applying = Applying(self._worklist, session, origin)
            applying.apply(readings)
            return Result("worklist", applying.outcome.as_dict())

        return enter

    def patient(self, incoming: Incoming) -> Effect:
        """Return what changes what entries say of a patient. Raises as `order` does."""
        event = type_of(incoming.header, incoming.message).partition("^")[2]
        return partial(self._change_patient, event, incoming) if event in UPDATES else keep(incoming)

    def _change_patient(self, event: str, incoming: Incoming, session: Session) -> Result:
        changes = PatientChanges(self._mapper, self._worklist, session, self._origin(incoming))
        changes.apply(incoming.message, event, incoming.peer)
        if event in self._settings.arrival_events:
            today = self._mapper.local(incoming.received_at).date()
            changes.arrive(incoming.message, incoming.peer, today)
        return Result("patient", changes.outcome.as_dict())

    def _origin(self, incoming: Incoming) -> Origin:
        sender = _actor(incoming)
        version = Version(_sent_at(incoming, self._mapper), incoming.item_id, sender)
        return Origin(version, sender, incoming.journal_id)


def _sent_at(incoming: Incoming, mapper: OrderMapper) -> str:
    """Return MSH-7 in UTC, "" where it can't be read; a clock that is ahead of ours counts as ours."""
    try:
        moment = read_moment(incoming.header.sent_at)
        time, _, fraction = moment.time.partition(".")
        zone = None if moment.zone else mapper.time_zone
        told = datetime.fromisoformat(f"{moment.date}T{time or '000000'}{moment.zone}")
        told = told.replace(microsecond=int(fraction.ljust(6, "0")), tzinfo=zone or told.tzinfo)
        if zone is not None:
            # When clocks are set back, an hour comes twice: it is the one in which the message came, or nearest to it.
            both = (told, told.replace(fold=1))
            told = min(both, key=lambda moment: abs(moment.astimezone(UTC) - incoming.received_at))
        return f"{min(told, incoming.received_at).astimezone(UTC):%Y%m%d%H%M%S.%f}"
    except (ValueError, OverflowError):
        # No time at all, or a zone or year that there is not.
        return ""


def _actor(incoming: Incoming) -> str:
    """Return who changes the worklist: the peer by its name, else by what it calls itself."""
    header = incoming.header
    return f"hl7:{incoming.peer.name or header.name_of(header.sending_application) or '?'}"
