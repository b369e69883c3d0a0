"""Which item comes next: priority, age, keys; told by hand-made cases and by a model, on both databases."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pacs.database import Database
from pacs.work import Claim, NewItem, RetryPolicy, WorkQueue, WorkState

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")

NEVER_GIVE_UP = RetryPolicy(first_delay_seconds=10, factor=1, max_delay_seconds=10, jitter=0, max_attempts=None)


@pytest.fixture
def queue(database: Database) -> WorkQueue:
    """Return a queue whose dead letters don't hold up their key."""
    return WorkQueue(database, "tested", policy=NEVER_GIVE_UP)


@pytest.fixture
def strict_queue(database: Database) -> WorkQueue:
    """Return a queue whose dead letters hold up their key."""
    return WorkQueue(database, "strict", policy=NEVER_GIVE_UP, dead_letter_blocks_key=True)


def names(claims: list[Claim]) -> list[str]:
    """Return the names that the items were put with."""
    return [claim.item.payload["name"] for claim in claims]


def put(queue: WorkQueue, *described: str) -> list[int]:
    """Put items described as `name`, `name/key` or `name/key/priority`."""
    ids = []
    for words in described:
        name, key, priority = [*words.split("/"), "", ""][:3]
        ids.append(queue.put({"name": name}, key=key or None, priority=int(priority or 0)))
    return ids


def test_highest_priority_comes_first_then_the_oldest(queue: WorkQueue) -> None:
    """An urgent item overtakes; among equals the first come is served first."""
    put(queue, "a", "b//5", "c", "d//5", "e//-1")
    assert names(queue.claim(2)) == ["b", "d"]
    assert names(queue.claim(9)) == ["a", "c", "e"]


def test_items_of_a_key_come_one_after_the_other(queue: WorkQueue) -> None:
    """The second item of a key is not given out before the first is done, however many ask."""
    put(queue, "a1/a", "a2/a", "b1/b", "free", "a3/a")
    first = queue.claim(9)
    assert names(first) == ["a1", "b1", "free"]
    assert queue.claim(9) == []
    first[0].complete()
    second = queue.claim(9)
    assert names(second) == ["a2"]
    second[0].complete()
    assert names(queue.claim(9)) == ["a3"]


def test_priority_does_not_overtake_within_a_key(queue: WorkQueue) -> None:
    """A patient's urgent message still waits for the one before it."""
    put(queue, "first/k", "urgent/k/9", "other//1")
    assert names(queue.claim(9)) == ["other", "first"]


def test_item_that_waits_for_its_retry_holds_up_its_key(queue: WorkQueue) -> None:
    """Nothing is overtaken while an earlier item of the key is to be tried again."""
    put(queue, "a1/a", "a2/a")
    claim = queue.claim()[0]
    claim.retry("later", after_seconds=3600)
    assert queue.claim(9) == []


def test_item_that_is_not_due_yet_holds_up_its_key(queue: WorkQueue) -> None:
    """The order is the order of being put, also for one that is to be sent later."""
    queue.put({"name": "later"}, key="k", not_before=datetime.now(UTC) + timedelta(hours=1))
    put(queue, "now/k")
    assert queue.claim(9) == []


def test_dead_letter_frees_its_key_unless_the_queue_says_otherwise(queue: WorkQueue, strict_queue: WorkQueue) -> None:
    """Per queue: go on without the failed message, or wait until a person decided."""
    for tested in (queue, strict_queue):
        put(tested, "a1/a", "a2/a", "b1/b")
        tested.claim()[0].reject("bad")
    assert names(queue.claim(9)) == ["a2", "b1"]
    assert names(strict_queue.claim(9)) == ["b1"]


@pytest.mark.parametrize("decision", ["skip", "replay"])
def test_decision_about_a_dead_letter_lets_its_key_go_on(strict_queue: WorkQueue, decision: str) -> None:
    """Skipped, the next item follows; replayed, the letter itself comes first again."""
    letter = put(strict_queue, "a1/a", "a2/a", "a3/a")[0]
    strict_queue.claim()[0].reject("bad")
    getattr(strict_queue, decision)(letter)
    claims = strict_queue.claim(9)
    assert names(claims) == (["a2"] if decision == "skip" else ["a1"])
    claims[0].complete()
    assert names(strict_queue.claim(9)) == (["a3"] if decision == "skip" else ["a2"])


