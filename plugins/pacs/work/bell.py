"""The bell that wakes this process's workers of a queue."""

from __future__ import annotations

import threading


class Bell:
    """Counts rings, so that one that comes between a look and the wait is not missed."""

    def __init__(self) -> None:
        self._rung = threading.Condition()
        self._count = 0

    @property
    def count(self) -> int:
        """How often it was rung; hand it to `wait` to notice the rings since."""
        with self._rung:
            return self._count

    def ring(self) -> None:
        """Wake all that wait."""
        with self._rung:
            self._count += 1
            self._rung.notify_all()

    def wait(self, seen: int, timeout_seconds: float) -> bool:
        """Wait until it was rung more than `seen` times, and tell whether it was."""
        with self._rung:
            return self._rung.wait_for(lambda: self._count != seen, timeout_seconds)
