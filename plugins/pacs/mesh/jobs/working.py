"""`ModelWorker`: works the queue. It decides what is tried again and what is given up; children do the work."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pacs.errors import InvalidInput, NotFound, ProcessError
from pacs.mesh.errors import MeshCancelled, MeshError
from pacs.mesh.jobs.orders import Order, OrderKind
from pacs.mesh.jobs.progress import JobProgress
from pacs.metrics import Metrics
from pacs.processes import (
    Cancellation,
    ProcessCancelled,
    ProcessCrashed,
    ProcessFailed,
    ProcessOutOfMemory,
    ProcessStartFailed,
)
from pacs.work import Claim, GiveBack, Reject, Retry

# A job is tried once more after a process died over it: a second time it is the job.
MOST_CRASHES = 2
_SECONDS_BUCKETS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)
_log = logging.getLogger(__name__)

# Does one order; returns what is kept as its result.
type Work = Callable[[Order, JobProgress, Cancellation], Mapping[str, Any]]


class ModelWorker:
    """The handler of the queue.

    Parameters
    ----------
    works : what does each kind of order.
    """

    def __init__(self, works: Mapping[OrderKind, Work], metrics: Metrics) -> None:
        self._works = works
        self._running: dict[int, Cancellation] = {}
        self._lock = threading.Lock()
        self._jobs = metrics.counter("pacs_mesh_jobs_total", "Tries of 3D jobs by how they ended.", ("kind", "outcome"))
        text = "Time for a 3D job that was done, in seconds, without waiting in the queue."
        self._seconds = metrics.histogram("pacs_mesh_job_seconds", text, ("kind",), buckets=_SECONDS_BUCKETS)

    def cancel(self, job_id: int) -> None:
        """End a job at once if it is worked in this process; another process learns of it by the row."""
        with self._lock:
            cancellation = self._running.get(job_id)
        if cancellation is not None:
            cancellation.cancel()

    def handle(self, claim: Claim) -> Mapping[str, Any]:
        """Work one claim.

        Raises
        ------
        GiveBack, Retry, Reject : as the queue knows them.
        """
        order = Order.model_validate(claim.item.payload)
        outcome = "done"
        try:
            with self._cancellable(claim.item.id) as cancellation:
                return self._timed(order, claim, cancellation)
        except (GiveBack, Retry, Reject) as signal:
            outcome = type(signal).__name__.lower()
            raise
        finally:
            self._jobs.labels(order.kind.value, outcome).inc()

    def _timed(self, order: Order, claim: Claim, cancellation: Cancellation) -> Mapping[str, Any]:
        progress, began = JobProgress(claim, cancellation), time.monotonic()
        result = self._judged(order, progress, cancellation, claim.item.id)
        self._seconds.labels(order.kind.value).observe(time.monotonic() - began)
        return result

    def _judged(
        self, order: Order, progress: JobProgress, cancellation: Cancellation, job_id: int
    ) -> Mapping[str, Any]:
        """Do the work; what goes wrong becomes what the queue shall do."""
        try:
            return self._works[order.kind](order, progress, cancellation)
        except (ProcessCancelled, MeshCancelled):
            raise GiveBack from None
        except (ProcessCrashed, ProcessStartFailed, ProcessOutOfMemory) as error:
            progress.crashed()
            _log.warning("3D job %d: its process ended (%d of %d): %s", job_id, progress.crashes, MOST_CRASHES, error)
            if progress.crashes < MOST_CRASHES:
                raise Retry(str(error), after=0.0) from error
            progress.failed(error.code)
            raise Reject(str(error)) from error
        except NotFound as error:
            progress.failed(error.code)
            raise Reject(f"The series is not in the archive any more. {error}") from error
        except (MeshError, ProcessError, InvalidInput) as error:
            # With the child's traceback where it is no refusal of ours.
            is_fault = error.code == ProcessFailed.code
            _log.warning("3D job %d failed: %s", job_id, error, exc_info=is_fault)
            progress.failed(error.code)
            raise Reject(str(error)) from error

    @contextmanager
    def _cancellable(self, job_id: int) -> Iterator[Cancellation]:
        cancellation = Cancellation()
        with self._lock:
            self._running[job_id] = cancellation
        try:
            yield cancellation
        finally:
            with self._lock:
                self._running.pop(job_id, None)