def test_replayed_item_waits_for_the_one_of_its_key_in_work(queue: WorkQueue) -> None:
    """A dead letter that comes back is never worked beside a later item of its key, and is before those that wait."""
    letter = put(queue, "a1/a", "a2/a", "a3/a")[0]
    queue.claim()[0].reject("bad")
    working = queue.claim()[0]
    queue.replay(letter)
    assert queue.claim(9) == []
    working.complete()
    replayed = queue.claim(9)
    assert names(replayed) == ["a1"]
    replayed[0].complete()
    assert names(queue.claim(9)) == ["a3"]


def test_cancelled_item_lets_its_key_go_on(queue: WorkQueue) -> None:
    """Withdrawn in the middle of the line or at its head, the others close up."""
    ids = put(queue, "a1/a", "a2/a", "a3/a", "a4/a")
    queue.cancel(ids[1])
    queue.cancel(ids[0])
    claims = queue.claim(9)
    assert names(claims) == ["a3"]
    claims[0].complete()
    assert names(queue.claim(9)) == ["a4"]


def test_queues_of_one_table_do_not_see_each_other(queue: WorkQueue, strict_queue: WorkQueue) -> None:
    """The same key in two queues is two keys."""
    put(queue, "mine/k")
    put(strict_queue, "yours/k")
    assert names(queue.claim(9)) == ["mine"]
    assert names(strict_queue.claim(9)) == ["yours"]


def test_item_committed_late_waits_for_the_one_in_work(queue: WorkQueue) -> None:
    """A transaction that took its id early and committed late does not put two items of a key in work at once."""
    if queue.database.is_sqlite:
        pytest.skip("SQLite has one writing transaction at a time")
    with queue.database.session(write=True) as session:
        queue.put({"name": "late"}, key="k", session=session)
        put(queue, "early/k", "after/k")
        claims = queue.claim(9)
        assert names(claims) == ["early"]
    assert queue.claim(9) == []
    claims[0].complete()
    claims = queue.claim(9)
    assert names(claims) == ["late"]
    claims[0].complete()
    assert names(queue.claim(9)) == ["after"]


def test_item_put_while_the_one_before_is_completed_is_not_forgotten(queue: WorkQueue) -> None:
    """Put and completion at the same moment: the new item is neither lost in waiting nor started too early."""
    if queue.database.is_sqlite:
        pytest.skip("SQLite has one writing transaction at a time")
    put(queue, "first/k")
    first = queue.claim()[0]
    with queue.database.session(write=True) as session:
        queue.put({"name": "second"}, key="k", session=session)
        completion = threading.Thread(target=first.complete)
        completion.start()
        completion.join(0.3)
        assert queue.claim(9) == []
    completion.join(10)
    assert names(queue.claim(9)) == ["second"]


@dataclass
class ModelItem:
    """What the model knows of an item."""

    id: int
    key: str | None
    priority: int
    state: str
    due: datetime
    claim: Claim | None = None


