"""How much memory this process has needed at most, and giving back what it needs no more."""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def give_back() -> None:
    """Return freed memory to the system, which the C library keeps for itself otherwise (malloc_trim(3))."""
    with suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def forget_peak() -> None:
    """Begin anew: a warm process did other jobs before (proc(5), clear_refs, 5)."""
    give_back()
    with suppress(OSError):
        _CLEAR.write_text("5")


def peak_bytes() -> int:
    """Return the highest resident memory since `forget_peak`, or since the process began where that is not allowed."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
