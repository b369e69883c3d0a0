"""What a child prints: kept short, logged for debugging only, searched for the last words of a crash."""

from __future__ import annotations

import logging
import os

_KEPT_BYTES = 65536
_READ_BYTES = 65536
# How Python (faulthandler), a failed start and C++ say why the process dies.
_FATAL_START = b"Fatal Python error"
_OUT_OF_MEMORY_WORDS = (b"std::bad_alloc", b"MemoryError", b"Cannot allocate memory")
_log = logging.getLogger(__name__)


class OutputTail:
    """The end of a child's standard output and error.

    The lines go to the log at DEBUG only: a library may print values of the data.
    """

    def __init__(self, child_pid: int) -> None:
        self._child_pid = child_pid
        self._tail = bytearray()

    def read(self, descriptor: int) -> bool:
        """Read what there is in the non-blocking pipe `descriptor`; False at its end."""
        data = os.read(descriptor, _READ_BYTES)
        self._tail = (self._tail + data)[-_KEPT_BYTES:]
        if data and _log.isEnabledFor(logging.DEBUG):
            for line in data.decode(errors="backslashreplace").splitlines():
                _log.debug("%s", line, extra={"child_pid": self._child_pid})
        return bool(data)

    def read_all(self, descriptor: int) -> None:
        """Read until there is nothing more for now."""
        try:
            while self.read(descriptor):
                pass
        except BlockingIOError:
            pass

    def fatal_text(self) -> str:
        """Return the report of a fatal signal, if it is there: function names and line numbers, no values."""
        start = self._tail.find(_FATAL_START)
        return "" if start < 0 else self._tail[start:].decode(errors="backslashreplace")

    def tells_out_of_memory(self) -> bool:
        """Whether the last words are those of a library that got no memory."""
        return any(words in self._tail for words in _OUT_OF_MEMORY_WORDS)
