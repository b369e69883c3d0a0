"""One job on one child: sends the request, listens, watches time and memory, until there is an answer or an end.

All on the thread that asked. It waits in one `select` for messages, output, the end of the process and a
cancellation, so nothing is polled but memory.
"""

from __future__ import annotations

import logging
import os
import selectors
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from pacs.ports import Json
from pacs.processes.cancellation import Cancellation
from pacs.processes.errors import ProcessCancelled, ProcessCrashed, ProcessFailed, ProcessOutOfMemory, ProcessTimeout
from pacs.processes.job import Job, Limits, ProgressListener
from pacs.processes.launcher import Child
from pacs.processes.log_relay import current_levels, replay
from pacs.processes.members import resident_bytes
from pacs.processes.messages import (
    Advanced,
    Done,
    Failed,
    GarbledMessage,
    Logged,
    Message,
    Run,
    Started,
    decode,
    encode,
)
from pacs.processes.output import OutputTail

_READ_BYTES = 65536
_MEMORY_INTERVAL_SECONDS = 0.5
_SILENT_SECONDS = 1.0  # for a child that closed its line but still runs
_LONGEST_LOG_BYTES = 2**20
_log = logging.getLogger(__name__)


class NeverStarted(ProcessCrashed):
    """The child ended before it had read the request, so the job can be given to another."""


