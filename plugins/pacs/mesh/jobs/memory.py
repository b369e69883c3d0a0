"""The memory that all models together may take, shared out before a job starts."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from pacs.mesh.errors import MeshCancelled, MeshTooLarge
from pacs.processes import Cancellation

_MEBIBYTE = 2**20


class MemoryBudget:
    """Lets a job start when what it needs is free, in the order in which they came. May be used from any thread.

    Parameters
    ----------
    total_bytes : for all jobs together.
    workers : jobs at most at the same time; each gets its even share at least, so that as many can run.
    """

    def __init__(self, total_bytes: int, workers: int) -> None:
        self.total_bytes = total_bytes
        self._share_bytes = total_bytes // workers
        self._reserved_bytes = 0
        self._changed = threading.Condition()
        self._turns: deque[object] = deque()

    @property
    def reserved_bytes(self) -> int:
        """What is given to jobs now."""
        with self._changed:
            return self._reserved_bytes

    def check(self, needed_bytes: int, volume_bytes: int) -> None:
        """Refuse what would never fit.

        Raises
        ------
        MeshTooLarge : with the numbers.
        """
        if needed_bytes > self.total_bytes:
            raise MeshTooLarge(
                f"The volume has {_mib(volume_bytes)} and its model needs about {_mib(needed_bytes)} of memory; "
                f"all models together may take {_mib(self.total_bytes)}.",
                remedy="Choose a sub-volume, or raise Pacs.Mesh.MemoryBytes if the server has the memory.",
            )

    @contextmanager
    def reserved(self, needed_bytes: int, cancellation: Cancellation) -> Iterator[int]:
        """Wait until the memory is free, hold it, and tell how much it is.

        Raises
        ------
        MeshCancelled : cancelled while waiting.
        """
        granted = min(max(needed_bytes, self._share_bytes), self.total_bytes)
        with cancellation.calling(self._wake):
            self._take(granted, cancellation)
        try:
            yield granted
        finally:
            with self._changed:
                self._reserved_bytes -= granted
                self._changed.notify_all()

    def _take(self, granted: int, cancellation: Cancellation) -> None:
        turn = object()
        with self._changed:
            self._turns.append(turn)
            try:
                self._changed.wait_for(lambda: cancellation.is_cancelled or self._is_next(turn, granted))
                if cancellation.is_cancelled:
                    raise MeshCancelled
                self._reserved_bytes += granted
            finally:
                self._turns.remove(turn)
                self._changed.notify_all()

    def _is_next(self, turn: object, granted: int) -> bool:
        # Nobody overtakes a large job, which would otherwise wait for ever.
        return self._turns[0] is turn and self._reserved_bytes + granted <= self.total_bytes

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / _MEBIBYTE:.0f} MiB"
