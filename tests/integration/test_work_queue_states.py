"""The state machine of work items, every state with every operation, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from pacs.database import Database
from pacs.errors import InvalidInput, NotFound
from pacs.work import Claim, LeaseLost, NewItem, Outcome, RetryPolicy, StateConflict, WorkQueue, WorkState
from pacs.work.models import WorkItemRecord
from pacs.work.states import ALLOWED, Operation

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")

S, O = WorkState, Operation  # noqa: E741
LEASE_SECONDS = 60.0

# Every arrow there is. What is not in here must be refused and change nothing.
ARROWS: dict[tuple[Operation, WorkState], WorkState] = {
    (O.CLAIM, S.RECEIVED): S.WORKING,
    (O.RENEW, S.WORKING): S.WORKING,
    (O.COMPLETE, S.WORKING): S.DONE,
    (O.RETRY, S.WORKING): S.WAITING,
    (O.REJECT, S.WORKING): S.FAILED,
    (O.GIVE_BACK, S.WORKING): S.RECEIVED,
    (O.EXPIRE, S.WORKING): S.RECEIVED,
    (O.CANCEL, S.RECEIVED): S.CANCELLED,
    (O.CANCEL, S.BLOCKED): S.CANCELLED,
    (O.CANCEL, S.WAITING): S.CANCELLED,
    (O.CANCEL, S.WORKING): S.WORKING,
    (O.REPLAY, S.FAILED): S.RECEIVED,
    (O.REPLAY, S.SKIPPED): S.RECEIVED,
    (O.REPLAY, S.CANCELLED): S.RECEIVED,
    (O.SKIP, S.FAILED): S.SKIPPED,
}


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time that was set."""
        return self.now

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    """Return the clock of `queue`."""
    return Clock()


@pytest.fixture
def queue(database: Database, clock: Clock) -> WorkQueue:
    """Return a queue that retries after exactly ten seconds, three times."""
    policy = RetryPolicy(first_delay_seconds=10, factor=1, max_delay_seconds=10, jitter=0, max_attempts=3)
    return WorkQueue(database, "tested", policy=policy, lease_seconds=LEASE_SECONDS, clock=clock)


def only_claim(queue: WorkQueue) -> Claim:
    """Claim the one item that can be claimed."""
    [claim] = queue.claim(2)
    return claim


def put_in_state(queue: WorkQueue, state: WorkState) -> int:
    """Bring an item into `state` by what can happen to it in life."""
    if state is S.BLOCKED:
        queue.put({"before": True}, key="k")
        blocker = only_claim(queue)
        assert blocker.item.state is S.WORKING
    item_id = queue.put({"tested": True}, key="k", body=b"raw\0bytes")
    if state in {S.RECEIVED, S.BLOCKED}:
        return item_id
    claim = only_claim(queue)
    moves: dict[WorkState, Callable[[], object]] = {
        S.WORKING: lambda: None,
        S.WAITING: lambda: claim.retry("later"),
        S.DONE: claim.complete,
        S.FAILED: lambda: claim.reject("never"),
        S.SKIPPED: lambda: (claim.reject("never"), queue.skip(item_id)),
        S.CANCELLED: lambda: (claim.give_back(), queue.cancel(item_id)),
    }
    moves[state]()
    return item_id


def apply(queue: WorkQueue, clock: Clock, operation: Operation, item_id: int) -> None:
    """Do `operation` to the item, as its worker or as a person would."""
    with queue.database.transaction() as connection:
        token = connection.execute(select(WorkItemRecord.claim_token).where(WorkItemRecord.id == item_id)).scalar_one()
    claim = Claim(queue, queue.get(item_id), token)
    operations: dict[Operation, Callable[[], Any]] = {
        O.CLAIM: lambda: [found for found in queue.claim(5) if found.item.id == item_id],
        O.RENEW: claim.renew,
        O.COMPLETE: claim.complete,
        O.RETRY: lambda: claim.retry("again"),
        O.REJECT: lambda: claim.reject("no"),
        O.GIVE_BACK: claim.give_back,
        O.EXPIRE: lambda: (clock.forward(LEASE_SECONDS + 1), queue.recover_expired()),
        O.CANCEL: lambda: queue.cancel(item_id),
        O.REPLAY: lambda: queue.replay(item_id),
        O.SKIP: lambda: queue.skip(item_id),
    }
    operations[operation]()