class Conversation:
    """The state of one job on one child. Use once: `Conversation(...).run()`."""

    def __init__(
        self,
        child: Child,
        job: Job,
        limits: Limits,
        on_progress: ProgressListener | None,
        cancellation: Cancellation,
    ) -> None:
        self._child = child
        self._job = job
        self._limits = limits
        self._memory_bytes = min(limits.memory_bytes, job.memory_bytes or limits.memory_bytes)
        self._on_progress = on_progress
        self._cancellation = cancellation
        self._deadline = time.monotonic() + job.wall_seconds
        self._next_memory_look = time.monotonic() + _MEMORY_INTERVAL_SECONDS
        self._incoming = bytearray()
        self._tail = OutputTail(child.pid)
        self._is_started = False
        self._answer: Done | Failed | None = None
        child.jobs += 1
        self._number = child.jobs
        request = Run(self._number, job.function, dict(job.arguments), current_levels())
        self._outgoing = memoryview(encode(request))

    def run(self) -> Json:
        """Hold the conversation; whatever it raises but `ProcessFailed` leaves the child to be ended by the caller.

        Returns
        -------
        What the function returned.

        Raises
        ------
        ProcessError : one of the kinds in `pacs.processes.errors`.
        """
        with self._selector() as selector:
            while self._answer is None:
                self._check()
                for key, events in selector.select(self._patience_seconds()):
                    key.data(selector, events)
        self._check_cancelled()
        return self._result(self._answer)

    @contextmanager
    def _selector(self) -> Iterator[selectors.BaseSelector]:
        alarm = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            with (
                selectors.DefaultSelector() as selector,
                self._cancellation.calling(lambda: os.eventfd_write(alarm, 1)),
            ):
                selector.register(alarm, selectors.EVENT_READ, lambda *_: self._check_cancelled())
                selector.register(self._child.channel, selectors.EVENT_READ | selectors.EVENT_WRITE, self._on_channel)
                selector.register(self._child.output, selectors.EVENT_READ, self._on_output)
                selector.register(self._child.pid_descriptor, selectors.EVENT_READ, self._on_end)
                yield selector
        finally:
            os.close(alarm)

    def _patience_seconds(self) -> float:
        return max(0.0, min(self._deadline, self._next_memory_look) - time.monotonic())

    def _check(self) -> None:
        self._check_cancelled()
        moment = time.monotonic()
        if moment >= self._deadline:
            raise ProcessTimeout(self._job.function, wall_seconds=self._job.wall_seconds)
        if moment >= self._next_memory_look:
            if resident_bytes(self._child.members.process_ids()) > self._memory_bytes:
                raise self._out_of_memory()
            self._next_memory_look = time.monotonic() + _MEMORY_INTERVAL_SECONDS

    def _check_cancelled(self) -> None:
        if self._cancellation.is_cancelled:
            raise ProcessCancelled(self._job.function)

    def _on_channel(self, selector: selectors.BaseSelector, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self._send_more(selector)
            if events & selectors.EVENT_READ and not self._receive():
                self._on_silence(selector)
        except (BrokenPipeError, ConnectionResetError):
            self._on_silence(selector)

    def _send_more(self, selector: selectors.BaseSelector) -> None:
        self._outgoing = self._outgoing[self._child.channel.send(self._outgoing) :]
        if not self._outgoing:
            selector.modify(self._child.channel, selectors.EVENT_READ, self._on_channel)

    def _on_silence(self, selector: selectors.BaseSelector) -> None:
        """Find out why the line is closed: the process ends, or the function closed what is not its own."""
        selector.unregister(self._child.channel)
        if self._answer is None and not self._child.ends_within(_SILENT_SECONDS):
            raise ProcessCrashed(self._job.function)

    def _receive(self) -> bool:
        """Read what there is; False at the end of the line."""
        data = self._child.channel.recv(_READ_BYTES)
        self._incoming += data
        if b"\n" in data:
            *lines, self._incoming = self._incoming.split(b"\n")
            for line in lines:
                self._hear(self._decoded(bytes(line)))
        if len(self._incoming) > self._limits.answer_bytes + _LONGEST_LOG_BYTES:
            self._refuse("a message without end")
        return bool(data)

    def _decoded(self, line: bytes) -> Message:
        try:
            return decode(line)
        except GarbledMessage as fault:
            self._refuse(str(fault))

    def _refuse(self, what: str) -> NoReturn:
        raise ProcessFailed(self._job.function, type_name=GarbledMessage.__name__, text=what)

    def _hear(self, message: Message) -> None:
        match message:
            case Logged():
                replay(message, child_pid=self._child.pid)
            case Started() | Advanced() | Done() | Failed() if message.job != self._number:
                _log.debug("Late word of an earlier job", extra={"child_pid": self._child.pid})
            case Started():
                self._is_started = True
            case Advanced():
                if self._on_progress is not None and self._answer is None:
                    self._on_progress(message.fraction, message.stage)
            case Done() | Failed():
                self._answer = message

    def _on_output(self, selector: selectors.BaseSelector, _events: int) -> None:
        if not self._tail.read(self._child.output):
            selector.unregister(self._child.output)

    def _on_end(self, selector: selectors.BaseSelector, _events: int) -> None:
        """Hear what the process said before it ended, then judge."""
        selector.unregister(self._child.pid_descriptor)
        try:
            while self._answer is None and self._receive():
                pass
        except (BlockingIOError, ConnectionResetError):
            pass
        self._tail.read_all(self._child.output)
        if self._answer is None:
            raise self._crash()

    def _crash(self) -> ProcessCrashed | ProcessOutOfMemory:
        if self._tail.tells_out_of_memory():
            return self._out_of_memory()
        kind = ProcessCrashed if self._is_started else NeverStarted
        signal, exit_code = self._child.how_it_ended()
        return kind(self._job.function, signal=signal, exit_code=exit_code, fatal_text=self._tail.fatal_text())

    def _out_of_memory(self) -> ProcessOutOfMemory:
        return ProcessOutOfMemory(self._job.function, memory_bytes=self._memory_bytes)

    def _result(self, answer: Done | Failed) -> Json:
        if isinstance(answer, Done):
            return answer.result
        if answer.type_name == MemoryError.__name__:
            raise self._out_of_memory()
        error = ProcessFailed(
            self._job.function, type_name=answer.type_name, text=answer.text, traceback_text=answer.trace
        )
        if answer.code:
            error.speak_as(answer.code, answer.status, answer.message, answer.remedy)
        raise error
