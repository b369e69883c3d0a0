"""MLLP: messages between a start byte (VT) and an end (FS CR) on a stream of bytes.

Source: HL7 v2 transport specification, MLLP release 1; what is tolerated beyond it is what senders do.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from enum import StrEnum

from pacs.hl7.errors import APPLICATION_INTERNAL_ERROR, SEGMENT_SEQUENCE_ERROR, Fault

_START = b"\x0b"
_END = b"\x1c\r"
# What ends a frame, or could with the bytes that come next; any other VT or FS belongs to a text. One pattern, so that
# a frame full of such bytes costs no more time than any other.
_MARK = re.compile(
    rb"[\x0b\x1c](?:"
    rb"(?<=\x1c)(?:(?P<end>[\r\n])|(?P<end_alone>(?=\x0b))|(?P<lone_end>\Z))|"
    rb"(?<=\x0b)(?:(?P<next_start>(?=MSH|FHS|BHS))|(?P<undecided>(?:M|MS|F|FH|B|BH)?\Z)))"
)
_OPENING = re.compile(rb"(?:MSH|FHS|BHS)[!-/:-@\[-`{-~]")
_OPENING_BYTES = 4
_HEAD_BYTES = 64 * 1024


class Ending(StrEnum):
    """What told that a frame was over."""

    END = "end"  # FS CR, as it should be
    END_ALONE = "end-alone"  # FS without CR
    NEXT_START = "next-start"  # the next message began: this one may have been cut off
    TOO_LONG = "too-long"  # more bytes than a peer may send


_ENDINGS = {"end": Ending.END, "end_alone": Ending.END_ALONE, "next_start": Ending.NEXT_START}


@dataclass(frozen=True, slots=True)
class Frame:
    """What came between a start and an end.

    Attributes
    ----------
    raw : the message's bytes; of one that is too long the first 64 KiB, enough to answer it.
    junk_bytes_before : bytes other than line ends that came before the start and belong to no frame.
    """

    raw: bytes
    junk_bytes_before: int
    ended_by: Ending

    @property
    def fault(self) -> Fault | None:
        """Return why this frame must not be taken for a message, whatever stands in it."""
        if self.ended_by is Ending.NEXT_START:
            text = "The message has no end: FS CR expected, the start of another message found."
            return Fault(SEGMENT_SEQUENCE_ERROR, "", text, rejects=True)
        if self.ended_by is Ending.TOO_LONG:
            return Fault(APPLICATION_INTERNAL_ERROR, "", "The message is longer than this peer may send.", rejects=True)
        return None


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """What a peer may send.

    Attributes
    ----------
    message_bytes : of one frame.
    lone_end_seconds : silence after an FS without CR that makes it the end; None to wait for the CR for ever.
    """

    message_bytes: int = 64 * 1024 * 1024
    lone_end_seconds: float | None = 0.2


class MllpFramer:
    """Cuts one connection's bytes into frames, whatever packets they come in. Each byte is looked at once.

    Tolerated: bytes before a start (skipped and counted), a message without start, FS without CR (before the next
    start or after a silence, see `check_timeout`), a message without end when the next one starts, VT or FS inside a
    text. After a frame that is too long the framer goes on with the next start. One framer a connection, one thread
    at a time.
    """

    def __init__(self, limits: FrameLimits = FrameLimits()) -> None:
        self.limits = limits
        self._buffer = bytearray()
        self._searched = 0
        self._is_inside = False
        self._junk_bytes = 0
        self._lone_end_since: float | None = None
        self._started_at: float | None = None

    @property
    def pending_bytes(self) -> int:
        """Return how many bytes wait for the end of their frame."""
        return len(self._buffer)

    @property
    def junk_bytes(self) -> int:
        """Return how many bytes since the last frame belong to none."""
        return self._junk_bytes

    @property
    def started_at(self) -> float | None:
        """Return when (`time.monotonic`) the waiting frame began; None when none waits."""
        return self._started_at

    @property
    def timeout_at(self) -> float | None:
        """Return when `check_timeout` has to be called next; None when nothing waits for a silence."""
        if self._lone_end_since is None or self.limits.lone_end_seconds is None:
            return None
        return self._lone_end_since + self.limits.lone_end_seconds

    def feed(self, data: bytes, now: float | None = None) -> list[Frame]:
        """Take what came at `now` (`time.monotonic()`) and return the frames that it completes, in their order."""
        now = time.monotonic() if now is None else now
        self._buffer += data
        self._lone_end_since = None
        frames: list[Frame] = []
        while (frame := self._next_frame(now)) is not None:
            frames.append(frame)
            self._started_at = None
        is_waiting = self._is_inside or len(self._buffer) >= _OPENING_BYTES
        self._started_at = (self._started_at or now) if is_waiting else None
        return frames

    def check_timeout(self, now: float | None = None) -> list[Frame]:
        """Return the frame that ended in an FS alone, once the silence after it was long enough."""
        deadline = self.timeout_at
        if deadline is None or (time.monotonic() if now is None else now) < deadline:
            return []
        self._lone_end_since = self._started_at = None
        return [self._cut(len(self._buffer) - 1, 1, Ending.END_ALONE)]

    def _next_frame(self, now: float) -> Frame | None:
        if not self._is_inside and (unstarted := self._seek_start()):
            return unstarted
        found = self._seek_end(now) if self._is_inside else None
        if found is None and len(self._buffer) > self.limits.message_bytes:
            return self._cut(len(self._buffer), 0, Ending.TOO_LONG)
        return found

    def _seek_start(self) -> Frame | None:
        """Drop what stands before the next start; return a message that came without one."""
        buffer = self._buffer
        start = buffer.find(_START, self._searched)
        opening = _OPENING.search(buffer, 0, start if start >= 0 else len(buffer))
        if opening is not None:
            self._drop(opening.start())
            start -= opening.start() if start >= 0 else 0
            end = buffer.find(_END, max(self._searched - 1, 0), start if start >= 0 else len(buffer))
            if end >= 0:
                return self._cut(end, len(_END), Ending.END)
        if start >= 0:
            self._drop(start + 1, is_start=True)
            self._is_inside = True
        else:
            self._drop(0 if opening else max(len(buffer) - _OPENING_BYTES + 1, 0))
            self._searched = len(buffer)
        return None

    def _seek_end(self, now: float) -> Frame | None:
        while mark := _MARK.search(self._buffer, self._searched):
            at = self._searched = mark.start()
            if mark.lastgroup == "lone_end":
                self._lone_end_since = now
                return None
            if mark.lastgroup == "undecided":
                return None
            if mark.lastgroup == "next_start" and at == 0:  # a start sent twice
                self._drop(1)
                continue
            return self._cut(at, mark.end() - at, _ENDINGS[mark.lastgroup or ""])
        self._searched = len(self._buffer)
        return None

    def _cut(self, length: int, end_length: int, ending: Ending) -> Frame:
        """Take a frame and its end off the buffer, without a second copy of it."""
        self._is_inside = ending is Ending.NEXT_START
        if length > self.limits.message_bytes:
            ending = Ending.TOO_LONG
        kept = min(length, _HEAD_BYTES) if ending is Ending.TOO_LONG else length
        with memoryview(self._buffer) as view, view[:kept] as part:
            frame = Frame(bytes(part), self._junk_bytes, ending)
        self._junk_bytes = self._searched = 0
        del self._buffer[: length + end_length]
        return frame

    def _drop(self, count: int, *, is_start: bool = False) -> None:
        """Take off bytes that belong to no frame; line ends between frames are no junk."""
        dropped = bytes(self._buffer[: count - is_start])
        self._junk_bytes += len(dropped) - sum(map(dropped.count, (b"\r", b"\n")))
        self._searched = max(self._searched - count, 0)
        del self._buffer[:count]


def frame(raw: bytes) -> bytes:
    """Return a message as it is sent: between VT and FS CR."""
    return _START + raw + _END
