"""`Supervisor`: the named threads of this process, restarted when they raise, and their state for the System page."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

_LOG = logging.getLogger(__name__)

type ThreadBody = Callable[[threading.Event], None]


class ThreadState(StrEnum):
    """What a supervised thread is doing."""

    NEW = "new"
    RUNNING = "running"
    PAUSED = "paused"  # it raised and waits to be restarted
    ENDED = "ended"


@dataclass(frozen=True)
class ThreadStatus:
    """A thread as the System page shows it.

    Attributes
    ----------
    started_at : when it last began (aware, UTC), None before that.
    restarts : how often it raised and was, or will be, restarted.
    last_error : kind and words of the last exception, None when there was none.
    """

    name: str
    state: ThreadState
    started_at: datetime | None
    restarts: int
    last_error: str | None


class Supervisor:
    """Runs named daemon threads until told to stop. Its methods may be called from any thread.

    Parameters
    ----------
    first_pause_seconds, max_pause_seconds : pause before a restart; it doubles with every failure up to the longest
        and begins anew once a run lasted longer than that.
    """

    def __init__(self, *, first_pause_seconds: float = 1.0, max_pause_seconds: float = 60.0) -> None:
        self._pauses = (first_pause_seconds, max_pause_seconds)
        self._stop = threading.Event()
        self._threads: dict[str, _Supervised] = {}
        self._lock = threading.Lock()
        self._is_started = False

    def add(self, name: str, run: ThreadBody) -> None:
        """Add a thread: `run(stop)` loops until `stop` is set. When it raises it is restarted after a pause.

        Raises
        ------
        ValueError : a thread of this name was added before.
        """
        with self._lock:
            if name in self._threads:
                message = f"There is a thread named {name!r} already."
                raise ValueError(message)
            supervised = _Supervised(name, run, self._stop, *self._pauses)
            self._threads[name] = supervised
            if self._is_started:
                supervised.thread.start()

    def start(self) -> None:
        """Start the threads; those added later start at once."""
        with self._lock:
            if self._is_started:
                return
            self._is_started = True
            for supervised in self._threads.values():
                supervised.thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Ask all threads to end and wait for them, at most this long together. What runs on dies with the process."""
        self._stop.set()
        give_up_at = time.monotonic() + timeout_seconds
        with self._lock:
            threads = [supervised.thread for supervised in self._threads.values() if supervised.thread.ident]
        for thread in threads:
            thread.join(max(give_up_at - time.monotonic(), 0.0))
        late = sorted(thread.name for thread in threads if thread.is_alive())
        if late:
            _LOG.warning("Threads still at work %.1f s after the stop: %s", timeout_seconds, ", ".join(late))

    def status(self) -> list[ThreadStatus]:
        """Return the threads in the order they were added."""
        with self._lock:
            return [supervised.status() for supervised in self._threads.values()]


class _Supervised:
    """One thread and what is known about it."""

    def __init__(
        self, name: str, run: ThreadBody, stop: threading.Event, first_pause_seconds: float, max_pause_seconds: float
    ) -> None:
        self.thread = threading.Thread(target=self._supervise, name=name, daemon=True)
        self._run = run
        self._stop = stop
        self._first_pause_seconds = first_pause_seconds
        self._max_pause_seconds = max_pause_seconds
        self._status = ThreadStatus(name, ThreadState.NEW, None, 0, None)

    def status(self) -> ThreadStatus:
        return self._status

    def _supervise(self) -> None:
        pause_seconds = self._first_pause_seconds
        while not self._stop.is_set():
            began = time.monotonic()
            if self._run_once():
                break
            if time.monotonic() - began > self._max_pause_seconds:
                pause_seconds = self._first_pause_seconds
            self._stop.wait(pause_seconds)
            pause_seconds = min(pause_seconds * 2, self._max_pause_seconds)
        self._set(state=ThreadState.ENDED)

    def _run_once(self) -> bool:
        """Run the body; tell whether it came to its own end. The top of the thread: nothing may pass."""
        self._set(state=ThreadState.RUNNING, started_at=datetime.now(UTC))
        try:
            self._run(self._stop)
        except Exception as error:  # noqa: BLE001 (the top of the thread)
            _LOG.exception("Thread %s failed", self._status.name)
            last_error = f"{type(error).__name__}: {error}"
            self._set(state=ThreadState.PAUSED, restarts=self._status.restarts + 1, last_error=last_error)
            return False
        return True

    def _set(
        self,
        *,
        state: ThreadState,
        started_at: datetime | None = None,
        restarts: int | None = None,
        last_error: str | None = None,
    ) -> None:
        # A new value in one assignment: readers see the old or the new, nothing in between.
        old = self._status
        self._status = ThreadStatus(
            name=old.name,
            state=state,
            started_at=started_at or old.started_at,
            restarts=old.restarts if restarts is None else restarts,
            last_error=last_error or old.last_error,
        )