@pytest.mark.parametrize("state", WorkState)
@pytest.mark.parametrize("operation", Operation)
def test_operation_does_what_the_state_machine_says(
    queue: WorkQueue, clock: Clock, operation: Operation, state: WorkState
) -> None:
    """Each operation leads where it should, or is refused and changes nothing at all."""
    item_id = put_in_state(queue, state)
    before = queue.get(item_id)
    assert before.state is state
    try:
        apply(queue, clock, operation, item_id)
        refused = False
    except (LeaseLost, StateConflict):
        refused = True
    after = queue.get(item_id)
    if (operation, state) in ARROWS:
        assert not refused
        assert after.state is ARROWS[operation, state]
    else:
        # No item to claim or to take back is the normal case, not a fault.
        assert refused is (operation not in {O.CLAIM, O.EXPIRE})
        assert after == before


def test_table_of_allowed_operations_is_the_one_tested() -> None:
    """The program's own table has exactly the arrows above."""
    assert {(operation, state) for operation in ALLOWED for state in ALLOWED[operation]} == set(ARROWS)


def test_item_comes_back_as_it_was_put(queue: WorkQueue, clock: Clock) -> None:
    """Payload, raw bytes, keys and times are stored unchanged."""
    payload = {"patient": "MUÑOZ^JOSÉ", "numbers": [1, 2.5, -3], "nested": {"empty": None, "yes": True}}
    body = bytes(range(256)) * 300
    later = clock.now + timedelta(hours=1)
    item_id = queue.put(payload, body=body, key="k", dedupe="d", priority=7, not_before=later)
    item = queue.get(item_id)
    assert (item.payload, item.body, item.body_bytes) == (payload, body, len(body))
    assert (item.key, item.dedupe, item.priority, item.state) == ("k", "d", 7, S.WAITING)
    assert (item.received_at, item.queued_at, item.next_try_at) == (clock.now, later, later)
    assert queue.claim() == []
    clock.forward(3601)
    claim = only_claim(queue)
    assert (claim.item.payload, claim.item.body, claim.item.attempts) == (payload, body, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"payload": {"x": "a\0b"}},
        {"payload": {"a\0b": 1}},
        {"payload": {"x": [1, {"y": "\0"}]}},
        {"payload": {"x": float("nan")}},
        {"payload": {"x": float("-inf")}},
        {"payload": {"x": "\ud800"}},
        {"payload": {}, "key": ""},
        {"payload": {}, "key": "k" * 256},
        {"payload": {}, "dedupe": "d\0"},
    ],
)
def test_put_refuses_what_one_of_the_databases_could_not_store(queue: WorkQueue, arguments: dict[str, Any]) -> None:
    """What SQLite would take and PostgreSQL not is refused on both, before anything is stored."""
    with pytest.raises(InvalidInput):
        queue.put(**arguments)
    assert sum(queue.counts().values()) == 0


def test_empty_body_is_not_no_body(queue: WorkQueue) -> None:
    """Zero bytes that came in are something that came in."""
    assert queue.get(queue.put({}, body=b"")).body == b""
    assert queue.get(queue.put({})).body is None


def test_retry_waits_as_the_policy_says_and_gives_up_in_the_end(queue: WorkQueue, clock: Clock) -> None:
    """Ten seconds after each failure the item comes back; the third failure makes it a dead letter."""
    item_id = queue.put({})
    for attempt in (1, 2):
        claim = only_claim(queue)
        assert claim.item.attempts == attempt
        assert claim.retry(f"failure {attempt}") is Outcome.RETRIED
        assert queue.get(item_id).last_error == f"failure {attempt}"
        clock.forward(9.9)
        assert queue.claim() == []
        clock.forward(0.1)
    assert only_claim(queue).retry("failure 3") is Outcome.FAILED
    [letter] = queue.dead_letters()
    assert (letter.id, letter.attempts, letter.last_error) == (item_id, 3, "Given up after 3 tries: failure 3")
    assert letter.finished_at == clock.now
    clock.forward(10**6)
    assert queue.claim() == []


