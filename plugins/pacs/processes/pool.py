"""A pool of child processes: the way in for everything that computes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pacs.ports import Json
from pacs.processes.cancellation import Cancellation
from pacs.processes.conversation import Conversation, NeverStarted
from pacs.processes.errors import ProcessCancelled, ProcessOutOfMemory
from pacs.processes.job import Job, Limits, ProgressListener
from pacs.processes.launcher import Child, Interpreter, start_child
from pacs.processes.members import resident_bytes
from pacs.processes.scratch import Scratch

# Of the time that `stop` is given, the part in which jobs may end by themselves before their children are killed.
_GENTLE_PART = 0.6
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PoolPolicy:
    """How many children there are and how long each lives.

    Attributes
    ----------
    size : children at most, working and idle together; further jobs wait.
    max_jobs_per_child : 1 gives every job a fresh child ("cold"), more keeps children warm between jobs.
    idle_seconds : how long a warm child waits for the next job.
    preload : modules that a child imports before its first job.
    """

    size: int = 1
    max_jobs_per_child: int = 1
    idle_seconds: float = 60.0
    preload: Sequence[str] = ()


@dataclass(frozen=True)
class PoolStatus:
    """How many children work, how many are warm and idle, how many jobs wait for one."""

    busy: int
    idle: int
    waiting: int


class ProcessPool:
    """Runs jobs in child processes, `policy.size` at a time. Every method may be called from any thread.

    A child serves again only if its job went well, left no process behind and the child uses less than half of its
    memory; what an exception left in a library is not known, so its child ends with it.

    Parameters
    ----------
    scratch_root : on a disk with room, not in memory; below it each child has a temporary folder while it lives.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        scratch_root: Path,
        *,
        limits: Limits | None = None,
        policy: PoolPolicy | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.policy = policy or PoolPolicy()
        self._interpreter = interpreter
        self._scratch = Scratch(scratch_root)
        self._changed = threading.Condition()
        self._stopping = Cancellation()
        self._idle: list[Child] = []
        self._working: list[Child] = []
        self._busy = 0
        self._waiting = 0
        self._keeper: threading.Thread | None = None

    def run(
        self, job: Job, *, on_progress: ProgressListener | None = None, cancellation: Cancellation | None = None
    ) -> Json:
        """Run `job` and wait for it; first for a free child, in which time its wall time does not count.

        Parameters
        ----------
        on_progress : called on this thread. If it raises the job is ended and the exception goes on to the caller.
        cancellation : ends the job from any thread, whatever stage it is in.

        Returns
        -------
        What the function returned.

        Raises
        ------
        ProcessError : one of the kinds in `pacs.processes.errors`; `ProcessCancelled` also when the pool is stopped.
        """
        either = Cancellation()
        given = cancellation or Cancellation()
        with given.calling(either.cancel), self._stopping.calling(either.cancel), self._place(job, either):
            return self._run_in_place(job, on_progress, either)

    def status(self) -> PoolStatus:
        """Return how the pool is doing now."""
        with self._changed:
            return PoolStatus(self._busy, len(self._idle), self._waiting)

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Cancel all jobs, end all children, refuse new jobs. Returns within `timeout_seconds`; may be called twice."""
        deadline = time.monotonic() + timeout_seconds
        self._stopping.cancel()
        with self._changed:
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for child in idle:
            child.dispose()
        if not self._becomes_empty(timeout_seconds * _GENTLE_PART):
            self._kill_working()
            self._becomes_empty(deadline - time.monotonic())
        if self._keeper is not None:
            self._keeper.join(max(0.0, deadline - time.monotonic()))
        self._scratch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @contextmanager
    def _place(self, job: Job, cancellation: Cancellation) -> Iterator[None]:
        """Wait for one of the `size` places and hold it."""
        with cancellation.calling(self._notify):
            self._take_place(job, cancellation)
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _take_place(self, job: Job, cancellation: Cancellation) -> None:
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: cancellation.is_cancelled or self._busy < self.policy.size)
                if cancellation.is_cancelled:
                    raise ProcessCancelled(job.function)
                self._busy += 1
            finally:
                self._waiting -= 1

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run_in_place(self, job: Job, on_progress: ProgressListener | None, cancellation: Cancellation) -> Json:
        child = self._idle_child()
        if child is not None:
            try:
                return self._converse(child, job, on_progress, cancellation)
            except NeverStarted:
                _log.info("A warm child had ended by itself, a fresh one takes its job", extra={"child_pid": child.pid})
        fresh = start_child(self._interpreter, self.limits, self.policy.preload, self._scratch)
        return self._converse(fresh, job, on_progress, cancellation)

    def _converse(
        self, child: Child, job: Job, on_progress: ProgressListener | None, cancellation: Cancellation
    ) -> Json:
        keep = False
        with self._changed:
            self._working.append(child)
        try:
            result = Conversation(child, job, self.limits, on_progress, cancellation).run()
            keep = self._can_serve_again(child)
        except ProcessOutOfMemory:
            child.kill()  # no grace: it would grow on
            raise
        except BaseException:
            child.terminate(self.limits.grace_seconds)
            raise
        else:
            return result
        finally:
            with self._changed:
                self._working.remove(child)
            self._keep_or_dispose(child, keep=keep)

    def _can_serve_again(self, child: Child) -> bool:
        if child.jobs >= self.policy.max_jobs_per_child or self._stopping.is_cancelled:
            return False
        left = child.members.process_ids()
        return left == [child.pid] and resident_bytes(left) < self.limits.memory_bytes // 2

    def _keep_or_dispose(self, child: Child, *, keep: bool) -> None:
        with self._changed:
            if keep and not self._stopping.is_cancelled:
                child.idle_since = time.monotonic()
                self._idle.append(child)
                self._start_keeper()
                self._changed.notify_all()
                return
        child.dispose()

    def _idle_child(self) -> Child | None:
        while True:
            with self._changed:
                if not self._idle:
                    return None
                child = self._idle.pop()  # the one used last, so that those not needed grow old
            if child.is_running():
                return child
            child.dispose()

    def _start_keeper(self) -> None:
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._end_old_children, name="pacs-process-pool", daemon=True)
            self._keeper.start()

    def _end_old_children(self) -> None:
        """Run on the pool's own thread from the first warm child on: end those that wait too long for a job."""
        while True:
            with self._changed:
                # Looked at under the lock: between a look outside and the wait, the call of `stop` would go unheard.
                if self._stopping.is_cancelled:
                    return
                oldest = self._idle[0].idle_since if self._idle else None
                patience = None if oldest is None else oldest + self.policy.idle_seconds - time.monotonic()
                if patience is None or patience > 0:
                    self._changed.wait(patience)
                    continue
                child = self._idle.pop(0)
            child.dispose()

    def _becomes_empty(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._busy == 0, max(0.0, seconds))

    def _kill_working(self) -> None:
        with self._changed:
            working = list(self._working)
        for child in working:
            child.kill()
