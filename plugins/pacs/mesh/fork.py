"""A second process for half of the work, with no copy of what it works on.

The library that takes triangles away holds the interpreter lock and keeps its state in globals, so threads would not
do. A fork shares the surface by copy on write; its result comes back in memory that both see.
"""

from __future__ import annotations

import mmap
import os
import signal
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

type Arrays = Sequence[NDArray[Any]]

# Of the arrays' lengths, which come first. Pages that nobody writes to take no memory.
_HEAD_BYTES = 2**20
_NO_MEMORY_EXIT = 12


class HelperDied(RuntimeError):
    """The second process ended without a result."""


class HelperOutOfMemory(MemoryError):
    """There was no memory for the second process: it said so, or was killed as the kernel does then."""


class Helper:
    """Runs `work` in a fork from now on; `result` waits for it. On leaving the block the process is gone.

    `work` may compute with NumPy and libraries in C only: no threads of this process live on in a fork, and locks that
    they hold stay held. It ends with this process: both are in the group that is killed together.

    Parameters
    ----------
    most_bytes : the arrays that `work` returns are not larger together.
    """

    def __init__(self, work: Callable[[], Arrays], most_bytes: int) -> None:
        self._shared = mmap.mmap(-1, most_bytes + _HEAD_BYTES)
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            self._pid = os.fork()
        if not self._pid:
            self._work(work)

    def result(self) -> list[memoryview]:
        """Wait, and return each array's bytes.

        Raises
        ------
        HelperDied, HelperOutOfMemory : there is no result.
        """
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        if status:
            ended_with = os.waitstatus_to_exitcode(status)
            kind = HelperOutOfMemory if ended_with in (-signal.SIGKILL, _NO_MEMORY_EXIT) else HelperDied
            raise kind(f"The second process of the reduction ended with {ended_with}.")
        view = memoryview(self._shared)
        count = int.from_bytes(view[:8], "little")
        ends = [_HEAD_BYTES, *np.frombuffer(view[8 : 8 + 8 * count], np.int64).tolist()]
        return [view[start:stop] for start, stop in pairwise(ends)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)

    def _work(self, work: Callable[[], Arrays]) -> None:
        """Be the second process. Never returns: what the first has set up to be cleaned is not ours."""
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._store(work())
            os._exit(0)
        except MemoryError:
            os._exit(_NO_MEMORY_EXIT)
        finally:
            os._exit(1)

    def _store(self, arrays: Arrays) -> None:
        ends = np.cumsum([array.nbytes for array in arrays], dtype=np.int64) + _HEAD_BYTES
        self._shared[:8] = len(arrays).to_bytes(8, "little")
        self._shared[8 : 8 + ends.nbytes] = ends.tobytes()
        for array, end in zip(arrays, ends.tolist(), strict=True):
            self._shared[end - array.nbytes : end] = memoryview(np.ascontiguousarray(array)).cast("B")
