"""One try at one delivery: what the target lacks is found out and sent, what it has is proven, all is written down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NoReturn

from pacs.errors import NotFound
from pacs.ports import Json
from pacs.routing.delivery import results
from pacs.routing.delivery.children import Children
from pacs.routing.delivery.entry import Entry
from pacs.routing.delivery.instances import OutgoingInstance, instances_of
from pacs.routing.delivery.loops import without_returns
from pacs.routing.delivery.models import DeliveryRecord
from pacs.routing.delivery.proving import Proving
from pacs.routing.delivery.results import Known
from pacs.routing.delivery.shipping import Means, Shipping
from pacs.routing.delivery.states import DeliveryState, InstanceState
from pacs.routing.senders.faults import FaultKind, SendingFault
from pacs.routing.senders.outcome import Outcome
from pacs.routing.targets.model import Proof, Target
from pacs.work import Claim, Retry

_FIRST_LOOK_SECONDS = 2.0
_LONGEST_LOOK_SECONDS = 300.0
# So often may a target say that it took what it then does not have.
_MOST_ROUNDS = 3


class Delivering:
    """One delivery in the hands of one thread.

    Parameters
    ----------
    argument : the target, as the child is told of it.
    heard : called when the target accepted something.
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
        heard: Callable[[], None],
    ) -> None:
        self._means = means
        self._children = children
        self._claim = claim
        self._entry = Entry(means.ledger, claim, row)
        self._row = row
        self._target = target
        self._argument = argument
        self._now = means.ledger.queues.clock
        self._shipping = Shipping(means, children, self._entry, argument, heard)

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
            return self._entry.end(DeliveryState.CUT, "It came from this target: sending it back would be a loop.")
        known = self._entry.known()
        if self._asks_first(known):
            known = self._asked_first(instances, known)
        lacking = [one for one in instances if not _is_there(known.get(one.sop_instance_uid))]
        if lacking:
            self._shipping.send(lacking)
            self._entry.report(sent_at=self._now().isoformat(), looks=0, transaction=None)
            self._entry.change(sent_at=self._now())
        elif self._row.sent_at is None:
            # We were ended before it was written down: the time for the proof runs from now.
            self._entry.change(sent_at=self._now())
        return self._judge({one.sop_instance_uid for one in instances})

    # -- what there is ---------------------------------------------------------------------------------------------

    def _outgoing(self) -> list[OutgoingInstance]:
        try:
            found = instances_of(self._means.archive, self._row.orthanc_study_id, self._row.series)
        except NotFound:
            self._entry.fail(
                "The study is not in the archive any more.", "It was deleted or corrected: skip this delivery."
            )
        if not found:
            self._entry.fail(
                "The study has none of the series that were ordered.", "They were deleted: skip this delivery."
            )
        with self._means.ledger.database.session() as session:
            going = without_returns(session, self._argument, found)
        self._entry.change(instances=len(going))
        return going

    def _asks_first(self, known: Mapping[str, Known]) -> bool:
        """Tell whether the target may have more than we know: from others, or since a try that was cut off."""
        if self._target.proof is Proof.NONE or self._row.deidentify or self._row.changes or self._is_lossy:
            # What it has of these has another identity there, or is not the same.
            return False
        was_cut_off = self._row.state == DeliveryState.SENDING or self._entry.progress.get("cut_off")
        return bool(was_cut_off) or (bool(getattr(self._target, "ask_first", False)) and not known)

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
        self._entry.report(cut_off=False)
        return self._entry.known()

    # -- judging ---------------------------------------------------------------------------------------------------

    def _judge(self, here: set[str]) -> DeliveryState:
        """Say how it stands after all was sent that could be.

        Parameters
        ----------
        here : SOP Instance UIDs of what is to be there.
        """
        if self._target.proof is not Proof.NONE:
            self._prove(here)
        known = self._entry.known()
        if here - known.keys():
            raise Retry("It was ordered anew while it was sent.", after=_FIRST_LOOK_SECONDS)
        unproven = [uid for uid in here & known.keys() if known[uid].state is InstanceState.SENT]
        if unproven and self._target.proof is not Proof.NONE:
            self._wait_for_proof(sorted(unproven), len(here))
        self._require_none_refused(known[uid] for uid in here & known.keys())
        return self._entry.end(DeliveryState.SENT if self._target.proof is Proof.NONE else DeliveryState.PROVEN)

    def _prove(self, here: set[str]) -> None:
        known = self._entry.known()
        unproven = {uid: one for uid, one in known.items() if uid in here and one.state is InstanceState.SENT}
        if not unproven:
            return
        self._entry.change(state=DeliveryState.CHECKING.value)
        proving = Proving(self._means.commitment, self._children, self._row.target, self._argument, self._claim)
        transaction = self._entry.progress.get("transaction")
        try:
            answer = proving.proven(unproven, by_commitment=self._asks_to_commit, transaction=transaction)
        except SendingFault as fault:
            if self._target.proof is Proof.COMMITMENT and not self._asks_to_commit and fault.kind is FaultKind.BUSY:
                self._entry.fail(
                    f"It accepted all, and did not commit to it in {self._target.proof_within_seconds:g} s.",
                    f"See whether its N-EVENT-REPORT reaches this server, or write proof: none. {fault.message}",
                )
            raise
        self._entry.report(transaction=answer.transaction)
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
            looks = int(self._entry.progress.get("looks", 0))
            self._entry.report(looks=looks + 1)
            self._entry.change(error=has, remedy="It is asked again.")
            raise Retry(has, after=min(_FIRST_LOOK_SECONDS * 2**looks, _LONGEST_LOOK_SECONDS))
        self._send_again(unproven, has)

    def _send_again(self, missing: Sequence[str], why: str) -> NoReturn:
        """Take instances for not sent, and try again; not for ever."""
        rounds = int(self._entry.progress.get("rounds", 0)) + 1
        self._entry.report(rounds=rounds, looks=0, transaction=None)
        with self._means.ledger.database.session(write=True) as session:
            results.forget(session, self._row.id, missing)
        if rounds >= _MOST_ROUNDS:
            self._entry.fail(
                f"{why} It was sent {rounds} times.",
                "Ask its administrator what becomes of them; if it can't be asked for what it has, write proof: none.",
            )
        self._entry.change(state=DeliveryState.WAITING.value, error=why, remedy="What is not there is sent again.")
        raise Retry(why, after=_FIRST_LOOK_SECONDS)

    def _require_none_refused(self, known: Iterable[Known]) -> None:
        all_known = list(known)
        refused = [one for one in all_known if one.state is InstanceState.REFUSED]
        if refused:
            words = "; ".join(sorted({one.words for one in refused})[:3])
            self._entry.fail(
                f"{len(refused)} of {len(all_known)} instances were refused: {words}.",
                "Look at what that system takes: SOP classes, transfer syntaxes, identities. Then replay it.",
            )


def _is_there(known: Known | None) -> bool:
    return known is not None and known.state is not InstanceState.REFUSED


def _there(instance: OutgoingInstance, study_instance_uid: str) -> Outcome:
    """Note an instance that the target has without our sending."""
    uid = instance.sop_instance_uid
    who = (instance.sop_class_uid, study_instance_uid, instance.series_instance_uid, uid)
    return Outcome(uid, InstanceState.SENT.value, *who, "there", "it was there already", 0)
