"""Alternatives that stand in for a target that is away: one of them gets the study, whatever happens at that moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pynetdicom import build_context, evt
from pynetdicom.sop_class import CTImageStorage  # type: ignore[attr-defined]

from fixtures.orthanc_alone import OrthancAlone
from fixtures.ports import free_port
from fixtures.recipients import Recipient, dicom, recipient
from fixtures.routing_worlds import RoutingWorld, routing_world
from pacs.database import Database
from pacs.routing.delivery.children import Sent
from pacs.routing.delivery.diverting import divert
from pacs.routing.delivery.entry import Entry
from pacs.routing.delivery.failover import Failover
from pacs.routing.delivery.ledger import Ledger
from pacs.routing.delivery.models import DeliveryRecord, TargetRecord
from pacs.routing.delivery.overview import Overview
from pacs.routing.delivery.queues import Queues
from pacs.routing.delivery.shipping import Means, Shipping
from pacs.routing.delivery.states import DeliveryState
from pacs.routing.orders import DeliveryOrder
from pacs.routing.senders import proof
from pacs.routing.senders.faults import FaultKind, SendingFault
from pacs.work import GiveBack, WorkState

pytest_plugins = ("fixtures.orthancs", "fixtures.postgresql", "fixtures.databases")


def ordered(ledger: Ledger, **options: Any) -> int:
    """Order a made-up study to `a`, with `b` instead."""
    with ledger.database.session(write=True) as session:
        return ledger.order([DeliveryOrder("s1", "1.2", "a", "rule", alternatives=("b",), **options)], session)[0]


def diverted(ledger: Ledger, delivery: int, **options: Any) -> int | None:
    """Hand a delivery over."""
    with ledger.database.session(write=True) as session:
        return divert(ledger, delivery, session, **options)


def in_hand(ledger: Ledger, delivery: int) -> Entry:
    """Return a delivery in the hands of a worker."""
    target = Overview(ledger.database).get(delivery).target
    (claim,) = ledger.queues.of(target).claim(1)
    entry = Entry(ledger, claim, Overview(ledger.database).get(delivery))
    entry.claim = claim  # type: ignore[attr-defined]
    return entry


class TestAtThisMoment:
    """A try that ends when an alternative takes over."""

    @pytest.mark.parametrize("how", ["refused", "proven", "sent", "checked", "parked"])
    def test_try_ends_without_a_word_when_an_alternative_took_over(self, database: Database, how: str) -> None:
        """It is no dead letter, and not said to be proven: the ledger says that the alternative has it."""
        ledger = Ledger(database, Queues(database))
        delivery = ordered(ledger)
        entry = in_hand(ledger, delivery)
        following = diverted(ledger, delivery)
        assert following is not None
        ends = {
            "refused": lambda: entry.fail("refused", "look at it"),
            "proven": lambda: entry.end(DeliveryState.PROVEN),
            "sent": lambda: entry.end(DeliveryState.SENT),
            "checked": lambda: entry.change(state=DeliveryState.CHECKING.value),
            "parked": lambda: entry.change(state=DeliveryState.WAITING.value),
        }
        with pytest.raises(GiveBack):
            ends[how]()
        entry.claim.give_back()  # type: ignore[attr-defined]
        row, other = Overview(database).get(delivery), Overview(database).get(following)
        assert (row.state, row.diverted_to, row.error) == ("diverted", "b", None)
        assert (other.target, other.state) == ("b", "waiting")
        assert ledger.queues.of("a").counts()[WorkState.CANCELLED] == 1

    def test_what_the_target_just_accepted_is_not_handed_over(self, database: Database, tmp_path: Path) -> None:
        """Between the last image and the proof a delivery does not seem to wait: no alternative gets it, too."""
        ledger, nothing = Ledger(database, Queues(database)), SimpleNamespace()
        delivery = ordered(ledger)
        entry = in_hand(ledger, delivery)
        files: Any = SimpleNamespace(opened=_no_files)
        children: Any = SimpleNamespace(send=lambda *_: Sent(1.0))
        anything: Any = nothing
        means = Means(anything, ledger, files, anything, tmp_path, anything)
        Shipping(means, children, entry, {}, lambda: None).send([])
        assert Overview(database).get(delivery).state == "checking"
        assert diverted(ledger, delivery) is None

    @pytest.mark.parametrize("state", [DeliveryState.SENDING, DeliveryState.CHECKING])
    def test_what_a_try_left_that_was_cut_off_is_handed_over(self, database: Database, state: DeliveryState) -> None:
        """After kill -9 nobody is sending any more, whatever the ledger says; while somebody is, it stays."""
        ledger = Ledger(database, Queues(database))
        delivery = ordered(ledger)
        entry = in_hand(ledger, delivery)
        entry.change(state=state.value, sent=2, instances=5)
        assert diverted(ledger, delivery) is None
        entry.claim.give_back()  # type: ignore[attr-defined]
        assert diverted(ledger, delivery) is not None
        row = Overview(database).get(delivery)
        assert row.error == "It was away after it accepted 2 of 5 instances; b took over."

    def test_study_returns_to_a_target_that_answers_alone(self, database: Database) -> None:
        """With both away it goes back to the first one that is there, and never to and fro between two that are not."""
        ledger = Ledger(database, Queues(database))
        delivery = ordered(ledger, reason="study stable")
        following = diverted(ledger, delivery)
        assert following is not None
        assert diverted(ledger, following) is None
        assert diverted(ledger, following, answering={"a"}) == delivery
        row, other = Overview(database).get(delivery), Overview(database).get(following)
        assert (row.state, row.alternatives, row.reason) == ("waiting", ["b"], "b is away. study stable")
        assert (other.state, other.diverted_to) == ("diverted", "a")

    def test_order_of_its_own_stays_where_it_was_ordered(self, database: Database) -> None:
        """A study that some rule wants at the alternative in any case is not taken from there."""
        ledger = Ledger(database, Queues(database))
        with database.session(write=True) as session:
            (own,) = ledger.order([DeliveryOrder("s1", "1.2", "b", "other rule")], session)
        assert diverted(ledger, ordered(ledger)) == own
        assert diverted(ledger, own, answering={"a"}) is None


def test_all_of_a_study_goes_to_the_alternative_when_its_target_dies_in_the_middle(
    orthanc: OrthancAlone, tmp_path: Path
) -> None:
    """What the target had accepted until then stands in the ledger; the alternative has the study whole, once."""
    first = Recipient("A", free_port())

    def dies(event: evt.Event) -> None:
        if len(first.kept) == 2:
            threading.Thread(target=first.stop).start()
            event.assoc.abort()

    first.mood = dies
    first.start()
    with (
        recipient("B") as second,
        routing_world(tmp_path, orthanc, {"a": dicom(first, failover_after_seconds=1), "b": dicom(second)}) as world,
    ):
        study, images = world.study(5)
        delivery = world.order(study, "a", alternatives=("b",))
        row = world.wait(delivery, DeliveryState.DIVERTED)
        other = world.wait(_at(world, study, "b").id, DeliveryState.PROVEN)
    first.stop()
    assert "accepted 2 of 5 instances; b took over" in str(row.error)
    assert (other.confirmed, second.arrivals) == (5, {image.SOPInstanceUID: 1 for image in images})


def test_study_is_proven_at_the_target_that_is_back_first_when_both_are_away(
    orthanc: OrthancAlone, tmp_path: Path
) -> None:
    """The one gets it, is proven, and the other gets nothing when it is back, too."""
    first, second = Recipient("A", free_port()), Recipient("B", free_port())
    targets = {"a": dicom(first, failover_after_seconds=1), "b": dicom(second, failover_after_seconds=1)}
    with routing_world(tmp_path, orthanc, targets) as world:
        study, images = world.study(2)
        delivery = world.order(study, "a", alternatives=("b",))
        world.wait(delivery, DeliveryState.DIVERTED)
        world.wait_until(_at(world, study, "b").id, lambda row: row.error is not None)
        first.start()
        row = world.wait(delivery, DeliveryState.PROVEN)
        second.start()
        later, _ = world.study(1)
        world.wait(world.order(later, "b"), DeliveryState.PROVEN)
        assert (row.confirmed, _at(world, study, "b").diverted_to) == (2, "a")
    first.stop()
    second.stop()
    assert first.arrivals == {image.SOPInstanceUID: 1 for image in images}
    assert images[0].StudyInstanceUID not in second.order


def test_target_that_was_away_long_ago_is_tried_before_an_alternative_takes_over(
    orthanc: OrthancAlone, tmp_path: Path
) -> None:
    """What was handed over left nobody to see that the target is back: its next study is its own."""
    with (
        recipient("A") as first,
        recipient("B") as second,
        routing_world(tmp_path, orthanc, {"a": dicom(first), "b": dicom(second)}, starts=False) as world,
    ):
        with world.database.session(write=True) as session:
            session.add(TargetRecord(name="a", away_since=datetime.now(UTC) - timedelta(days=1)))
        study, _ = world.study(1)
        delivery = world.order(study, "a", alternatives=("b",))
        failover = Failover(world.routing.ledger, world.routing.targets, world.routing.lane)
        assert failover.step() == 0
        presence = world.routing.lane("a").presence
        presence.note_away("nobody there", "")
        presence.note_heard()
        assert failover.step() == 0
        presence.note_away("nobody there", "")
        assert failover.step() == 1
        assert world.row(delivery).state == "diverted"


@pytest.mark.parametrize(("listens", "kind"), [(False, FaultKind.AWAY), (True, FaultKind.BUSY)])
def test_target_that_is_off_is_told_from_one_that_takes_no_searches(*, listens: bool, kind: FaultKind) -> None:
    """A target that dies before its proof is away, and its alternative takes over; one without C-FIND is not."""
    target = Recipient("A", free_port(), classes=[build_context(CTImageStorage)], searches=False)
    if listens:
        target.start()
    try:
        with pytest.raises(SendingFault) as caught:
            proof.found_at(dicom(target, calling="US", answer_seconds=5), [proof.Wanted("1.2", "1.3", "1.4")])
        assert caught.value.kind is kind
    finally:
        target.stop()


def _at(world: RoutingWorld, study: str, target: str) -> DeliveryRecord:
    """Return the delivery of a study to a target."""
    return next(one for one in world.routing.overview.of_study(study) if one.target == target)


@contextmanager
def _no_files(_instances: object) -> Iterator[list[str]]:
    yield []