def test_handler_decides_how_long_to_wait(queue: WorkQueue, clock: Clock) -> None:
    """An own delay replaces the policy's, down to none at all."""
    item_id = queue.put({})
    only_claim(queue).retry("busy", after_seconds=3600)
    assert queue.get(item_id).next_try_at == clock.now + timedelta(hours=1)
    clock.forward(3600)
    only_claim(queue).retry("at once", after_seconds=0)
    assert only_claim(queue).item.attempts == 3


def test_given_back_item_is_not_charged_with_a_try(queue: WorkQueue) -> None:
    """A restart of the program in the middle of an item does not bring it nearer to being given up."""
    queue.put({})
    for _ in range(5):
        claim = only_claim(queue)
        assert claim.item.attempts == 1
        assert claim.give_back() is Outcome.GIVEN_BACK


def test_replay_begins_anew_with_another_payload_and_body(queue: WorkQueue, clock: Clock) -> None:
    """A corrected message is worked as if it had come in now, with all its tries."""
    item_id = queue.put({"wrong": 1}, body=b"wrong", key="k")
    only_claim(queue).reject("PID-3 missing")
    clock.forward(86_400)
    queue.replay(item_id, payload={"right": 1}, body=b"right!")
    claim = only_claim(queue)
    assert (claim.item.payload, claim.item.body, claim.item.body_bytes) == ({"right": 1}, b"right!", 6)
    assert (claim.item.attempts, claim.item.last_error, claim.item.finished_at) == (1, "PID-3 missing", None)
    assert (claim.item.queued_at, claim.item.received_at) == (clock.now, clock.now - timedelta(days=1))


def test_lease_that_runs_out_is_taken_over_and_the_late_worker_refused(queue: WorkQueue, clock: Clock) -> None:
    """Only the worker that holds the item now can end it; the one that was too slow changes nothing."""
    item_id = queue.put({})
    slow = only_claim(queue)
    clock.forward(LEASE_SECONDS - 1)
    slow.renew()
    clock.forward(LEASE_SECONDS - 1)
    assert queue.recover_expired() == 0
    clock.forward(2)
    assert queue.recover_expired() == 1
    taken = only_claim(queue)
    for late in (
        slow.complete,
        slow.renew,
        slow.give_back,
        lambda: slow.retry("x"),
        lambda: slow.reject("x"),
        lambda: slow.report_progress({"x": 1}),
    ):
        with pytest.raises(LeaseLost):
            late()
    item = queue.get(item_id)
    assert (item.state, item.attempts, item.progress) == (S.WORKING, 2, None)
    assert "vanished" in str(item.last_error)
    taken.complete()
    assert queue.outcomes[Outcome.LEASE_LOST] == 4
    assert queue.outcomes[Outcome.DONE] == 1


def test_worker_that_is_late_but_not_replaced_may_complete(queue: WorkQueue, clock: Clock) -> None:
    """Work is not thrown away only because the clock ran on."""
    queue.put({})
    claim = only_claim(queue)
    clock.forward(LEASE_SECONDS * 3)
    claim.complete({"ok": True})
    assert queue.get(claim.item.id).result == {"ok": True}


def test_item_that_kills_its_workers_becomes_a_dead_letter(queue: WorkQueue, clock: Clock) -> None:
    """A message that ends every process that touches it is given up like any other."""
    queue.put({})
    for _ in range(3):
        only_claim(queue)
        clock.forward(LEASE_SECONDS + 1)
        assert queue.recover_expired() == 1
    assert queue.claim() == []
    assert "vanished" in str(queue.dead_letters()[0].last_error)


def test_lease_from_a_future_that_was_taken_back_is_taken_over(queue: WorkQueue, clock: Clock) -> None:
    """When the clock is set back by hours the items of dead workers don't wait for hours."""
    queue.put({})
    only_claim(queue)
    clock.forward(-86_400)
    assert queue.recover_expired() == 1
    assert only_claim(queue).item.attempts == 2


