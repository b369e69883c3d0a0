"""A switch that ends work from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Cancellation:
    """Ask work to end. One switch may serve several jobs, one after the other or at once; it can't be undone."""

    def __init__(self) -> None:
        # Held while callbacks run: after `calling` has ended its callback is sure not to run any more.
        self._lock = threading.RLock()
        self._cancelled = threading.Event()
        self._callbacks: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """Cancel, from any thread. Does not wait until the work has ended; a second call does nothing."""
        with self._lock:
            if self._cancelled.is_set():
                return
            self._cancelled.set()
            for callback in self._callbacks:
                callback()

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    @contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Have `callback` called on cancellation while the block runs; at once if it is cancelled already.

        It is called on the thread that cancels and must be quick and not raise.
        """
        with self._lock:
            self._callbacks.append(callback)
            if self._cancelled.is_set():
                callback()
        try:
            yield
        finally:
            with self._lock:
                self._callbacks.remove(callback)
