"""Starting a child process with nothing of the parent but what it is given, and ending it."""

from __future__ import annotations

import logging
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pacs.processes.child import Setup
from pacs.processes.errors import ProcessStartFailed
from pacs.processes.job import Limits
from pacs.processes.members import MARK_VARIABLE, Membership
from pacs.processes.scratch import Scratch, remove_tree

_REAP_SECONDS = 2.0
# How numeric libraries are told how many threads to start.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VTK_SMP_MAX_THREADS", "LP_NUM_THREADS")
_log = logging.getLogger(__name__)


def _compiled_modules() -> dict[str, str]:
    """Have a child look for compiled modules where this process does: without, it compiles all that it imports."""
    return {"PYTHONPYCACHEPREFIX": sys.pycache_prefix} if sys.pycache_prefix else {}


@dataclass(frozen=True)
class Interpreter:
    """The Python of the children.

    Attributes
    ----------
    executable : the venv's interpreter. Never sys.executable: inside Orthanc that is Orthanc.
    import_paths : folders to import from beside the venv's, first of all the one that holds `pacs`.
    environment : variables to add to the few that a child gets. It inherits none of the parent's: passwords of the
        database and the like stand there. It is readable by others of the same user, so put no secret in it.
    """

    executable: Path
    import_paths: tuple[Path, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def variables(self, folder: Path, cpu_threads: int) -> dict[str, str]:
        """Return the whole environment of a child that works in `folder`."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PYTHONPATH": os.pathsep.join(map(str, self.import_paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
            **dict.fromkeys(_THREAD_VARIABLES, str(cpu_threads)),
            **_compiled_modules(),
            **self.environment,
        }


@dataclass(frozen=True)
class Wires:
    """The parent's ends: message socket, pipe of the child's output, pipe that keeps it alive while it is open."""

    channel: socket.socket
    output: int
    lifeline: int


class Child:
    """A running child process. One thread at a time talks to it; `kill` may be called from any.

    Attributes
    ----------
    pid_descriptor : readable once the process has ended (pidfd_open(2)).
    channel : the parent's end of the message socket, non-blocking.
    output : the reading end of its standard output and error, non-blocking.
    jobs : how many jobs it was given so far.
    """

    def __init__(self, process: subprocess.Popen[bytes], mark: str, wires: Wires, folder: Path) -> None:
        self.pid = process.pid
        self.pid_descriptor = os.pidfd_open(process.pid)
        self.members = Membership(process.pid, mark)
        self.channel = wires.channel
        self.output = wires.output
        self.jobs = 0
        self.idle_since = time.monotonic()
        self._process = process
        self._lifeline = wires.lifeline
        self._folder = folder
        self._signal_lock = threading.Lock()  # between a signal to the group and the reaping that frees its number

    def is_running(self) -> bool:
        """Whether the process lives."""
        return not self.ends_within(0)

    def ends_within(self, seconds: float) -> bool:
        """Wait until it has ended, `seconds` at most; whether it has."""
        poll = select.poll()
        poll.register(self.pid_descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def how_it_ended(self) -> tuple[signal.Signals | None, int | None]:
        """Return the signal that ended it or its exit status, both None if that can't be told. It must have ended."""
        with suppress(ChildProcessError):
            # WNOWAIT: it stays a zombie, so that the number of its group can't become somebody else's before `dispose`.
            ended = os.waitid(os.P_PIDFD, self.pid_descriptor, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if ended is not None:
                is_exit = ended.si_code == os.CLD_EXITED
                return (None, ended.si_status) if is_exit else (signal.Signals(ended.si_status), None)
        return None, None

    def terminate(self, grace_seconds: float) -> None:
        """Send SIGTERM to its process group and wait until it has ended, `grace_seconds` at most."""
        self._signal_group(signal.SIGTERM)
        self.ends_within(grace_seconds)

    def kill(self) -> None:
        """Send SIGKILL to its process group and don't wait."""
        self._signal_group(signal.SIGKILL)

    def dispose(self) -> None:
        """End it and everything it started, wait for it, give all back. Call once, as the last thing."""
        self.kill()
        self.members.kill()
        with suppress(subprocess.TimeoutExpired):
            self.ends_within(_REAP_SECONDS)
            with self._signal_lock:
                self._process.wait(0)
        if self._process.returncode is None:
            _log.error("A child process does not end, not even by SIGKILL", extra={"child_pid": self.pid})
        self.channel.close()
        for descriptor in (self.output, self._lifeline, self.pid_descriptor):
            os.close(descriptor)
        remove_tree(self._folder)

    def _signal_group(self, number: signal.Signals) -> None:
        with self._signal_lock, suppress(ProcessLookupError):
            if self._process.returncode is None:
                os.killpg(self.pid, number)


def start_child(interpreter: Interpreter, limits: Limits, preload: Sequence[str], scratch: Scratch) -> Child:
    """Start a child that waits for jobs, with a folder of its own in `scratch`.

    No `preexec_fn`: between fork and exec of a process with many threads nothing of Python may run. The child
    confines itself, see `pacs.processes.confinement`.

    Raises
    ------
    ProcessStartFailed : the interpreter can't be run, or the machine has no room for one more process.
    """
    try:
        return _start(interpreter, limits, preload, scratch.new_folder())
    except OSError as fault:
        raise ProcessStartFailed(
            f"A child process with {interpreter.executable} can't be started: {fault.strerror}.",
            remedy="Check that the virtual environment is there, and the room on disk and the limits of the service.",
        ) from fault


def _start(interpreter: Interpreter, limits: Limits, preload: Sequence[str], folder: Path) -> Child:
    mark = secrets.token_hex(16)
    with ExitStack() as on_failure, ExitStack() as always:
        on_failure.callback(remove_tree, folder)
        ours, theirs = socket.socketpair()
        on_failure.callback(ours.close)
        always.callback(theirs.close)
        output, their_output = _pipe(on_failure, always)
        their_lifeline, lifeline = _pipe(always, on_failure)
        setup = Setup(theirs.fileno(), their_lifeline, limits, list(preload))
        process = subprocess.Popen(
            # -P: no import from the working directory; -s: none from the home folder.
            [interpreter.executable, "-P", "-s", "-m", "pacs.processes.child", setup.as_json()],
            stdin=subprocess.DEVNULL,
            stdout=their_output,
            stderr=their_output,
            pass_fds=(theirs.fileno(), their_lifeline),
            cwd=folder,
            env={**interpreter.variables(folder, limits.cpu_threads), MARK_VARIABLE: mark},
            start_new_session=True,
        )
        ours.setblocking(False)  # noqa: FBT003 - takes it by position only
        os.set_blocking(output, False)
        child = Child(process, mark, Wires(ours, output, lifeline), folder)
        on_failure.pop_all()
        return child


def _pipe(closes_reader: ExitStack, closes_writer: ExitStack) -> tuple[int, int]:
    reader, writer = os.pipe()
    closes_reader.callback(os.close, reader)
    closes_writer.callback(os.close, writer)
    return reader, writer
