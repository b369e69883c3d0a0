"""How a child process can fail: each way is an error of its own, because each has another remedy."""

from __future__ import annotations

import signal as signals
from http import HTTPStatus

from pacs.errors import ProcessError


class ProcessStartFailed(ProcessError):
    """The child could not be started at all: no interpreter, no memory, no file descriptors left."""

    code = "process-start"


class ProcessCrashed(ProcessError):
    """The child ended without an answer.

    Attributes
    ----------
    signal : what ended it (SIGSEGV, SIGABRT, SIGKILL by the kernel's out-of-memory killer ...), None if it exited.
    exit_code : its exit status if it exited, for example through os._exit, else None.
    fatal_text : Python's report of a fatal signal (which C call, in which line), for the log; may be empty.
    """

    code = "process-crashed"

    def __init__(
        self,
        function: str,
        *,
        signal: signals.Signals | None = None,
        exit_code: int | None = None,
        fatal_text: str = "",
    ) -> None:
        if signal is signals.SIGKILL:
            how, remedy = "was killed by SIGKILL", "Probably the kernel ran out of memory: see its log (dmesg)."
        elif signal is not None:
            how, remedy = f"crashed with {signal.name}", "The log has the place: a library may have a fault."
        elif exit_code is not None:
            how, remedy = f"exited with status {exit_code} without an answer", ""
        else:
            how, remedy = "stopped answering", ""
        super().__init__(f"The child process of {function} {how}.", remedy=remedy)
        self.signal = signal
        self.exit_code = exit_code
        self.fatal_text = fatal_text
        if fatal_text:
            self.add_note(fatal_text)


class ProcessTimeout(ProcessError):
    """The child was ended because its wall time was over."""

    code = "process-timeout"
    status = HTTPStatus.GATEWAY_TIMEOUT

    def __init__(self, function: str, *, wall_seconds: float) -> None:
        super().__init__(
            f"{function} was ended after {wall_seconds:g} s, the time it is given.",
            remedy="Give it more time in the settings, or less to do.",
        )
        self.wall_seconds = wall_seconds


class ProcessOutOfMemory(ProcessError):
    """The child needed more memory than its limit.

    Attributes
    ----------
    memory_bytes : the limit.
    """

    code = "process-out-of-memory"

    def __init__(self, function: str, *, memory_bytes: int) -> None:
        super().__init__(
            f"{function} needed more than {memory_bytes / 2**20:.0f} MiB of memory, its limit.",
            remedy="Raise the limit in the settings if the server has the memory, or give it less data.",
        )
        self.memory_bytes = memory_bytes


class ProcessCancelled(ProcessError):
    """Somebody cancelled the job, or its pool was stopped."""

    code = "process-cancelled"
    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, function: str) -> None:
        super().__init__(f"{function} was cancelled before it was done.")


class ProcessFailed(ProcessError):
    """The function raised. A `PacsError` of the child keeps its code, status and sentence; others are only named.

    Attributes
    ----------
    type_name : class of the child's exception, for example "ValueError".
    text : its words. They may quote values of the data: for the log, never for a page.
    traceback_text : the child's traceback; also a note of this error, so that a logged traceback shows it.
    """

    code = "process-failed"

    def __init__(self, function: str, *, type_name: str, text: str, traceback_text: str = "") -> None:
        super().__init__(f"{function} failed with {type_name}.", remedy="The log has the details.")
        self.type_name = type_name
        self.text = text
        self.traceback_text = traceback_text
        if traceback_text:
            self.add_note(traceback_text)

    def speak_as(self, code: str, status: int, message: str, remedy: str) -> None:
        """Take over what a `PacsError` raised in the child says: it was written for people."""
        self.code = code
        self.status = HTTPStatus(status)
        self.message, self.remedy = message, remedy
