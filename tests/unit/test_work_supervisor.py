"""`Supervisor`: threads that are restarted, counted, shown, and ended in time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest

from pacs.work import Supervisor, ThreadState


def becomes_true(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait until `condition` holds."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.01)
    return True


def test_threads_run_under_their_names_until_the_stop() -> None:
    """Each thread is found by its name in a debugger and on the System page, and ends when told."""
    supervisor, names = Supervisor(), set()

    def run(stop: threading.Event) -> None:
        names.add((threading.current_thread().name, threading.current_thread().daemon))
        stop.wait()

    supervisor.add("inbox 1", run)
    supervisor.add("inbox 2", run)
    assert [status.state for status in supervisor.status()] == [ThreadState.NEW] * 2
    supervisor.start()
    assert becomes_true(lambda: len(names) == 2)
    assert names == {("inbox 1", True), ("inbox 2", True)}
    assert [(status.name, status.state) for status in supervisor.status()] == [
        ("inbox 1", ThreadState.RUNNING),
        ("inbox 2", ThreadState.RUNNING),
    ]
    assert all(status.started_at is not None and status.started_at.tzinfo for status in supervisor.status())
    supervisor.stop()
    assert [status.state for status in supervisor.status()] == [ThreadState.ENDED] * 2


def test_thread_that_raises_is_logged_and_restarted(caplog: pytest.LogCaptureFixture) -> None:
    """A failure is told with its traceback, counted, and the thread goes on after a pause."""
    supervisor, runs = Supervisor(first_pause_seconds=0.01), []

    def run(stop: threading.Event) -> None:
        runs.append(1)
        if len(runs) < 4:
            raise OSError("the disk is away")
        stop.wait()

    supervisor.add("fragile", run)
    with caplog.at_level(logging.ERROR):
        supervisor.start()
        assert becomes_true(lambda: len(runs) == 4)
    status = supervisor.status()[0]
    assert (status.state, status.restarts, status.last_error) == (ThreadState.RUNNING, 3, "OSError: the disk is away")
    assert "Thread fragile failed" in caplog.text
    assert "Traceback" in caplog.text
    supervisor.stop()


def test_pause_before_a_restart_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that can't work leaves the processor alone: its pauses double, up to the longest."""
    # No run lasts longer than the longest, whatever the machine does: after such a one they would begin anew.
    supervisor = Supervisor(first_pause_seconds=4, max_pause_seconds=20)
    pauses: list[float | None] = []
    wait = supervisor._stop.wait

    def recorded(timeout: float | None = None) -> bool:
        pauses.append(timeout)
        return wait(0.01)

    monkeypatch.setattr(supervisor._stop, "wait", recorded)
    supervisor.add("broken", lambda _stop: 1 // 0)  # type: ignore[arg-type,return-value]
    supervisor.start()
    assert becomes_true(lambda: len(pauses) >= 5)
    supervisor.stop()
    assert pauses[:5] == [4, 8, 16, 20, 20]


def test_thread_that_comes_to_its_end_is_not_restarted() -> None:
    """Work that is finished once and for all stays finished."""
    supervisor, runs = Supervisor(first_pause_seconds=0.01), []
    supervisor.add("once", lambda _stop: runs.append(1))
    supervisor.start()
    assert becomes_true(lambda: supervisor.status()[0].state is ThreadState.ENDED)
    time.sleep(0.05)
    assert runs == [1]
    supervisor.stop()


def test_stop_returns_in_time_when_a_thread_hangs(caplog: pytest.LogCaptureFixture) -> None:
    """One thread that does not listen holds up the end no longer than the patience, and is named."""
    supervisor, release = Supervisor(), threading.Event()
    supervisor.add("deaf", lambda _stop: [release.wait(30)][:0] and None)
    supervisor.add("polite", lambda stop: [stop.wait()][:0] and None)
    supervisor.start()
    began = time.monotonic()
    supervisor.stop(timeout_seconds=0.3)
    assert time.monotonic() - began < 15
    assert "deaf" in caplog.text
    assert "polite" not in caplog.text
    release.set()


def test_stop_ends_a_pause() -> None:
    """A thread that waits to be restarted ends at once."""
    supervisor = Supervisor(first_pause_seconds=60, max_pause_seconds=60)
    supervisor.add("broken", lambda _stop: 1 // 0)  # type: ignore[arg-type,return-value]
    supervisor.start()
    assert becomes_true(lambda: supervisor.status()[0].state is ThreadState.PAUSED)
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 15
    assert supervisor.status()[0].state is ThreadState.ENDED


def test_thread_added_after_the_start_starts_at_once() -> None:
    """Capabilities may add threads at any time."""
    supervisor, ran = Supervisor(), threading.Event()
    supervisor.start()
    supervisor.add("late", lambda _stop: ran.set())
    assert ran.wait(5)
    supervisor.stop()


def test_name_is_given_once() -> None:
    """Two threads of one name could not be told apart."""
    supervisor = Supervisor()
    supervisor.add("one", lambda _stop: None)
    with pytest.raises(ValueError, match="'one'"):
        supervisor.add("one", lambda _stop: None)


def test_stop_before_start_does_nothing() -> None:
    """A program that fails early can still clean up."""
    supervisor = Supervisor()
    supervisor.add("never", lambda _stop: None)
    supervisor.stop()
    assert supervisor.status()[0].state is ThreadState.NEW
