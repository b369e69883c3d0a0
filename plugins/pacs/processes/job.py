"""What a child process is asked to do, and within which limits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pacs.ports import Json

_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

# Called on the thread that runs the job with the fraction done (0..1) and the stage.
type ProgressListener = Callable[[float, str], None]


class Progress(Protocol):
    """Given to the function in the child: tells how far it is. Cheap, callable from any of its threads."""

    def __call__(self, fraction: float, stage: str = "") -> None:
        """Report `fraction` (0..1, values outside are clipped) and `stage`, a short text without patient data."""


# The shape of every function that runs in a child: arguments in, JSON-able result out.
type ChildFunction = Callable[[dict[str, Json], Progress], Json]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One call of a function in a child process.

    Attributes
    ----------
    function : "package.module:function", importable in the child; its shape is `ChildFunction`.
    arguments : JSON-able; big data goes through files. Never shown in `ps`.
    wall_seconds : time from having a free child until the answer, start of the child included.
    memory_bytes : of this job alone, where that is less than the pool's limit; watched, as that is.
    """

    function: str
    arguments: Mapping[str, Json] = field(default_factory=dict)
    wall_seconds: float = 600.0
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        if not _FUNCTION.fullmatch(self.function):
            message = f"A job's function is written package.module:function, not {self.function!r}."
            raise ValueError(message)
        if not self.wall_seconds > 0:
            message = f"{self.function} must be given more than {self.wall_seconds} s."
            raise ValueError(message)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one child process may take.

    Attributes
    ----------
    memory_bytes : private writable memory of each process of the child (RLIMIT_DATA, the kernel refuses more at
        once), and anonymous plus shared memory of all its processes together (watched, then ended).
        Not RLIMIT_AS: it counts reserved addresses and mapped libraries, with VTK two to three times what is used
        (measured: 762 MB of addresses, 288 MB of data, 353 MB resident) and more with every core of the machine,
        so a limit that fits one server is wrong on the next.
    open_files : file descriptors (RLIMIT_NOFILE).
    niceness : how much the child gives way to Orthanc (0..19).
    cpu_threads : threads that numeric libraries start for themselves.
    grace_seconds : time between SIGTERM and SIGKILL when a job is cancelled or over its time.
    answer_bytes : longest answer as JSON.
    """

    memory_bytes: int = 2 * 2**30
    open_files: int = 256
    niceness: int = 10
    cpu_threads: int = 2
    grace_seconds: float = 1.0
    answer_bytes: int = 16 * 2**20
