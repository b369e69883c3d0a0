"""Which processes belong to a child, what memory they use, and how to end all of them. Reads /proc."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Set in the environment of a child and so in that of everything it starts, even what made a session of its own.
MARK_VARIABLE = "PACS_PROCESS_MARK"
_PROC = Path("/proc")
_STATE_FIELD, _SESSION_FIELD = 0, 3  # of /proc/[pid]/stat behind the name, see proc_pid_stat(5)
_ENDED_STATES = ("Z", "X")
_KILL_ROUNDS = 10


@dataclass(frozen=True)
class Membership:
    """How to know the processes of one child: its session, or its mark in their environment.

    Attributes
    ----------
    session : id of the session, which is the child's process id.
    mark : random text that no other process has in its environment.
    """

    session: int
    mark: str

    def process_ids(self) -> list[int]:
        """Return the living processes, the child itself included. Takes some milliseconds: it looks at all."""
        return [pid for pid in _all_process_ids() if self._has(pid)]

    def kill(self) -> None:
        """End every living process with SIGKILL. Repeats, because processes may start others meanwhile."""
        for _ in range(_KILL_ROUNDS):
            found = self.process_ids()
            if not found:
                return
            for pid in found:
                self._kill_one(pid)

    def _has(self, pid: int) -> bool:
        try:
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            if fields[_STATE_FIELD] in _ENDED_STATES:
                return False
            if int(fields[_SESSION_FIELD]) == self.session:
                return True
            return f"{MARK_VARIABLE}={self.mark}".encode() in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except (OSError, IndexError):  # ended meanwhile, or somebody else's
            return False

    def _kill_one(self, pid: int) -> None:
        with suppress(OSError):
            descriptor = os.pidfd_open(pid)
            try:
                # Looked at again behind the descriptor: the number may belong to another process by now.
                if self._has(pid):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            finally:
                os.close(descriptor)


def resident_bytes(process_ids: Iterable[int]) -> int:
    """Return the anonymous, shared and swapped-out memory of the processes together.

    Mapped files are left out: the kernel takes their pages back when it needs them. Pages that forked processes
    share count for each of them.
    """
    return sum(_held_bytes(pid) for pid in process_ids)


def _all_process_ids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()]


def _held_bytes(pid: int) -> int:
    kibibytes = 0
    with suppress(OSError):
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("RssAnon", "RssShmem", "VmSwap"):
                kibibytes += int(value.split()[0])
    return kibibytes * 1024
