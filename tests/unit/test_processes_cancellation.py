"""`pacs.processes`: a job can be cancelled at every stage from any thread, and a pool ends in time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from fixtures.process_pools import WARM, becomes_true, job, make_pool, own_children
from pacs.processes import Cancellation, Job, Limits, PoolPolicy, ProcessCancelled, ProcessPool

QUICK = Limits(grace_seconds=0.3)


class Cancelled:
    """A job on a thread of its own with the switch that ends it."""

    def __init__(self, pool: ProcessPool, doing: Job, *, cancel_in_listener: bool = False) -> None:
        self.cancellation = Cancellation()
        self.is_at_work = threading.Event()
        self._cancel_in_listener = cancel_in_listener
        self._threads = ThreadPoolExecutor(1)
        self.future: Future[object] = self._threads.submit(
            pool.run, doing, on_progress=self._listen, cancellation=self.cancellation
        )

    def _listen(self, _fraction: float, _stage: str) -> None:
        self.is_at_work.set()
        if self._cancel_in_listener:
            self.cancellation.cancel()

    def cancel_and_time(self) -> float:
        """Cancel and return how many seconds it took to end."""
        begin = time.monotonic()
        self.cancellation.cancel()
        with pytest.raises(ProcessCancelled):
            self.future.result(10)
        self._threads.shutdown()
        return time.monotonic() - begin


@pytest.mark.parametrize("policy", [PoolPolicy(), WARM], ids=["cold", "warm"])
@pytest.mark.parametrize(
    ("name", "grace_seconds"),
    # What listens is not to need its grace.
    [("sleep", 60), ("hold_the_interpreter", 0.3), ("ignore_sigterm", 0.3), ("swallow_sigterm", 0.3)],
)
def test_cancel_ends_a_job_at_work(tmp_path: Path, policy: PoolPolicy, name: str, grace_seconds: float) -> None:
    """SIGTERM ends what listens at once, SIGKILL the rest after the grace; the pool is free again."""
    with make_pool(tmp_path, policy=policy, limits=Limits(grace_seconds=grace_seconds)) as pool:
        work = Cancelled(pool, job(name, seconds=60))
        assert work.is_at_work.wait(10)
        assert work.cancel_and_time() < 10
        assert own_children() == []
        assert pool.run(job("echo", a=1)) == {"a": 1}


def test_cancel_before_the_start_starts_nothing(tmp_path: Path) -> None:
    """A job cancelled early never has a child."""
    cancellation = Cancellation()
    cancellation.cancel()
    with make_pool(tmp_path) as pool, pytest.raises(ProcessCancelled):
        pool.run(job("echo"), cancellation=cancellation)


def test_cancel_ends_a_job_that_waits_for_a_child(tmp_path: Path) -> None:
    """A job in the queue goes at once and leaves the one at work alone."""
    with make_pool(tmp_path, limits=QUICK) as pool:
        first = Cancelled(pool, job("sleep", seconds=60))
        assert first.is_at_work.wait(10)
        second = Cancelled(pool, job("echo"))
        assert becomes_true(lambda: pool.status().waiting == 1)
        assert second.cancel_and_time() < 10
        assert not first.future.done()
        first.cancel_and_time()


@pytest.mark.parametrize("delay_seconds", [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_cancel_ends_a_child_that_is_still_starting(tmp_path: Path, delay_seconds: float) -> None:
    """Whatever the child is at, interpreter start or import of the function, it ends in time and leaves nothing."""
    with make_pool(tmp_path, limits=QUICK) as pool:
        work = Cancelled(pool, Job(function="fixtures.slow_to_import:run"))
        time.sleep(delay_seconds)
        assert work.cancel_and_time() < 10
        assert own_children() == []


def test_cancel_from_the_progress_listener_ends_the_job(tmp_path: Path) -> None:
    """The switch may be used on the thread that runs the job."""
    with make_pool(tmp_path, limits=QUICK) as pool:
        work = Cancelled(pool, job("sleep", seconds=60), cancel_in_listener=True)
        with pytest.raises(ProcessCancelled):
            work.future.result(5)


def test_cancel_lets_the_function_clean_up(tmp_path: Path) -> None:
    """`finally` blocks of the function run within the grace."""
    witness = tmp_path / "witness"
    with make_pool(tmp_path / "scratch") as pool:
        work = Cancelled(pool, job("clean_up", witness=str(witness)))
        assert work.is_at_work.wait(10)
        work.cancel_and_time()
    assert witness.read_text() == "cleaned"


def test_cancel_after_the_end_does_nothing(tmp_path: Path) -> None:
    """A late cancel harms neither the result nor the next job of a warm child."""
    cancellation = Cancellation()
    with make_pool(tmp_path, policy=WARM) as pool:
        first = pool.run(job("process_id"), cancellation=cancellation)
        cancellation.cancel()
        assert pool.run(job("process_id")) == first


def test_cancellation_calls_back_once_and_never_after_its_block() -> None:
    """Callbacks fire once per block, at once if it is too late, and not after it."""
    calls: list[str] = []
    cancellation = Cancellation()
    with cancellation.calling(lambda: calls.append("gone")):
        pass
    with cancellation.calling(lambda: calls.append("first")):
        cancellation.cancel()
        cancellation.cancel()
    with cancellation.calling(lambda: calls.append("late")):
        pass
    assert calls == ["first", "late"]
    assert cancellation.is_cancelled


@pytest.mark.parametrize("name", ["sleep", "ignore_sigterm", "hold_the_interpreter"])
def test_stop_ends_everything_within_five_seconds(tmp_path: Path, name: str) -> None:
    """Jobs at work, jobs waiting and warm children are all gone, and whoever asked has an answer."""
    pool = make_pool(tmp_path, policy=PoolPolicy(size=2, max_jobs_per_child=9))
    pool.run(job("echo"))
    at_work = [Cancelled(pool, job(name, seconds=60)) for _ in range(2)]
    assert all(work.is_at_work.wait(10) for work in at_work)
    waiting = Cancelled(pool, job("echo"))
    assert becomes_true(lambda: pool.status().waiting == 1)
    begin = time.monotonic()
    pool.stop(5.0)
    assert time.monotonic() - begin < 5.0
    assert own_children() == []
    for work in (*at_work, waiting):
        with pytest.raises(ProcessCancelled):
            work.future.result(1)
    assert list(tmp_path.iterdir()) == []


def test_stop_is_not_held_up_by_a_listener_that_hangs(tmp_path: Path) -> None:
    """The child is killed though the thread that runs the job does not come back."""
    pool = make_pool(tmp_path)
    release, hanging = threading.Event(), threading.Event()

    def listener(_fraction: float, _stage: str) -> None:
        hanging.set()
        release.wait(30)

    threads = ThreadPoolExecutor(1)
    future = threads.submit(pool.run, job("sleep", seconds=60), on_progress=listener)
    assert hanging.wait(10)
    begin = time.monotonic()
    pool.stop(2.0)
    assert time.monotonic() - begin < 10
    assert becomes_true(lambda: all(child.endswith("Z") for child in own_children()))
    release.set()
    with pytest.raises(ProcessCancelled):
        future.result(5)
    threads.shutdown()
    assert own_children() == []


def test_run_refuses_jobs_after_the_stop(tmp_path: Path) -> None:
    """A stopped pool starts nothing any more, and stopping twice is fine."""
    pool = make_pool(tmp_path)
    pool.stop()
    pool.stop()
    with pytest.raises(ProcessCancelled):
        pool.run(job("echo"))