class QueueMachine(RuleBasedStateMachine):
    """Random lives of a queue beside a model that is too simple to be wrong: a list that is looked through."""

    database: Database
    blocks: bool

    def __init__(self) -> None:
        super().__init__()
        with self.database.transaction() as connection:
            connection.exec_driver_sql("DELETE FROM work_items")
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.queue = WorkQueue(
            self.database,
            "model",
            policy=NEVER_GIVE_UP,
            dead_letter_blocks_key=self.blocks,
            clock=lambda: self.now,
        )
        self.items: list[ModelItem] = []

    def _holds(self, item: ModelItem) -> bool:
        return item.state in {"pending", "working"} or (self.blocks and item.state == "failed")

    def _may_start(self, item: ModelItem) -> bool:
        if item.state != "pending" or item.due > self.now:
            return False
        others = [other for other in self.items if other is not item and other.key == item.key and item.key]
        return not any(other.state == "working" or (self._holds(other) and other.id < item.id) for other in others)

    def _in(self, *states: str) -> list[ModelItem]:
        return [item for item in self.items if item.state in states]

    @rule(
        group=st.lists(
            st.tuples(st.sampled_from([None, "a", "b"]), st.integers(0, 2), st.sampled_from([0, 0, 0, 15])),
            min_size=1,
            max_size=4,
        )
    )
    def put(self, group: list[tuple[str | None, int, int]]) -> None:
        """Put a group."""
        dues = [self.now + timedelta(seconds=delay) for _, _, delay in group]
        new = [
            NewItem(payload={}, key=key, priority=priority, not_before=due)
            for (key, priority, _), due in zip(group, dues, strict=True)
        ]
        for result, item, due in zip(self.queue.put_many(new), new, dues, strict=True):
            self.items.append(ModelItem(result.item_id, item.key, item.priority, "pending", due))

    @rule(most=st.integers(1, 3))
    def claim(self, most: int) -> None:
        """Claim some: exactly those that the model names, in its order."""
        expected: list[ModelItem] = []
        for item in sorted(filter(self._may_start, self.items), key=lambda item: (-item.priority, item.id)):
            if len(expected) < most and not any(item.key and item.key == chosen.key for chosen in expected):
                expected.append(item)
        claims = self.queue.claim(most)
        assert [claim.item.id for claim in claims] == [item.id for item in expected]
        for item, claim in zip(expected, claims, strict=True):
            item.state, item.claim = "working", claim

    @precondition(lambda self: self._in("working"))
    @rule(data=st.data(), how=st.sampled_from(["complete", "retry", "retry now", "reject", "give back"]))
    def settle(self, data: st.DataObject, how: str) -> None:
        """Let a worker end."""
        item = data.draw(st.sampled_from(self._in("working")))
        claim = item.claim
        assert claim is not None
        if how == "complete":
            claim.complete()
            item.state = "done"
        elif how == "reject":
            claim.reject("no")
            item.state = "failed"
        elif how == "give back":
            claim.give_back()
            item.state = "pending"
        else:
            claim.retry("again", after_seconds=None if how == "retry" else 0)
            item.state, item.due = "pending", self.now + timedelta(seconds=10 if how == "retry" else 0)

    @precondition(lambda self: self._in("pending"))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Withdraw one."""
        item = data.draw(st.sampled_from(self._in("pending")))
        self.queue.cancel(item.id)
        item.state = "cancelled"

    @precondition(lambda self: self._in("failed", "cancelled"))
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Begin one anew."""
        item = data.draw(st.sampled_from(self._in("failed", "cancelled")))
        self.queue.replay(item.id)
        item.state, item.due = "pending", self.now

    @precondition(lambda self: self._in("failed"))
    @rule(data=st.data())
    def skip(self, data: st.DataObject) -> None:
        """Set a dead letter aside."""
        item = data.draw(st.sampled_from(self._in("failed")))
        self.queue.skip(item.id)
        item.state = "skipped"

    @rule(seconds=st.sampled_from([1, 10, 20]))
    def let_time_pass(self, seconds: int) -> None:
        """Let waiting items become due, but no lease run out."""
        self.now += timedelta(seconds=seconds)
        for item in self._in("working"):
            assert item.claim is not None
            item.claim.renew()

    @precondition(lambda self: self._in("working"))
    @rule()
    def die(self) -> None:
        """Let all workers vanish: their items are pending again."""
        self.now += timedelta(seconds=61)
        working = self._in("working")
        assert self.queue.recover_expired() == len(working)
        for item in working:
            item.state, item.due = "pending", self.now

    @invariant()
    def agrees(self) -> None:
        """Compare the counts of the database with those of the model."""
        pending = {WorkState.RECEIVED, WorkState.BLOCKED, WorkState.WAITING}
        counts = self.queue.counts()
        assert sum(counts[state] for state in pending) == len(self._in("pending"))
        for state in set(WorkState) - pending:
            assert counts[state] == len(self._in(state.value))

    def teardown(self) -> None:
        """Work off what is left: nothing may stay stuck."""
        for item in self._in("failed"):
            self.queue.skip(item.id)
            item.state = "skipped"
        for item in self._in("working"):
            assert item.claim is not None
            item.claim.complete()
            item.state = "done"
        self.now += timedelta(days=1)
        for _ in range(len(self._in("pending"))):
            [claim] = self.queue.claim()
            claim.complete()
        assert self.queue.claim() == []
        assert (
            sum(self.queue.counts()[state] for state in (WorkState.RECEIVED, WorkState.BLOCKED, WorkState.WAITING)) == 0
        )


@pytest.mark.parametrize("blocks", [False, True])
def test_queue_behaves_like_its_model_in_random_lives(database: Database, blocks: bool) -> None:  # noqa: FBT001
    """Whatever is done in whatever order, the next item is the one a plain list would give, and none stays stuck."""
    machine = type("Machine", (QueueMachine,), {"database": database, "blocks": blocks})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
