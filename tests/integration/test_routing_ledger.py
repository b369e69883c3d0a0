"""The ledger on both databases: one row a study and target, whatever is ordered how often; queues apart by target."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import batched
from pathlib import Path

import pytest

from fixtures.orthanc_alone import OrthancAlone
from fixtures.ports import free_port
from fixtures.recipients import Recipient, recipient
from fixtures.routing_worlds import RoutingWorld, routing_world
from pacs.database import Database
from pacs.routing.delivery import results
from pacs.routing.delivery.ledger import Ledger
from pacs.routing.delivery.overview import Overview
from pacs.routing.delivery.queues import Queues
from pacs.routing.delivery.states import DeliveryState
from pacs.routing.orders import ROUTINE, STAT, URGENT, DeliveryOrder, Transfer
from pacs.routing.senders.outcome import Outcome
from pacs.work import StateConflict, WorkState

pytest_plugins = ("fixtures.orthancs", "fixtures.postgresql", "fixtures.databases")


def order(study: str = "s1", target: str = "t", **options: object) -> DeliveryOrder:
    """Return an order of a made-up study."""
    return DeliveryOrder(study, f"1.2.{len(study)}", target, "rule", **options)  # type: ignore[arg-type]


def outcome(uid: str, state: str = "sent") -> Outcome:
    """Return what came of a made-up instance."""
    return Outcome(uid, state, "1.2.840", "1", "2", uid, "0000", "", 100)


class TestLedger:
    """Orders and decisions, without anything being sent."""

    def put(self, ledger: Ledger, *orders: DeliveryOrder) -> list[int]:
        """Order in a transaction of its own."""
        with ledger.database.session(write=True) as session:
            return ledger.order(orders, session)

    def test_second_order_of_a_study_and_target_is_the_same_row(self, database: Database) -> None:
        """Two rules that send a study to one place make one delivery, with the higher urgency of the two."""
        ledger = Ledger(database, Queues(database))
        first = self.put(ledger, order(urgency=URGENT), order(target="other"))
        assert self.put(ledger, order(urgency=ROUTINE)) == first[:1]
        row = Overview(database).get(first[0])
        assert (row.urgency, row.state) == (URGENT, "waiting")
        assert ledger.queues.of("t").counts()[WorkState.RECEIVED] == 1

    def test_more_urgent_order_overtakes_what_waits(self, database: Database) -> None:
        """A study that waited as routine and is now STAT is claimed first."""
        ledger = Ledger(database, Queues(database))
        self.put(ledger, order("s1"), order("s2"))
        (hurried,) = self.put(ledger, order("s2", urgency=STAT))
        (claim,) = ledger.queues.of("t").claim()
        assert claim.item.payload == {"delivery": hurried}

    def test_order_never_lifts_the_deidentification_of_another(self, database: Database) -> None:
        """What one rule wants without names never goes out with them because another rule forgot."""
        ledger = Ledger(database, Queues(database))
        (delivery,) = self.put(ledger, order(deidentify="study"))
        self.put(ledger, order())
        assert Overview(database).get(delivery).deidentify == "study"

    def test_series_are_added_up_and_a_whole_study_holds_them_all(self, database: Database) -> None:
        """Orders of single series share a row; one of the whole study makes it the whole study."""
        ledger = Ledger(database, Queues(database))
        (delivery,) = self.put(ledger, order(orthanc_series_id="a"))
        self.put(ledger, order(orthanc_series_id="b"))
        assert Overview(database).get(delivery).series == ["a", "b"]
        self.put(ledger, order())
        assert Overview(database).get(delivery).series is None
        self.put(ledger, order(orthanc_series_id="c"))
        assert Overview(database).get(delivery).series is None

    def test_another_transfer_syntax_is_sent_anew(self, database: Database) -> None:
        """What is proven in one form proves nothing of another."""
        ledger = Ledger(database, Queues(database))
        (delivery,) = self.put(ledger, order())
        with database.session(write=True) as session:
            results.note(session, delivery, [outcome("1.1"), outcome("1.2", "refused")], datetime.now(UTC))
            results.confirm(session, delivery, ["1.1"])
        row = Overview(database).get(delivery)
        assert (row.sent, row.refused, row.confirmed) == (1, 1, 1)
        self.put(ledger, order(transfer=Transfer("1.2.840.10008.1.2.4.90")))
        row = Overview(database).get(delivery)
        assert (row.sent, row.refused, row.confirmed) == (0, 0, 0)

    def test_outcome_of_a_second_sending_replaces_that_of_the_first(self, database: Database) -> None:
        """A refused instance that is accepted later counts once."""
        ledger = Ledger(database, Queues(database))
        (delivery,) = self.put(ledger, order())
        for state in ("refused", "sent"):
            with database.session(write=True) as session:
                results.note(session, delivery, [outcome("1.1", state)], datetime.now(UTC))
        row = Overview(database).get(delivery)
        assert (row.sent, row.refused) == (1, 0)

    def test_only_a_dead_letter_can_be_skipped(self, database: Database) -> None:
        """Skipping is a decision on a dead letter; what is under way is not given up by it."""
        ledger = Ledger(database, Queues(database))
        (delivery,) = self.put(ledger, order())
        with pytest.raises(StateConflict):
            ledger.skip(delivery)
        (claim,) = ledger.queues.of("t").claim()
        ledger.change(delivery, {"state": DeliveryState.FAILED.value, "error": "no"})
        claim.reject("no")
        assert [row.id for row in Overview(database).dead_letters()] == [delivery]
        ledger.skip(delivery)
        assert Overview(database).get(delivery).state == "skipped"
        ledger.replay(delivery)
        assert Overview(database).get(delivery).state == "waiting"
        assert ledger.queues.of("t").counts()[WorkState.RECEIVED] == 1

    def test_overview_tells_age_and_counts_by_target(self, database: Database) -> None:
        """Each target has its own numbers, and the age of the oldest that is under way."""
        moment = datetime(2026, 11, 22, 12, tzinfo=UTC)
        clock = [moment]
        ledger = Ledger(database, Queues(database, clock=lambda: clock[0]))
        self.put(ledger, order("s1"), order("s2"), order("s1", "other"))
        clock[0] += timedelta(hours=2)
        found = {one.name: one for one in Overview(database, lambda: clock[0]).targets(["idle"])}
        assert found["t"].counts == {"waiting": 2}
        assert (found["t"].waiting, found["t"].oldest_seconds) == (2, 7200)
        assert (found["idle"].waiting, found["idle"].oldest_seconds) == (0, 0)


def test_ten_thousand_studies_for_a_dead_target_delay_no_other(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """A study for a target that is there starts within 2 s, whatever waits for one that is not."""
    dead = {"kind": "dicom", "aet": "DEAD", "host": "127.0.0.1", "port": free_port()}
    with recipient() as target:
        alive = {"kind": "dicom", "aet": "TARGET", "host": "127.0.0.1", "port": target.port}
        with routing_world(tmp_path, orthanc, {"dead": dead, "alive": alive}) as world:
            study, _ = world.study(1)
            world.wait(world.order(study, "alive"), DeliveryState.PROVEN)
            usual = _seconds_of_a_delivery(world)
            for some in batched(range(10_000), 1000, strict=True):
                with world.database.session(write=True) as session:
                    world.routing.ledger.order([order(f"s{number}", "dead") for number in some], session)
            crowded = max(_seconds_of_a_delivery(world) for _ in range(3))
    assert crowded - usual < 2.0


def test_all_arrive_by_urgency_when_a_target_was_off_for_a_day(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """After a day of nobody there, by a clock of the test, all arrive once, the most urgent first, and are proven."""
    ahead = [timedelta()]
    target = Recipient("TARGET", free_port())
    entry = {"kind": "dicom", "aet": "TARGET", "host": "127.0.0.1", "port": target.port, "retry_days": 2}
    with routing_world(tmp_path, orthanc, {"t": entry}, clock=lambda: datetime.now(UTC) + ahead[0]) as world:
        urgencies = [ROUTINE, STAT, ROUTINE, URGENT]
        studies = [world.study(2) for _ in urgencies]
        deliveries = [
            world.order(study, "t", urgency=urgency) for (study, _), urgency in zip(studies, urgencies, strict=True)
        ]
        world.wait_until(deliveries[1], lambda row: row.error is not None)
        ahead[0] = timedelta(days=1)
        time.sleep(3)
        assert {world.row(one).state for one in deliveries} == {"waiting"}
        target.start()
        for delivery in deliveries:
            world.wait(delivery, DeliveryState.PROVEN)
    target.stop()
    uids = [images[0].StudyInstanceUID for _, images in studies]
    assert target.order == [uids[1], uids[3], uids[0], uids[2]]
    assert set(target.arrivals.values()) == {1}


def test_delivery_is_a_dead_letter_when_its_days_are_over(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """A target that stays away for longer than its retry_days leaves a dead letter with its last words."""
    ahead = [timedelta()]
    entry = {"kind": "dicom", "aet": "AWAY", "host": "127.0.0.1", "port": free_port(), "retry_days": 2}
    with routing_world(tmp_path, orthanc, {"t": entry}, clock=lambda: datetime.now(UTC) + ahead[0]) as world:
        study, _ = world.study(1)
        delivery = world.order(study, "t")
        world.wait_until(delivery, lambda row: row.error is not None)
        ahead[0] = timedelta(days=3)
        row = world.wait(delivery, DeliveryState.FAILED)
    assert "Given up after 3 days" in str(row.error)
    assert "refused" in str(row.error)


def _seconds_of_a_delivery(world: RoutingWorld) -> float:
    """Return how long a small study takes from its order to its proof."""
    study, _ = world.study(1)
    started = time.monotonic()
    world.wait(world.order(study, "alive"), DeliveryState.PROVEN)
    return time.monotonic() - started
