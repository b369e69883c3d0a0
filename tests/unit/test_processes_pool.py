"""`pacs.processes`: how a pool uses its children again, and that it leaves nothing behind."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fixtures.process_pools import (
    MEBIBYTE,
    WARM,
    becomes_true,
    is_alive,
    job,
    make_pool,
    open_descriptors,
    own_children,
)
from pacs.processes import Job, Limits, PoolPolicy, ProcessFailed


@pytest.mark.parametrize(("policy", "jobs"), [(WARM, 100), (PoolPolicy(), 25)], ids=["warm", "cold"])
def test_many_quick_jobs_leave_no_descriptor_no_zombie_no_thread(tmp_path: Path, policy: PoolPolicy, jobs: int) -> None:
    """Descriptors, processes, threads and files are the same after many jobs as after one."""
    with make_pool(tmp_path, policy=policy) as pool:
        pool.run(job("echo"))
        descriptors, children, threads = open_descriptors(), len(own_children()), threading.active_count()
        for number in range(jobs):
            assert pool.run(job("echo", number=number)) == {"number": number}
        assert (open_descriptors(), len(own_children())) == (descriptors, children)
        # Fewer, when threads of a test before this one have ended meanwhile.
        assert threading.active_count() <= threads
        assert children == (1 if policy is WARM else 0)
    assert own_children() == []
    assert list(tmp_path.iterdir()) == []


def test_pool_gives_back_every_descriptor_when_it_stops(tmp_path: Path) -> None:
    """A pool that was used in good and bad ways holds nothing after its end."""
    before, threads = open_descriptors(), threading.active_count()
    with make_pool(tmp_path, policy=WARM) as pool:
        pool.run(job("echo"))
        with pytest.raises(ProcessFailed):
            pool.run(job("fail"))
        pool.run(job("echo"))
    assert (open_descriptors(), threading.active_count()) == (before, threads)


def test_warm_child_serves_several_jobs_and_is_replaced_after_its_share(tmp_path: Path) -> None:
    """`max_jobs_per_child` jobs go to one process, the next to another."""
    with make_pool(tmp_path, policy=PoolPolicy(max_jobs_per_child=3)) as pool:
        pids = [pool.run(job("process_id")) for _ in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


def test_preloaded_modules_are_there_before_the_first_job(tmp_path: Path) -> None:
    """A module to preload that is broken does not keep the child from serving others."""
    policy = PoolPolicy(max_jobs_per_child=9, preload=("fixtures.broken_on_import", "fixtures.child_functions"))
    with make_pool(tmp_path, policy=policy) as pool:
        assert pool.run(job("echo", a=1)) == {"a": 1}
        with pytest.raises(ProcessFailed):
            pool.run(Job(function="fixtures.broken_on_import:run"))


def test_idle_child_ends_when_no_job_comes(tmp_path: Path) -> None:
    """Memory of a warm child is given back after the idle time."""
    with make_pool(tmp_path, policy=PoolPolicy(size=2, max_jobs_per_child=9, idle_seconds=2)) as pool:
        first = pool.run(job("process_id"))
        assert pool.status().idle == 1
        assert becomes_true(lambda: own_children() == [], 40)
        assert pool.status().idle == 0
        assert pool.run(job("process_id")) != first


def test_pool_replaces_a_warm_child_that_died_while_idle(tmp_path: Path) -> None:
    """A child killed between two jobs costs the second one nothing."""
    with make_pool(tmp_path, policy=WARM) as pool:
        first = pool.run(job("die_soon"))
        assert becomes_true(lambda: not is_alive(first), 40)
        assert pool.run(job("process_id")) != first
        for _ in range(8):  # killed just when the next job comes
            os.kill(pool.run(job("process_id")), 9)
            assert pool.run(job("echo", a=1)) == {"a": 1}


def test_child_that_failed_is_not_used_again(tmp_path: Path) -> None:
    """What an exception left behind does not meet the next job."""
    with make_pool(tmp_path, policy=WARM) as pool:
        first = pool.run(job("process_id"))
        with pytest.raises(ProcessFailed):
            pool.run(job("fail"))
        assert pool.run(job("process_id")) != first


def test_child_that_keeps_much_memory_is_not_used_again(tmp_path: Path) -> None:
    """Leaks of one job don't take the memory of the next."""
    with make_pool(tmp_path, policy=WARM, limits=Limits(memory_bytes=200 * MEBIBYTE)) as pool:
        first = pool.run(job("keep_memory", mebibytes=20))
        assert pool.run(job("keep_memory", mebibytes=100)) == first
        assert pool.run(job("process_id")) != first


def test_pool_runs_as_many_jobs_at_once_as_its_size(tmp_path: Path) -> None:
    """Eight callers share two children: never more than two at work, and all are served."""
    with make_pool(tmp_path, policy=PoolPolicy(size=2, max_jobs_per_child=9)) as pool, ThreadPoolExecutor(8) as threads:
        jobs = [threads.submit(pool.run, job("sleep", seconds=0.2)) for _ in range(8)]
        seen = []
        while not all(future.done() for future in jobs):
            seen.append(pool.status().busy)
            time.sleep(0.01)
        assert [future.result() for future in jobs] == ["awake"] * 8
    assert max(seen) == 2


def test_children_survive_the_thread_that_started_them(tmp_path: Path) -> None:
    """A warm child started by one thread serves another after the first has ended."""
    with make_pool(tmp_path, policy=WARM) as pool:
        with ThreadPoolExecutor(1) as thread:
            first = thread.submit(pool.run, job("process_id")).result()
        time.sleep(0.2)
        assert pool.run(job("process_id")) == first


def test_stop_returns_at_once_when_the_first_warm_child_is_idle(tmp_path: Path) -> None:
    """The thread that keeps warm children has just begun: it hears of the end all the same."""
    pool = make_pool(tmp_path, policy=WARM)
    pool.run(job("echo"))
    begin = time.monotonic()
    pool.stop()
    assert time.monotonic() - begin < 8
