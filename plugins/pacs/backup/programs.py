"""The programs that do the work, run so that none of them outlives us and all of them leave the machine to others."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pacs.backup.errors import ProgramError

type Command = Sequence[str | Path]

_PR_SET_PDEATHSIG = 1
_LAST_CHARACTERS = 600
# The most that a user may ask for: programs that feed one another wait less often than with the usual 64 KB.
_PIPE_BYTES = 1024 * 1024
_LOGIN = re.compile(r"://[^@/\s]+@")
_libc = ctypes.CDLL(None)


def end_with_parent() -> None:
    """Have the kernel end the program when we end, whatever way: a killed run leaves nobody writing."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def be_modest() -> None:
    """Let everybody else on this machine go first: processor and disk, for us and all that we start."""
    os.nice(19 - os.nice(0))
    subprocess.run(["ionice", "-c", "3", "-p", str(os.getpid())], check=False, capture_output=True)


def as_owner(path: Path, command: Command) -> Command:
    """Return the command line that runs a command as the owner of a folder, where we are root: files stay theirs."""
    facts = path.stat()
    if os.geteuid() != 0 or facts.st_uid == 0:
        return command
    # The kernel lets go of end_with_parent where the user changes.
    user = [f"--reuid={facts.st_uid}", f"--regid={facts.st_gid}", "--clear-groups", "--pdeathsig=KILL"]
    return ["setpriv", *user, "--", *command]


def run(
    command: Command, *, folder: Path | None = None, environment: Mapping[str, str] | None = None, given: str = ""
) -> str:
    """Run a program to its end and return what it printed.

    Parameters
    ----------
    folder : where it runs.
    environment : laid over ours.
    given : its standard input.

    Raises
    ------
    ProgramError : it ended with a fault, or is not there.
    """
    with start(command, folder=folder, environment=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        printed, said = child.communicate(given.encode())
    require_success(command, child.returncode, said)
    return printed.decode(errors="replace")


def require_success(command: Command, status: int, said: bytes) -> None:
    """Raise ProgramError with a program's last words unless its status is 0."""
    if status != 0:
        words = _LOGIN.sub("://", said.decode(errors="replace")).strip()[-_LAST_CHARACTERS:]
        raise ProgramError(Path(command[0]).name, status, words)


def _widen(child: subprocess.Popen[bytes]) -> None:
    """Let its pipes hold more, as far as the kernel gives this user so much (fs.pipe-user-pages-soft)."""
    for pipe in filter(None, (child.stdin, child.stdout)):
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


@contextmanager
def start(
    command: Command,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program while the block runs; what is left of it at the end is killed. Raise ProgramError: not there."""
    try:
        child = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - one call into the kernel, no lock, no allocation
        )
    except OSError as error:
        raise ProgramError(str(command[0]), -1, str(error.strerror)) from None
    with child:
        _widen(child)
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()
