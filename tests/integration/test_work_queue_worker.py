"""`QueueWorker`: what handlers may do, waking, stopping, and a database that goes away, on both databases."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from fixtures.postgresql import postgresql_cluster, programs_folder
from pacs.database import Database
from pacs.errors import InvalidInput
from pacs.work import (
    Claim,
    GiveBack,
    LeaseLost,
    Outcome,
    QueueWorker,
    Reject,
    Retry,
    RetryPolicy,
    Supervisor,
    WorkCollector,
    WorkEvent,
    WorkQueue,
    WorkState,
)

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")

QUICK = RetryPolicy(first_delay_seconds=0.01, max_delay_seconds=0.01, max_attempts=3)


def becomes_true(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Wait until `condition` holds."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def events() -> list[WorkEvent]:
    """Return the list that the queue's events go to."""
    return []


@pytest.fixture
def queue(database: Database, events: list[WorkEvent]) -> WorkQueue:
    """Return a queue that gives up after three quick tries."""
    return WorkQueue(database, "tested", policy=QUICK, on_event=events.append)


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    """Return a supervisor that is stopped in the end."""
    made = Supervisor(first_pause_seconds=0.05, max_pause_seconds=0.5)
    yield made
    made.stop()


def raising(error: Exception) -> Callable[[Claim], None]:
    """Return a handler that raises."""

    def handle(_claim: Claim) -> None:
        raise error

    return handle


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (lambda _claim: None, ("done", 1, None)),
        (raising(Reject("no PID-3")), ("failed", 1, "no PID-3")),
        (raising(Retry("peer is away", after=0)), ("failed", 3, "Given up after 3 tries: peer is away")),
        (raising(InvalidInput("Wrong.", remedy="Mend it.")), ("failed", 3, "Given up after 3 tries: Wrong. Mend it.")),
        (raising(OSError("boom")), ("failed", 3, "Given up after 3 tries: OSError: boom")),
        (raising(KeyError("x")), ("failed", 3, "Given up after 3 tries: KeyError: 'x'")),
        (lambda claim: claim.complete({"own": 1}), ("done", 1, None)),
    ],
)
def test_handler_decides_how_its_item_goes_on(
    queue: WorkQueue,
    supervisor: Supervisor,
    handler: Callable[[Claim], None],
    expected: tuple[str, int, str | None],
) -> None:
    """Done, rejected, tried again and given up: as the handler says or fails, and the thread lives on."""
    QueueWorker(queue, handler, poll_seconds=0.02).add_to(supervisor)
    supervisor.start()
    item_id = queue.put({})
    assert becomes_true(lambda: queue.get(item_id).state == expected[0])
    item = queue.get(item_id)
    assert (item.state, item.attempts, item.last_error) == expected
    assert [status.restarts for status in supervisor.status()] == [0, 0]


def test_result_of_the_handler_is_kept(queue: WorkQueue, supervisor: Supervisor, events: list[WorkEvent]) -> None:
    """What a handler returns is stored with the item, and the end of the try is told and counted."""
    QueueWorker(queue, lambda claim: {"seen": claim.item.body is not None}).add_to(supervisor)
    supervisor.start()
    item_id = queue.put({}, body=b"x")
    assert becomes_true(lambda: queue.get(item_id).result == {"seen": True})
    assert becomes_true(lambda: events == [WorkEvent("tested", item_id, Outcome.DONE)])
    assert queue.outcomes[Outcome.DONE] == 1


def test_worker_wakes_at_once_when_this_process_puts(queue: WorkQueue, supervisor: Supervisor) -> None:
    """An item put here does not wait for the next poll."""
    handled = threading.Event()
    QueueWorker(queue, lambda _claim: handled.set(), poll_seconds=60).add_to(supervisor)
    supervisor.start()
    time.sleep(0.5)
    queue.put({})
    assert handled.wait(10)


def test_worker_finds_what_another_process_put(queue: WorkQueue, supervisor: Supervisor) -> None:
    """Another process can't ring our bell: the poll finds its items."""
    handled = threading.Event()
    QueueWorker(queue, lambda _claim: handled.set(), poll_seconds=0.1).add_to(supervisor)
    supervisor.start()
    time.sleep(0.3)
    WorkQueue(queue.database, queue.name).put({})
    assert handled.wait(10)


def test_threads_of_a_worker_work_side_by_side(queue: WorkQueue, supervisor: Supervisor) -> None:
    """Three threads meet in their handlers: none waits for another."""
    together = threading.Barrier(3)
    QueueWorker(queue, lambda _claim: [together.wait(20)][:0] or None, threads=3, poll_seconds=0.1).add_to(supervisor)
    for _ in range(3):
        queue.put({})
    supervisor.start()
    assert becomes_true(lambda: queue.counts()[WorkState.DONE] == 3)


