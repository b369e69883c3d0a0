"""How much memory this process has needed at most, and giving back what it needs no more."""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# mallopt(3): arrays from so many bytes on go back to the system at once, and threads have no heaps of their own, of
# which each would keep what it needed once. A slab of voxels (8 MB) is smaller: its pages serve the next one.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE_BYTES = 12 * 2**20


def keep_little() -> None:
    """Have the C library keep less of what was freed. To be called before threads are started."""
    with suppress(AttributeError):  # another C library than glibc
        library = ctypes.CDLL(None)
        library.mallopt(_ARENA_MAX, 1)
        library.mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        library.mallopt(_TRIM_THRESHOLD, 2 * _LARGE_BYTES)


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