def test_waiting_items_are_found_after_the_clock_was_set_back(queue: WorkQueue, clock: Clock) -> None:
    """A promotion planned for a future that was taken back does not keep due items waiting."""
    queue.put({"n": 1})
    only_claim(queue).retry("later")
    clock.forward(-7200)
    queue.put({"n": 2}, priority=-1)
    queue.put({"n": 3}, not_before=clock.now + timedelta(seconds=1))
    clock.forward(2)
    assert only_claim_of(queue, {"n": 3})


def only_claim_of(queue: WorkQueue, payload: dict[str, Any]) -> bool:
    """Claim the next item and tell whether it is that one."""
    [claim] = queue.claim()
    return claim.item.payload == payload


def test_cancel_of_an_item_in_work_is_heard_by_its_worker(queue: WorkQueue, clock: Clock) -> None:
    """The handler learns of it with its next report or renewal, ends, and the item is cancelled, not tried again."""
    for hear in (lambda claim: claim.renew(), lambda claim: claim.report_progress({"percent": 50})):
        item_id = queue.put({})
        claim = only_claim(queue)
        assert queue.cancel(item_id) is S.WORKING
        assert not claim.stop_requested
        hear(claim)
        assert claim.stop_requested
        assert claim.give_back() is Outcome.CANCELLED
        assert queue.get(item_id).state is S.CANCELLED
    item_id = queue.put({})
    only_claim(queue)
    queue.cancel(item_id)
    clock.forward(LEASE_SECONDS + 1)
    queue.recover_expired()
    assert queue.get(item_id).state is S.CANCELLED


def test_progress_is_seen_by_others_and_by_the_next_try(queue: WorkQueue, clock: Clock) -> None:
    """A page shows how far a long job is, and a resumed job starts from there."""
    item_id = queue.put({})
    claim = only_claim(queue)
    claim.report_progress({"stage": "meshing", "percent": 40})
    assert queue.get(item_id).progress == {"stage": "meshing", "percent": 40}
    claim.retry("interrupted")
    clock.forward(10)
    assert only_claim(queue).item.progress == {"stage": "meshing", "percent": 40}


def test_dedupe_returns_the_item_that_is_there_already(queue: WorkQueue) -> None:
    """The same message sent again is the same item, also after it was done; another queue is another matter."""
    first = queue.put({"n": 1}, dedupe="d", body=b"first")
    assert queue.put({"n": 2}, dedupe="d", body=b"second") == first
    only_claim(queue).complete()
    assert queue.put({"n": 3}, dedupe="d") == first
    assert queue.get(first).payload == {"n": 1}
    assert queue.get(first).body == b"first"
    other = WorkQueue(queue.database, "other")
    assert other.put({}, dedupe="d") != first
    assert queue.put({}, dedupe=None) != queue.put({}, dedupe=None)


def test_group_put_keeps_the_order_and_finds_doubles_within_itself(queue: WorkQueue) -> None:
    """Results come in the order of the group, a double inside it stands for the first of its kind."""
    earlier = queue.put({"n": 0}, dedupe="a")
    group = [
        NewItem(payload={"n": 1}, dedupe="b", key="k", body=b"1"),
        NewItem(payload={"n": 2}, dedupe="a", key="k2", body=b"2"),
        NewItem(payload={"n": 3}, key="k2"),
        NewItem(payload={"n": 4}, dedupe="b", key="k"),
        NewItem(payload={"n": 5}, key="k", body=b"5"),
    ]
    results = queue.put_many(group)
    assert [result.is_new for result in results] == [True, False, True, False, True]
    assert results[1].item_id == earlier
    assert results[3].item_id == results[0].item_id
    assert results[0].item_id < results[2].item_id < results[4].item_id
    assert queue.get(results[4].item_id).body == b"5"
    # The one behind a double that was not put must not wait for it.
    assert [claim.item.payload["n"] for claim in queue.claim(9)] == [0, 1, 3]
    assert queue.put_many([]) == []


def test_put_in_the_callers_transaction_shares_its_fate(queue: WorkQueue) -> None:
    """An item exists if and only if what caused it was committed."""
    with pytest.raises(KeyError), queue.database.session(write=True) as session:  # noqa: PT012
        queue.put({"n": 1}, session=session)
        raise KeyError
    assert queue.claim() == []
    with queue.database.session(write=True) as session:
        seen = queue.bell.count
        queue.put({"n": 2}, session=session)
        assert queue.bell.count == seen
    assert queue.bell.count > seen
    assert only_claim(queue).item.payload == {"n": 2}