def test_lease_is_renewed_while_the_handler_works(database: Database, supervisor: Supervisor) -> None:
    """Work that takes several leases stays with its worker, though others look for expired ones."""
    queue = WorkQueue(database, "slow", lease_seconds=1.0)
    tries = []

    def handle(claim: Claim) -> None:
        tries.append(claim.item.attempts)
        time.sleep(4)

    QueueWorker(queue, handle, threads=2, poll_seconds=0.1).add_to(supervisor)
    supervisor.start()
    item_id = queue.put({})
    assert becomes_true(lambda: queue.get(item_id).state == "done")
    assert tries == [1]


def test_stop_gives_an_item_in_work_back(queue: WorkQueue) -> None:
    """A handler that listens ends within the patience of the stop, and its item waits for the next start."""
    supervisor, begun = Supervisor(), threading.Event()

    def handle(claim: Claim) -> None:
        begun.set()
        if claim.wait_for_stop(60):
            raise GiveBack

    QueueWorker(queue, handle).add_to(supervisor)
    supervisor.start()
    item_id = queue.put({})
    assert begun.wait(20)
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 5
    item = queue.get(item_id)
    assert (item.state, item.attempts) == (WorkState.RECEIVED, 0)


def test_items_taken_together_keep_their_leases_until_their_turn(database: Database, supervisor: Supervisor) -> None:
    """Five items in one hand, the first of which takes longer than a lease: none is worked twice, the order stays."""
    queue = WorkQueue(database, "jobs", lease_seconds=1.0)
    worked: list[int] = []

    def slowly(claim: Claim) -> None:
        worked.append(claim.item.id)
        claim.wait_for_stop(2.5 if len(worked) == 1 else 0)

    put = [queue.put({}) for _ in range(5)]
    QueueWorker(queue, slowly, poll_seconds=0.02, claims_at_once=5).add_to(supervisor)
    supervisor.start()
    assert becomes_true(lambda: queue.counts()[WorkState.DONE] == 5, 20)
    assert worked == put
    assert {queue.get(item_id).attempts for item_id in put} == {1}


def test_stop_gives_back_what_was_taken_together(queue: WorkQueue) -> None:
    """The items that were not begun wait again at once, and the try is not counted."""
    supervisor, begun = Supervisor(), threading.Event()

    def until_stopped(claim: Claim) -> None:
        begun.set()
        claim.wait_for_stop(20)
        raise GiveBack

    put = [queue.put({}) for _ in range(3)]
    QueueWorker(queue, until_stopped, claims_at_once=3).add_to(supervisor)
    supervisor.start()
    assert begun.wait(10)
    supervisor.stop(10)
    assert {(item.state, item.attempts) for item in map(queue.get, put)} == {(WorkState.RECEIVED, 0)}


def test_stop_ends_idle_workers_within_five_seconds(queue: WorkQueue) -> None:
    """Threads that wait for work end in time."""
    supervisor = Supervisor()
    QueueWorker(queue, lambda _claim: None, threads=4).add_to(supervisor)
    supervisor.start()
    time.sleep(0.3)
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 5
    assert {status.state for status in supervisor.status()} == {"ended"}


def test_cancelled_job_ends_and_is_cancelled(database: Database, supervisor: Supervisor) -> None:
    """A person's cancellation reaches a handler that only waits."""
    queue, begun = WorkQueue(database, "jobs", lease_seconds=2.0), threading.Event()

    def handle(claim: Claim) -> None:
        begun.set()
        if claim.wait_for_stop(60):
            raise GiveBack

    QueueWorker(queue, handle, poll_seconds=0.1).add_to(supervisor)
    supervisor.start()
    item_id = queue.put({})
    assert begun.wait(20)
    assert queue.cancel(item_id) is WorkState.WORKING
    assert becomes_true(lambda: queue.get(item_id).state is WorkState.CANCELLED)


def test_worker_that_lost_its_lease_changes_nothing(queue: WorkQueue) -> None:
    """A handler that comes back after its item was taken over is refused; the item belongs to the other."""
    item_id = queue.put({})

    def handle(_claim: Claim) -> dict[str, Any]:
        with queue.database.transaction() as connection:
            connection.exec_driver_sql("UPDATE work_items SET claim_token = claim_token + 1, claimed_by = 'other'")
        return {"mine": True}

    QueueWorker(queue, handle).work(queue.claim()[0])
    item = queue.get(item_id)
    assert (item.state, item.claimed_by, item.result) == (WorkState.WORKING, "other", None)
    assert queue.outcomes[Outcome.LEASE_LOST] == 1


def test_finished_items_are_purged_by_the_worker(queue: WorkQueue, supervisor: Supervisor) -> None:
    """Who wants done items for so many days only, gets that without further ado."""
    tidy = WorkQueue(queue.database, "tidy", lease_seconds=0.4)
    tidy.put({})
    tidy.claim()[0].complete()
    QueueWorker(tidy, lambda _claim: None, keep_days=0.0).add_to(supervisor)
    supervisor.start()
    assert becomes_true(lambda: tidy.counts()[WorkState.DONE] == 0)


