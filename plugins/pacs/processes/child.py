"""The program of a child process: `python -m pacs.processes.child SETUP`, started by `pacs.processes.launcher` only.

SETUP is JSON (`Setup`). The job itself comes over a socket, so that its arguments never stand in `ps`.
The process serves one job after the other until the parent closes the socket or kills it. It leaves by
os._exit: libraries in C may crash while they are torn down, and the answer is given by then.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from types import FrameType
from typing import NoReturn, cast

from pacs.errors import PacsError
from pacs.processes.confinement import confine, end_with_parent
from pacs.processes.job import ChildFunction, Limits, Progress
from pacs.processes.log_relay import RelayHandler, apply_levels
from pacs.processes.messages import Advanced, Done, Failed, Message, Run, Started, decode, encode

_PROGRESS_INTERVAL_SECONDS = 0.05
_TERMINATED_EXIT = 128 + signal.SIGTERM
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setup:
    """What a child is told when it is started.

    Attributes
    ----------
    channel : file descriptor of its socket to the parent.
    lifeline : file descriptor of the pipe whose other end only the parent holds.
    preload : modules to import before the first job, to have them warm.
    """

    channel: int
    lifeline: int
    limits: Limits = field(default_factory=Limits)
    preload: list[str] = field(default_factory=list)

    def as_json(self) -> str:
        """Return the text for the command line."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> Setup:
        """Read the text of `as_json`."""
        content = json.loads(text)
        return cls(**{**content, "limits": Limits(**content["limits"])})


class Terminated(BaseException):
    """SIGTERM came: the function's `finally` blocks run, then the process ends. Not an `Exception` on purpose."""


class AnswerTooLong(ValueError):
    """The function returned more than the parent takes."""

    def __init__(self, found_bytes: int, allowed_bytes: int) -> None:
        super().__init__(f"The answer has {found_bytes} bytes, allowed are {allowed_bytes}: use a file for big data.")


class Channel:
    """Messages to and from the parent. `send` may be called from any thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Send `message`; waits while the parent is busy."""
        self.send_line(encode(message))

    def send_line(self, line: bytes) -> None:
        """Send a message that is encoded already."""
        with self._lock:
            self._connection.sendall(line)

    def receive(self) -> Run | None:
        """Wait for the next request; None when the parent wants no more."""
        line = self._lines.readline()
        return cast("Run", decode(line)) if line.endswith(b"\n") else None


class ProgressReport:
    """The `Progress` given to the function; reports that follow each other too fast are left out."""

    def __init__(self, send: Callable[[Message], None], job: int) -> None:
        self._send = send
        self._job = job
        self._last: tuple[float, str] = (-math.inf, "")

    def __call__(self, fraction: float, stage: str = "") -> None:
        """See `pacs.processes.Progress`."""
        moment, (last_moment, last_stage) = time.monotonic(), self._last
        clipped = min(max(float(fraction), 0.0), 1.0)
        is_soon = moment - last_moment < _PROGRESS_INTERVAL_SECONDS
        if math.isnan(clipped) or (is_soon and stage == last_stage and clipped < 1.0):
            return
        self._last = (moment, stage)
        self._send(Advanced(self._job, clipped, stage))


def main(setup: Setup) -> NoReturn:
    """Serve until the parent wants no more."""
    status = 0
    try:
        _become_a_child(setup)
        channel = Channel(socket.socket(fileno=setup.channel))
        logging.getLogger().addHandler(RelayHandler(channel.send))
        _preload(setup.preload)
        while (request := channel.receive()) is not None:
            _serve(request, channel, setup.limits.answer_bytes)
    except Terminated:
        status = _TERMINATED_EXIT
    except BrokenPipeError:
        status = 1
    except BaseException:  # noqa: BLE001 - the top of this process; the parent reads standard error
        traceback.print_exc()
        status = 1
    _leave(status)


def _become_a_child(setup: Setup) -> None:
    for descriptor in (setup.channel, setup.lifeline):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - takes it by position only
    end_with_parent(setup.lifeline)
    signal.signal(signal.SIGTERM, _on_sigterm)
    # Orthanc blocks signals in its threads and a child inherits that.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    faulthandler.enable()
    confine(setup.limits)


def _on_sigterm(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break into the finally blocks
    raise Terminated


def _preload(modules: list[str]) -> None:
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception:  # noqa: BLE001 - the job that needs it tells what is wrong
            _log.warning("A module to preload can't be imported", extra={"preload": module}, exc_info=True)


def _serve(request: Run, channel: Channel, answer_bytes: int) -> None:
    out_of_memory = encode(Failed(request.job, MemoryError.__name__))  # made while there is memory
    channel.send(Started(request.job))
    apply_levels(request.log_levels)
    try:
        answer = _answer(request, ProgressReport(channel.send, request.job), answer_bytes)
    except MemoryError:
        answer = out_of_memory
    sys.stdout.flush()
    channel.send_line(answer)


def _answer(request: Run, progress: Progress, answer_bytes: int) -> bytes:
    try:
        answer = encode(Done(request.job, _resolve(request.function)(request.arguments, progress)))
    except (Terminated, MemoryError):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever the function raised is its answer, SystemExit too
        return encode(_failure(request.job, error))
    if len(answer) > answer_bytes:
        return encode(_failure(request.job, AnswerTooLong(len(answer), answer_bytes)))
    return answer


def _resolve(name: str) -> ChildFunction:
    module_name, _, function_name = name.partition(":")
    return cast("ChildFunction", getattr(importlib.import_module(module_name), function_name))


def _failure(job: int, error: BaseException) -> Failed:
    trace = "".join(traceback.format_exception(error))
    failure = Failed(job, type(error).__name__, text=str(error), trace=trace)
    if not isinstance(error, PacsError):
        return failure
    return Failed(
        **{
            **vars(failure),
            "code": error.code,
            "status": int(error.status),
            "message": error.message,
            "remedy": error.remedy,
        }
    )


def _leave(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main(Setup.of_json(sys.argv[1]))
