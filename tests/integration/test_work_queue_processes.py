"""Several processes and sudden death: nothing is lost, nothing shared, nothing overtaken, on both databases."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from fixtures import queue_processes
from fixtures.queue_processes import lines, open_queue
from pacs.database import Database
from pacs.work import NewItem, WorkState

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")

# Of the test that kills workers.
ITEMS, KILLS = 120, 6
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def url(database: Database, database_url: str) -> str:
    """Return the address of a migrated database."""
    assert database.name
    return database_url


def test_two_processes_never_share_an_item(url: str, tmp_path: Path) -> None:
    """Of 2,000 items each is completed by exactly one of two processes, one by one or seven at a time."""
    queue, log = open_queue(url), tmp_path / "log"
    queue.put_many([NewItem(payload={"n": n}, key=f"key {n}" if n % 4 else None) for n in range(2000)])
    start = SPAWN.Barrier(2)
    processes = [
        SPAWN.Process(target=queue_processes.claim_all, args=(url, start, at_once, f"{log}{at_once}"))
        for at_once in (1, 7)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0, 0]
    done = [{int(line[0]) for line in lines(Path(f"{log}{at_once}"))} for at_once in (1, 7)]
    assert done[0]
    assert done[1]
    assert not done[0] & done[1]
    assert len(done[0] | done[1]) == 2000
    assert queue.counts()[WorkState.DONE] == 2000


def test_keys_stay_in_order_under_retries_in_two_processes(url: str, tmp_path: Path) -> None:
    """With six threads and a third of the tries failing, each key is worked in order, one item at a time."""
    queue, log = open_queue(url), tmp_path / "log"
    ids = [result.item_id for result in queue.put_many([NewItem(payload={}, key=f"k{n % 8}") for n in range(160)])]
    start = SPAWN.Barrier(2)
    processes = [
        SPAWN.Process(target=queue_processes.work_unreliably, args=(url, start, str(log), seed)) for seed in (1, 2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0, 0]
    in_work: dict[str, str] = {}
    finished: dict[str, list[int]] = {}
    for what, key, item_id in lines(log):
        if what == "begin":
            assert in_work.setdefault(key, item_id) == item_id, f"two items of {key} at once"
            continue
        assert in_work.pop(key) == item_id
        if what == "end":
            finished.setdefault(key, []).append(int(item_id))
    assert all(done == sorted(done) for done in finished.values())
    assert sorted(item_id for done in finished.values() for item_id in done) == sorted(ids)
    assert Counter(line[0] for line in lines(log))["fail"] > 20


@pytest.mark.parametrize("seed", range(2))
def test_killed_workers_lose_nothing_and_complete_nothing_twice(url: str, tmp_path: Path, seed: int) -> None:
    """Workers killed with SIGKILL at random moments: every item is done, completed once, its lease taken over."""
    queue, log, chance = open_queue(url), tmp_path / "log", random.Random(seed)
    queue.put_many([NewItem(payload={}, key=f"k{n % 40}") for n in range(ITEMS)])
    give_up_at = time.monotonic() + 200

    def goes_on() -> bool:
        assert time.monotonic() < give_up_at, queue.counts()
        time.sleep(0.01)
        return queue.counts()[WorkState.DONE] < ITEMS

    for life in range(KILLS + 1):
        process = SPAWN.Process(target=queue_processes.work_until_killed, args=(url, str(log)))
        process.start()
        seen = len(lines(log))
        while goes_on() and (life == KILLS or len(lines(log)) == seen):
            pass
        time.sleep(chance.uniform(0.0, 0.6))
        process.kill()
        process.join()
    begun = Counter(line[1] for line in lines(log) if line[0] == "begin")
    done = Counter(line[1] for line in lines(log) if line[0] == "done")
    assert len(begun) == ITEMS
    assert max(done.values()) == 1
    assert max(begun.values()) > 1, "no kill hit an item in work: the test proves nothing"
    assert queue.counts() == dict.fromkeys(WorkState, 0) | {WorkState.DONE: ITEMS}


def test_message_is_there_once_when_the_receiver_dies_before_its_answer(url: str) -> None:
    """What was put is durable before the acknowledgement; the sender's repetition is the same item."""
    for number in range(3):
        process = SPAWN.Process(target=queue_processes.put_and_die_before_the_answer, args=(url, number))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
    queue = open_queue(url)
    assert queue.counts()[WorkState.RECEIVED] == 3
    for number in range(3):
        [result] = queue.put_many([NewItem(payload={"message": number}, dedupe=f"message {number}")])
        assert not result.is_new
    assert sorted(claim.item.payload["message"] for claim in queue.claim(9)) == [0, 1, 2]


def test_killed_group_put_is_there_as_a_whole_or_not_at_all(url: str, tmp_path: Path) -> None:
    """Every group that was answered is there in full; of the one cut off in the middle all or nothing."""
    log, chance = tmp_path / "log", random.Random(5)
    for _ in range(3):
        process = SPAWN.Process(target=queue_processes.put_groups_for_ever, args=(url, str(log), 25))
        process.start()
        seen = len(lines(log))
        while len(lines(log)) == seen:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.join()
    items = open_queue(url).list_items(*WorkState, most=10**6)
    found = Counter((str(item.payload["pid"]), str(item.payload["group"])) for item in items)
    assert set(found.values()) == {25}
    answered = {tuple(line) for line in lines(log)}
    assert answered <= set(found)
    assert len(found) - len(answered) <= 3


def test_same_message_put_by_two_processes_at_once_is_one_item(url: str, tmp_path: Path) -> None:
    """A sender that repeats itself over two connections at the same moment makes one item, known to both."""
    log, start = tmp_path / "log", SPAWN.Barrier(2)
    processes = [SPAWN.Process(target=queue_processes.put_same, args=(url, start, str(log))) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    by_number: dict[str, list[tuple[str, str]]] = {}
    for number, item_id, is_new in lines(log):
        by_number.setdefault(number, []).append((item_id, is_new))
    assert len(by_number) == 20
    for answers in by_number.values():
        assert len({item_id for item_id, _ in answers}) == 1
        assert sorted(is_new for _, is_new in answers) == ["0", "1"]
    queue = open_queue(url)
    drained = 0
    while claims := queue.claim():
        claims[0].complete()
        drained += 1
    assert drained == 20, queue.counts()


def test_claims_name_machine_process_and_thread(url: str) -> None:
    """The System page can say who has an item."""
    queue = open_queue(url)
    item_id = queue.put({})
    queue.claim()
    assert str(queue.get(item_id).claimed_by).endswith(f":{os.getpid()}:MainThread")
