"""`Lane`: all that concerns one target: its queue, its threads, its child processes, whether it is there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta, tzinfo
from typing import Any, NoReturn

from pacs.errors import NotFound, PacsError
from pacs.ports import Json
from pacs.routing.delivery.children import Children
from pacs.routing.delivery.delivering import Delivering
from pacs.routing.delivery.entry import Entry
from pacs.routing.delivery.figures import Figures
from pacs.routing.delivery.models import DeliveryRecord
from pacs.routing.delivery.presence import Presence
from pacs.routing.delivery.shipping import Means
from pacs.routing.delivery.states import ENDED, DeliveryState
from pacs.routing.delivery.stations import Stations
from pacs.routing.delivery.windows import seconds_until_open
from pacs.routing.senders.faults import FaultKind, SendingFault
from pacs.routing.targets.library import Targets
from pacs.routing.targets.model import Target
from pacs.work import Claim, GiveBack, QueueWorker, Reject, Retry, Supervisor, WorkQueue

_log = logging.getLogger(__name__)
_KEEP_DONE_DAYS = 7
_MOST_CUTS = 3
# So often one looks whether a person has mended what a delivery waits for.
_MENDED_LOOK_SECONDS = 30.0


class Lane:
    """Works the queue of one target. Nothing of it is shared with another target's.

    Attributes
    ----------
    presence : whether the target is there.
    children : the processes that send to it.
    """

    def __init__(
        self,
        name: str,
        targets: Targets,
        means: Means,
        *,
        stations: Stations,
        children: Children,
        presence: Presence,
        figures: Figures,
        zone: tzinfo,
    ) -> None:
        self.name = name
        self.children = children
        self.presence = presence
        self._targets = targets
        self._means = means
        self._stations = stations
        self._figures = figures
        self._zone = zone
        self._now = means.ledger.queues.clock
        self._worker: QueueWorker | None = None
        # How often in a row the connection ended before anything of a delivery was accepted.
        self._cuts: dict[int, int] = {}

    @property
    def queue(self) -> WorkQueue:
        """What is on its way to this target."""
        return self._means.ledger.queues.of(self.name)

    def add_to(self, supervisor: Supervisor, threads: int) -> None:
        """Have so many threads send."""
        self._worker = QueueWorker(self.queue, self.work, threads=threads, keep_days=_KEEP_DONE_DAYS)
        self._worker.add_to(supervisor)

    def resize(self, threads: int) -> None:
        """Have so many threads send from now on."""
        if self._worker is not None:
            self._worker.resize(threads)

    def work(self, claim: Claim) -> Mapping[str, Any] | None:
        """Work a claim of the queue and settle it. The handler.

        Raises
        ------
        Retry, Reject, GiveBack : what becomes of it.
        """
        row = self._row(claim)
        if row is None:
            return None
        try:
            self._try(claim, row)
        except Reject:
            self._figures.count(self.name, row.rule, DeliveryState.FAILED.value)
            raise
        return None

    def _try(self, claim: Claim, row: DeliveryRecord) -> None:
        entry = Entry(self._means.ledger, claim, row)
        target = self._target(entry)
        self._require_young(entry, claim, target)
        self._require_open(row, target)
        self._wait_while_away(claim, entry)
        before = row.sent_bytes
        try:
            self._deliver(claim, row, target)
        except SendingFault as fault:
            self._after(entry, fault, got_on=row.sent_bytes > before)
        except PacsError as error:
            self._note(row.id, error=error.message, remedy=error.remedy or "It is tried again.")
            raise

    def test(self) -> None:
        """Try whether the target is there and lets us in: C-ECHO, a search, a sign-in.

        Raises
        ------
        NotFound, SendingFault, ProcessError : why not.
        """
        argument = self.argument()
        self._stations.knock(argument)
        self.children.test(argument)
        self.presence.note_there()

    def argument(self) -> Json:
        """Return what a child is told of the target. Raises NotFound, SendingFault, ArchiveError."""
        return self._stations.argument(self.name, self._targets.get(self.name))

    # -- before ----------------------------------------------------------------------------------------------------

    def _row(self, claim: Claim) -> DeliveryRecord | None:
        """Return the delivery, None when there is nothing to do about it any more."""
        with self._means.ledger.database.session() as session:
            row = session.get(DeliveryRecord, claim.item.payload["delivery"])
        if row is None or row.state in ENDED or row.work_item_id != claim.item.id:
            # A piece of work that a newer one took the place of has nothing to do, nor has its dead letter.
            return None
        if row.state == DeliveryState.FAILED:
            # We were ended between writing it down and giving the item up.
            raise Reject(row.error or "")
        return row

    def _target(self, entry: Entry) -> Target:
        try:
            return self._targets.get(self.name)
        except NotFound as error:
            entry.fail(error.message, error.remedy)

    def _require_young(self, entry: Entry, claim: Claim, target: Target) -> None:
        age = self._now() - claim.item.queued_at
        if age > timedelta(days=target.retry_days):
            last = entry.row.error or self.presence.last_error() or "it never was its turn"
            entry.fail(f"Given up after {age.days} days: {last}", "See what is wrong with the target, then replay it.")

    def _require_open(self, row: DeliveryRecord, target: Target) -> None:
        seconds = seconds_until_open(target, row.urgency, self._now(), self._zone)
        if seconds > 0:
            raise Retry(f"It waits for {target.window}.", after=seconds)

    def _wait_while_away(self, claim: Claim, entry: Entry) -> None:
        """Wait until the target is to be looked for again; then whatever is most urgent goes first."""
        if self.presence.seconds_to_wait <= 0:
            return
        self._park(entry)
        while (seconds := self.presence.seconds_to_wait) > 0:
            if claim.wait_for_stop(min(seconds, 1.0)):
                break
        raise GiveBack

    def _park(self, entry: Entry) -> None:
        """Have it wait for its target, so that an alternative can take over, whatever a try left there before."""
        if entry.row.state == DeliveryState.SENDING:
            # We were ended in the middle: the next try asks first what is there.
            entry.report(cut_off=True)
        if entry.row.state != DeliveryState.WAITING:
            entry.change(state=DeliveryState.WAITING.value)

    # -- delivering ------------------------------------------------------------------------------------------------

    def _deliver(self, claim: Claim, row: DeliveryRecord, target: Target) -> None:
        argument: Json = self._stations.argument(self.name, target)
        if not self.presence.was_there:
            # Not each time: many archives take a mere knock for a beginning association, and wait for the rest of it.
            self._stations.knock(argument)
        before = row.sent_bytes
        delivering = Delivering(
            self._means,
            self.children,
            claim,
            row=row,
            target=target,
            argument=argument,
            heard=self.presence.note_heard,
        )
        try:
            state = delivering.work()
        except (Reject, Retry):
            self.presence.note_there()
            raise
        finally:
            self._figures.count_bytes(self.name, row.sent_bytes - before)
        self._cuts.pop(row.id, None)
        if state in ENDED:
            self._figures.count(self.name, row.rule, state.value)
        self.presence.note_there(succeeded=True)

    def _after(self, entry: Entry, fault: SendingFault, *, got_on: bool) -> NoReturn:
        """Say what becomes of a delivery that met a fault. `got_on`: the target accepted something of it before."""
        row = entry.row
        self._figures.count_fault(self.name, fault.kind.value)
        if fault.kind in {FaultKind.AWAY, FaultKind.CUT}:
            self.presence.note_away(fault.message, fault.remedy)
            self._park(entry)
            self._note(row.id, error=fault.message, remedy=fault.remedy)
            if fault.kind is FaultKind.CUT and self._is_stuck(row, got_on=got_on):
                # It may be this study that the target can't bear: it lets the others go first.
                raise Retry(str(fault))
            raise GiveBack
        self.presence.note_there()
        if fault.kind in {FaultKind.BUSY, FaultKind.WAITS}:
            self._note(row.id, error=fault.message, remedy=fault.remedy)
            raise Retry(str(fault), after=_MENDED_LOOK_SECONDS if fault.kind is FaultKind.WAITS else None)
        entry.fail(fault.message, fault.remedy)

    def _is_stuck(self, row: DeliveryRecord, *, got_on: bool) -> bool:
        self._cuts[row.id] = 0 if got_on else self._cuts.get(row.id, 0) + 1
        return self._cuts[row.id] >= _MOST_CUTS

    def _note(self, delivery_id: int, **values: Any) -> None:
        self._means.ledger.change(delivery_id, values)
