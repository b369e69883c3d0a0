"""One try at one delivery: what the target lacks is found out and sent, what it has is proven, all is written down."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import select
from sqlalchemy.orm import Session

from pacs.errors import NotFound
from pacs.ports import Archive, Json
from pacs.processes import Cancellation, ProcessCancelled
from pacs.routing.delivery import results
from pacs.routing.delivery.children import Children, Sent, Shipment
from pacs.routing.delivery.commitment import Commitment
from pacs.routing.delivery.instances import OutgoingInstance, instances_of
from pacs.routing.delivery.ledger import Ledger, transfer_of
from pacs.routing.delivery.loops import without_returns
from pacs.routing.delivery.models import DeliveryRecord
from pacs.routing.delivery.proving import Proving
from pacs.routing.delivery.results import Known
from pacs.routing.delivery.states import DeliveryState, InstanceState
from pacs.routing.senders.faults import FaultKind, SendingFault
from pacs.routing.senders.outcome import Outcome
from pacs.routing.targets.model import Proof, Target
from pacs.studies.instance_files import InstanceFiles
from pacs.work import Claim, GiveBack, Reject, Retry

_FIRST_LOOK_SECONDS = 2.0
_LONGEST_LOOK_SECONDS = 300.0
# So often may a target say that it took what it then does not have.
_MOST_ROUNDS = 3


@dataclass(frozen=True)
class Means:
    """What deliveries are done with.

    Attributes
    ----------
    scratch : folder of what children write down.
    identity : gives what the child needs to de-identify for a project. Raises SendingFault.
    """

    archive: Archive
    ledger: Ledger
    files: InstanceFiles
    commitment: Commitment
    scratch: Path
    identity: Callable[[str], Json]


class Delivering:
    """One delivery in the hands of one thread.

    Parameters
    ----------
    argument : the target, as the child is told of it.
    """

    def __init__(
        self,
        means: Means,
        children: Children,
        claim: Claim,
        *,
        row: DeliveryRecord,
        target: Target,
        argument: Json,
    ) -> None:
        self._means = means
        self._children = children
        self._claim = claim
        self._row = row
        self._target = target
        self._argument = argument
        self._now = means.ledger.queues.clock
        self._progress = dict(claim.item.progress or {})

    def work(self) -> DeliveryState:
        """Bring it as far as it goes now, settle the claim when it is at its end, and tell which end.

        Raises
        ------
        SendingFault : the target is away, busy, or something of ours is wrong: what was done is written down.
        Retry : the target has still to prove what it took.
        Reject : a person has to look.
        GiveBack : the program ends.
        """
        instances = self._outgoing()
        if not instances:
            return self._end(DeliveryState.CUT, "It came from this target: sending it back would be a loop.")
        known = self._known()
        if self._asks_first(known):
            known = self._asked_first(instances, known)
        lacking = [one for one in instances if not _is_there(known.get(one.sop_instance_uid))]
        if lacking:
            self._send(lacking)
        elif self._row.sent_at is None:
            # We were ended before it was written down: the time for the proof runs from now.
            self._change(sent_at=self._now())
        return self._judge({one.sop_instance_uid for one in instances})

    # -- what there is ---------------------------------------------------------------------------------------------

    def _outgoing(self) -> list[OutgoingInstance]:
        try:
            found = instances_of(self._means.archive, self._row.orthanc_study_id, self._row.series)
        except NotFound:
            self._fail("The study is not in the archive any more.", "It was deleted or corrected: skip this delivery.")
        if not found:
            self._fail("The study has none of the series that were ordered.", "They were deleted: skip this delivery.")
        with self._means.ledger.database.session() as session:
            going = without_returns(session, self._argument, found)
        self._change(instances=len(going))
        return going

    def _known(self) -> dict[str, Known]:
        with self._means.ledger.database.session() as session:
            return results.known_of(session, self._row.id)

    def _asks_first(self, known: Mapping[str, Known]) -> bool:
        """Tell whether the target may have more than we know: from others, or since a try that was cut off."""
        if self._target.proof is Proof.NONE or self._row.deidentify or self._row.changes or self._is_lossy:
            # What it has of these has another identity there, or is not the same.
            return False
        was_cut_off = self._row.state == DeliveryState.SENDING
        return was_cut_off or (bool(getattr(self._target, "ask_first", False)) and not known)

    @property
    def _is_lossy(self) -> bool:
        return self._row.transfer.get("quality") is not None

    def _asked_first(self, instances: Sequence[OutgoingInstance], known: Mapping[str, Known]) -> dict[str, Known]:
        """Ask what the target has of what we don't know to be there; return what is known then."""
        unsure = {one.sop_instance_uid: one for one in instances if not _is_there(known.get(one.sop_instance_uid))}
        study = self._row.study_instance_uid
        wanted = [(study, one.series_instance_uid, uid) for uid, one in unsure.items()]
        found = self._children.found(self._argument, wanted) if wanted else set()
        outcomes = [_there(unsure[uid], study) for uid in sorted(found & unsure.keys())]
        if outcomes:
            with self._means.ledger.database.session(write=True) as session:
                results.note(session, self._row.id, outcomes, self._now())
                results.confirm(session, self._row.id, [one.sop_instance for one in outcomes])
        return self._known()

    # -- sending ---------------------------------------------------------------------------------------------------

    def _send(self, lacking: Sequence[OutgoingInstance]) -> None:
        self._change(state=DeliveryState.SENDING.value, error=None, remedy=None)
        journal = self._means.scratch / f"{self._row.id}-{secrets.token_hex(4)}.jsonl"
        sizes: list[int] = []

        def told(outcomes: Sequence[Outcome]) -> None:
            with self._means.ledger.database.session(write=True) as session:
                self._require_same_order(session)
                results.note(session, self._row.id, outcomes, self._now())
            sizes.extend(one.size_bytes for one in outcomes)

        sent = Sent()
        try:
            with self._means.files.opened(lacking) as paths:
                found = [replace(one, path=path) for one, path in zip(lacking, paths, strict=True)]
                sent = self._shipped(found, journal, told)
        finally:
            journal.unlink(missing_ok=True)
            # All that was answered is written down: nothing is unknown but what was on the line.
            self._change(
                state=DeliveryState.WAITING.value,
                sent_bytes=self._row.sent_bytes + sum(sizes),
                seconds=self._row.seconds + sent.seconds,
                report=sent.report or self._row.report,
            )
        if sent.fault is not None:
            raise sent.fault
        self._report(sent_at=self._now().isoformat(), looks=0, transaction=None)
        self._change(sent_at=self._now())

    def _shipped(
        self, files: Sequence[OutgoingInstance], journal: Path, told: Callable[[Sequence[Outcome]], None]
    ) -> Sent:
        shipment = Shipment(
            [one.as_argument(self._row.study_instance_uid) for one in files],
            transfer_of(self._row),
            None if self._row.deidentify is None else self._means.identity(self._row.deidentify),
            self._row.changes,
        )
        try:
            return self._children.send(self._argument, shipment, journal, told, Cancellation())
        except ProcessCancelled:
            raise GiveBack from None

    def _require_same_order(self, session: Session) -> None:
        """Raise GiveBack once another identity or form is ordered: what goes meanwhile is not what is to be there."""
        row = session.get(DeliveryRecord, self._row.id, with_for_update=True)
        if row is None or _form(row) != _form(self._row):
            raise GiveBack

    # -- judging ---------------------------------------------------------------------------------------------------

    def _judge(self, here: set[str]) -> DeliveryState:
        """Say how it stands after all was sent that could be.

        Parameters
        ----------
        here : SOP Instance UIDs of what is to be there.
        """
        if self._target.proof is not Proof.NONE:
            self._prove(here)
        known = self._known()
        if here - known.keys():
            raise Retry("It was ordered anew while it was sent.", after=_FIRST_LOOK_SECONDS)
        unproven = [uid for uid in here & known.keys() if known[uid].state is InstanceState.SENT]
        if unproven and self._target.proof is not Proof.NONE:
            self._wait_for_proof(sorted(unproven), len(here))
        self._require_none_refused(known[uid] for uid in here & known.keys())
        return self._end(DeliveryState.SENT if self._target.proof is Proof.NONE else DeliveryState.PROVEN)

    def _prove(self, here: set[str]) -> None:
        unproven = {uid: one for uid, one in self._known().items() if uid in here and one.state is InstanceState.SENT}
        if not unproven:
            return
        self._change(state=DeliveryState.CHECKING.value)
        proving = Proving(self._means.commitment, self._children, self._row.target, self._argument, self._claim)
        transaction = self._progress.get("transaction")
        try:
            answer = proving.proven(unproven, by_commitment=self._asks_to_commit, transaction=transaction)
        except SendingFault as fault:
            if self._target.proof is Proof.COMMITMENT and not self._asks_to_commit and fault.kind is FaultKind.BUSY:
                self._fail(
                    f"It accepted all, and did not commit to it in {self._target.proof_within_seconds:g} s.",
                    f"See whether its N-EVENT-REPORT reaches this server, or write proof: none. {fault.message}",
                )
            raise
        self._report(transaction=answer.transaction)
        with self._means.ledger.database.session(write=True) as session:
            results.confirm(session, self._row.id, answer.proven)
        if answer.denied:
            self._send_again(answer.denied, f"It does not commit to {len(answer.denied)} instances: {answer.words}.")

    @property
    def _asks_to_commit(self) -> bool:
        return self._target.proof is Proof.COMMITMENT and self._waited_seconds < self._target.proof_within_seconds

    @property
    def _waited_seconds(self) -> float:
        sent_at = self._row.sent_at or self._now()
        return (self._now() - sent_at) / timedelta(seconds=1)

    def _wait_for_proof(self, unproven: Sequence[str], expected: int) -> NoReturn:
        """Look again later; in the end take what is not there for not sent."""
        has = f"It accepted all, but says that it has {expected - len(unproven)} of {expected} instances."
        if self._waited_seconds < self._target.proof_within_seconds:
            looks = int(self._progress.get("looks", 0))
            self._report(looks=looks + 1)
            self._change(error=has, remedy="It is asked again.")
            raise Retry(has, after=min(_FIRST_LOOK_SECONDS * 2**looks, _LONGEST_LOOK_SECONDS))
        self._send_again(unproven, has)

    def _send_again(self, missing: Sequence[str], why: str) -> NoReturn:
        """Take instances for not sent, and try again; not for ever."""
        rounds = int(self._progress.get("rounds", 0)) + 1
        self._report(rounds=rounds, looks=0, transaction=None)
        with self._means.ledger.database.session(write=True) as session:
            results.forget(session, self._row.id, missing)
        if rounds >= _MOST_ROUNDS:
            self._fail(
                f"{why} It was sent {rounds} times.",
                "Ask its administrator what becomes of them; if it can't be asked for what it has, write proof: none.",
            )
        self._change(state=DeliveryState.WAITING.value, error=why, remedy="What is not there is sent again.")
        raise Retry(why, after=_FIRST_LOOK_SECONDS)

    def _require_none_refused(self, known: Iterable[Known]) -> None:
        all_known = list(known)
        refused = [one for one in all_known if one.state is InstanceState.REFUSED]
        if refused:
            words = "; ".join(sorted({one.words for one in refused})[:3])
            self._fail(
                f"{len(refused)} of {len(all_known)} instances were refused: {words}.",
                "Look at what that system takes: SOP classes, transfer syntaxes, identities. Then replay it.",
            )

    # -- writing down ----------------------------------------------------------------------------------------------

    def _end(self, state: DeliveryState, error: str | None = None) -> DeliveryState:
        with self._means.ledger.database.session(write=True) as session:
            if self._has_successor(session):
                state, error = DeliveryState.WAITING, None
            values: dict[str, Any] = {"state": state.value, "error": error, "remedy": None}
            if state is DeliveryState.PROVEN:
                values["proven_at"] = self._now()
            self._claim.complete(session=session)
            self._means.ledger.change(self._row.id, values, session=session)
        return state

    def _has_successor(self, session: Session) -> bool:
        """Tell whether something was ordered since this work began: then the next one sees it, and ends it.

        The delivery is locked before the piece of work, as `Ledger` does.
        """
        newest = select(DeliveryRecord.work_item_id).where(DeliveryRecord.id == self._row.id)
        return session.scalars(newest.with_for_update()).one_or_none() != self._claim.item.id

    def _fail(self, error: str, remedy: str) -> NoReturn:
        self._change(state=DeliveryState.FAILED.value, error=error, remedy=remedy)
        raise Reject(f"{error} {remedy}")

    def _change(self, **values: Any) -> None:
        self._means.ledger.change(self._row.id, values)
        for name, value in values.items():
            setattr(self._row, name, value)

    def _report(self, **progress: Json) -> None:
        self._progress |= progress
        self._claim.report_progress(self._progress)


def _form(row: DeliveryRecord) -> tuple[object, ...]:
    """Return what makes the copies of one order other than those of another."""
    return row.deidentify, row.changes, row.transfer


def _is_there(known: Known | None) -> bool:
    return known is not None and known.state is not InstanceState.REFUSED


def _there(instance: OutgoingInstance, study_instance_uid: str) -> Outcome:
    """Note an instance that the target has without our sending."""
    uid = instance.sop_instance_uid
    who = (instance.sop_class_uid, study_instance_uid, instance.series_instance_uid, uid)
    return Outcome(uid, InstanceState.SENT.value, *who, "there", "it was there already", 0)