def test_completion_in_the_handlers_transaction_is_one_with_its_effect(queue: WorkQueue) -> None:
    """Effect and state are both there or neither; a stale claim undoes the effect."""
    other = WorkQueue(queue.database, "effects")
    queue.put({})
    claim = only_claim(queue)
    with pytest.raises(KeyError), queue.database.session(write=True) as session:  # noqa: PT012
        other.put({"effect": 1}, session=session)
        claim.complete(session=session)
        raise KeyError
    assert not claim.is_settled
    assert other.counts()[S.RECEIVED] == 0
    with queue.database.session(write=True) as session:
        other.put({"effect": 1}, session=session)
        claim.complete({"done": True}, session=session)
    assert claim.is_settled
    assert other.counts()[S.RECEIVED] == 1
    with pytest.raises(LeaseLost), queue.database.session(write=True) as session:  # noqa: PT012
        other.put({"effect": 2}, session=session)
        claim.complete(session=session)
    assert other.counts()[S.RECEIVED] == 1


def test_savepoint_does_not_ring_before_the_commit(queue: WorkQueue) -> None:
    """Workers are woken when the item can be seen, not before."""
    with queue.database.session(write=True) as session:
        seen = queue.bell.count
        with session.begin_nested():
            queue.put({}, session=session)
        assert queue.bell.count == seen
    assert queue.bell.count > seen


def test_person_is_told_of_an_item_that_is_not_there(queue: WorkQueue) -> None:
    """An id of another queue is as unknown as one that never was."""
    foreign = WorkQueue(queue.database, "other").put({})
    for act in (queue.get, queue.cancel, queue.skip, queue.replay):
        for item_id in (foreign, 10**9):
            with pytest.raises(NotFound):
                act(item_id)


def test_purge_removes_old_finished_items_and_nothing_else(queue: WorkQueue, clock: Clock) -> None:
    """After N days what is done goes, body and all; dead letters and work still to do stay."""
    old = {state: put_in_state(queue, state) for state in (S.DONE, S.SKIPPED, S.CANCELLED, S.FAILED)}
    clock.forward(86_400 * 30 + 1)
    young = put_in_state(queue, S.DONE)
    waiting = put_in_state(queue, S.WAITING)
    assert queue.purge(older_than_days=30) == 3
    left = {item.id for item in queue.list_items(*WorkState)}
    assert left == {old[S.FAILED], young, waiting}
    with queue.database.transaction() as connection:
        bodies = set(connection.exec_driver_sql("SELECT work_item_id FROM work_item_bodies").scalars())
    assert bodies == left
    assert queue.put({}) > waiting


def test_lists_are_paged_from_the_newest(queue: WorkQueue) -> None:
    """A page of dead letters continues where the one before ended, and does not load the bodies."""
    for n in range(5):
        queue.put({"n": n}, body=b"12345")
        only_claim(queue).reject("no")
    first = queue.dead_letters(most=2)
    second = queue.dead_letters(most=2, before_id=first[-1].id)
    assert [item.payload["n"] for item in first + second] == [4, 3, 2, 1]
    assert {(item.body, item.body_bytes) for item in first} == {(None, 5)}


def test_counts_and_age_tell_what_there_is(queue: WorkQueue, clock: Clock) -> None:
    """The figures for the System page: items by state, and for how long the oldest has waited."""
    assert queue.counts() == dict.fromkeys(WorkState, 0)
    assert queue.oldest_waiting_seconds() == 0
    queue.put({}, not_before=clock.now + timedelta(hours=1))
    assert queue.oldest_waiting_seconds() == 0
    queue.put({}, key="k")
    clock.forward(5)
    queue.put({}, key="k")
    assert queue.oldest_waiting_seconds() == 5
    assert only_claim(queue).item.key == "k"
    assert queue.counts() == dict.fromkeys(WorkState, 0) | {S.WAITING: 1, S.WORKING: 1, S.BLOCKED: 1}
    assert queue.oldest_waiting_seconds() == 0
    clock.forward(7)
    assert queue.oldest_waiting_seconds() == 7
