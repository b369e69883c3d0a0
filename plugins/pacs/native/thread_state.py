"""Python's state of a thread of Orthanc, kept from one callback to the next."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable


class _ThreadState(threading.local):
    """Made once for each thread.

    Left alone, Python makes it anew for each call that comes from a thread which it did not start, and gives its memory
    back to the kernel afterwards: that costs reception more than what our callbacks do. Orthanc's threads are pools
    that live as long as the process.
    """

    def __init__(self) -> None:
        # Never released.
        ctypes.pythonapi.PyGILState_Ensure()
        self.is_kept = True


_thread_state = _ThreadState()


def keeping_the_thread[**P, T](callback: Callable[P, T]) -> Callable[P, T]:
    """Return `callback`, to be called from threads that Python did not start."""

    @functools.wraps(callback)
    def call(*arguments: P.args, **options: P.kwargs) -> T:
        _thread_state.is_kept  # noqa: B018 - made at its first use in a thread
        return callback(*arguments, **options)

    return call
