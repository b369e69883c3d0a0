"""What a child does to itself before anything else: limits, and its end when the parent ends."""

from __future__ import annotations

import fcntl
import os
import resource
import select
import signal
from contextlib import suppress
from pathlib import Path

from pacs.processes.job import Limits

# Of the kernel's out-of-memory killer: it shall take a child before Orthanc or the database (range -1000..1000).
_OOM_SCORE = 800
_ARMED_TOO_LATE_EXIT = 1


def confine(limits: Limits) -> None:
    """Apply `limits` to the calling process and all it will start.

    Core dumps are off (they would write images to disk) and new files are for the owner only.
    """
    with suppress(OSError):  # a sandbox without /proc/self/oom_score_adj takes nothing else from us
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
    os.umask(0o077)
    _give_way(limits.niceness)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, limits.open_files)
    _lower(resource.RLIMIT_DATA, limits.memory_bytes)


def _give_way(niceness: int) -> None:
    """Be scheduled after Orthanc.

    A session of its own, which each child is, competes as a whole with others where Linux groups them by session
    (autogroup, sched(7)): its weight counts then, not the process's. A service's sandbox may forbid setpriority(2).
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(niceness, os.getpriority(os.PRIO_PROCESS, 0)))
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness))


def _lower(kind: int, wanted: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (value, value))


def end_with_parent(lifeline: int) -> None:
    """Have the kernel kill the calling process group when the other end of the pipe `lifeline` closes.

    Only the parent holds that end and nothing is ever written to it, so it closes when the parent ends, also by
    SIGKILL. A signal on input (fcntl(2), F_SETSIG with O_ASYNC) needs no thread and no interpreter lock here: it
    works while C code computes. PR_SET_PDEATHSIG would not do: it acts when the *thread* that started us ends.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    if poll.poll(0):  # closed before the signal was set up
        os._exit(_ARMED_TOO_LATE_EXIT)