def test_completion_waits_for_a_database_that_is_away_for_a_moment() -> None:
    """PostgreSQL crashes while a handler works: the work is not done twice, and the threads go on."""
    if programs_folder() is None:
        pytest.skip("PostgreSQL's programs are not installed")
    supervisor = Supervisor(first_pause_seconds=0.1, max_pause_seconds=0.5)
    with postgresql_cluster() as cluster, Database(cluster.create_database()) as database:
        database.migrate()
        queue, begun, go_on, tries = WorkQueue(database, "tested"), threading.Event(), threading.Event(), []

        def handle(claim: Claim) -> None:
            tries.append(claim.item.id)
            begun.set()
            go_on.wait(60)

        QueueWorker(queue, handle, threads=2, poll_seconds=0.1).add_to(supervisor)
        supervisor.start()
        first = queue.put({})
        assert begun.wait(20)
        cluster.stop(signal.SIGQUIT)
        go_on.set()
        time.sleep(1)
        cluster.start()
        assert becomes_true(lambda: queue.get(first).state is WorkState.DONE)
        second = queue.put({})
        assert becomes_true(lambda: queue.get(second).state is WorkState.DONE)
        assert tries == [first, second]
        supervisor.stop()


def test_collector_tells_queues_and_threads(queue: WorkQueue, supervisor: Supervisor) -> None:
    """The metrics have the names and labels that alerts are written for."""
    registry = CollectorRegistry()
    registry.register(WorkCollector(queue.database, [queue], supervisor))
    supervisor.add("feed", lambda stop: [stop.wait()][:0] and None)
    queue.put({}, key="k")
    queue.put({}, key="k")
    queue.claim()[0].reject("no")
    foreign = WorkQueue(queue.database, "of another process")
    foreign.put({})
    text = generate_latest(registry).decode()
    for line in (
        'pacs_work_items{queue="tested",state="failed"} 1.0',
        'pacs_work_items{queue="tested",state="received"} 1.0',
        'pacs_work_items{queue="tested",state="done"} 0.0',
        'pacs_work_items{queue="of another process",state="received"} 1.0',
        'pacs_work_attempts_total{outcome="failed",queue="tested"} 1.0',
        'pacs_work_attempts_total{outcome="done",queue="tested"} 0.0',
        'pacs_thread_restarts_total{thread="feed"} 0.0',
    ):
        assert f"\n{line}\n" in text, text
    assert registry.get_sample_value("pacs_work_oldest_waiting_seconds", {"queue": "tested"}) is not None


def test_collector_leaves_the_gauges_out_while_the_database_is_away(queue: WorkQueue, supervisor: Supervisor) -> None:
    """A scrape still answers, with what this process knows by itself."""
    registry = CollectorRegistry()
    away = Database("postgresql+psycopg://pacs@127.0.0.1:1/pacs")
    registry.register(WorkCollector(away, [queue], supervisor))
    text = generate_latest(registry).decode()
    assert "pacs_work_items{" not in text
    assert 'pacs_work_attempts_total{outcome="done",queue="tested"} 0.0' in text


def test_lease_lost_in_the_handler_ends_the_try(queue: WorkQueue) -> None:
    """A handler told by its own progress report that it lost the item does not disturb the new owner."""
    item_id = queue.put({})
    QueueWorker(queue, raising(LeaseLost("gone"))).work(queue.claim()[0])
    assert queue.get(item_id).state is WorkState.WORKING


def test_several_items_are_done_together_or_none_is(queue: WorkQueue) -> None:
    """Where one of them is somebody else's by now nothing is changed; without it they are done, and free their keys."""
    ids = [queue.put({}, key=key) for key in ("A", "B", "C", "A")]
    claims = queue.claim(3)
    claims[1].give_back()
    with pytest.raises(LeaseLost), queue.database.session(write=True) as session:
        queue.complete(claims, session=session)
    assert [queue.get(item_id).state for item_id in ids[:3]] == ["working", "received", "working"]
    assert not any(claim.is_settled for claim in (claims[0], claims[2]))
    with queue.database.session(write=True) as session:
        queue.complete([claims[0], claims[2]], session=session)
        assert not claims[0].is_settled
    assert claims[0].is_settled
    assert [queue.get(item_id).state for item_id in ids[:3]] == ["done", "received", "done"]
    assert [claim.item.id for claim in queue.claim(3)] == [ids[1], ids[3]]


@pytest.mark.parametrize("error", [InvalidInput("Wrong."), LeaseLost("gone"), KeyError("x"), None], ids=str)
def test_what_is_not_settled_together_is_worked_by_itself(
    queue: WorkQueue, supervisor: Supervisor, error: Exception | None
) -> None:
    """Whatever becomes of the common try, each item that it left is handed to the handler, once."""
    ids, alone = [queue.put({}) for _ in range(4)], list[int]()

    def together(claims: Sequence[Claim]) -> None:
        claims[0].complete()
        if error is not None:
            raise error

    worker = QueueWorker(
        queue, lambda claim: alone.append(claim.item.id), claims_at_once=4, poll_seconds=0.02, together=together
    )
    worker.add_to(supervisor)
    supervisor.start()
    assert becomes_true(lambda: queue.counts()[WorkState.DONE] == 4)
    assert alone == ids[1:]
