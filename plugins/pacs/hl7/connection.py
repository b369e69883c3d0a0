"""One sender's connection: bytes in, frames on, answers out."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Protocol, cast

from pacs.hl7.errors import APPLICATION_INTERNAL_ERROR, SEGMENT_SEQUENCE_ERROR, Fault
from pacs.hl7.framing import Frame, FrameLimits, MllpFramer, frame
from pacs.hl7.peers import Peer
from pacs.hl7.settings import PeerSettings

# After the last answer the rest of what the sender says is read and thrown away: closed at once, it would lose it.
_DRAIN_SECONDS = 2.0
_END = b"\x1c\r"
# A sender that says the next thing so soon after an answer has been waiting for it.
_PRESSED_SECONDS = 0.003
_LATE = Fault(SEGMENT_SEQUENCE_ERROR, "", "The message did not end in time.", rejects=True)
_ENDED = Fault(SEGMENT_SEQUENCE_ERROR, "", "The connection ended before the message did.", rejects=True)
CROWDED = Fault(APPLICATION_INTERNAL_ERROR, "", "There are too many connections. Connect again later.", rejects=True)


class Receiver(Protocol):
    """What a connection tells of."""

    def admit(self, connection: Connection) -> bool:
        """Tell whether a connection may stay."""

    def take(self, connection: Connection, raw: bytes, fault: Fault | None) -> None:
        """Take what came, and why it must be refused if it must; its answer follows by `Connection.answer`."""

    def skip(self, junk_bytes: int) -> None:
        """Take note of bytes that belong to no message."""

    def forget(self, connection: Connection) -> None:
        """Take note that a connection has ended."""


class Connection(asyncio.Protocol):
    """The callbacks of asyncio for one connection, all in the server's thread.

    Parameters
    ----------
    address : of who calls, where another program (NGINX) passes the connection on; else it is the connection's own.

    Attributes
    ----------
    candidates : the peers that may be calling from `address`; of the first one the limits count.
    useful_at : when (`time.monotonic`) it last completed a message, or began.
    messages : how many it has completed.
    unanswered : how many of these wait for their answer.
    is_pressed : its newest message came at once after the answer before, or even before it: the sender waits for us.
    """

    def __init__(self, receiver: Receiver, address: str = "") -> None:
        self._receiver = receiver
        self._framer = MllpFramer()
        self._transport: asyncio.Transport | None = None
        self._drain_until: float | None = None
        self._has_ended = False
        # Nothing is read while either holds: the server has enough to do, or the sender does not read its answers.
        self._is_paused = self._is_unread = False
        self.address = address
        self.candidates: Sequence[Peer] = ()
        self.useful_at = self.heard_at = time.monotonic()
        self.messages = 0
        self.unanswered = 0
        self.is_pressed = False
        self._answered_at = 0.0

    # -- asyncio's callbacks ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask whether it may stay."""
        self._transport = cast("asyncio.Transport", transport)
        if not self.address and (name := transport.get_extra_info("peername")):
            self.address = str(name[0]).partition("%")[0]
        if not self._receiver.admit(self):
            self._transport.close()
            return
        self._framer = MllpFramer(FrameLimits(message_bytes=self.limits.largest_message_bytes))

    def data_received(self, data: bytes) -> None:
        """Cut what came into frames."""
        if self._drain_until is not None:
            return
        self.heard_at = time.monotonic()
        self._take(self._framer.feed(data, self.heard_at))

    def eof_received(self) -> bool:
        """Answer what was said before the sender fell silent for good; it still listens."""
        self._has_ended = True
        if self._drain_until is None:
            self._take(self._framer.check_timeout(math.inf))
            self._refuse_unfinished(_ENDED)
        return self.unanswered > 0

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's word for it)
        """Forget it; what it was not answered it will send again."""
        self._receiver.forget(self)

    def pause_writing(self) -> None:
        """Hear no more from a sender that does not read its answers."""
        self._is_unread = True
        self._hear_or_not()

    def resume_writing(self) -> None:
        """Go on once it has read them."""
        self._is_unread = False
        self._hear_or_not()

    # -- what the server does with it ------------------------------------------------------------------------------

    @property
    def limits(self) -> PeerSettings:
        """What the sender may do."""
        return self.candidates[0].settings

    @property
    def pending_bytes(self) -> int:
        """How much of an unfinished message is held."""
        return self._framer.pending_bytes

    @property
    def is_junk(self) -> bool:
        """Tell whether bytes came, and not one message: no sender of HL7, but one who tries doors."""
        return not self.messages and self._framer.junk_bytes > 0

    def answer(self, ack: bytes | None) -> None:
        """Send the answer to the oldest unanswered message; None: it does not want one."""
        self.unanswered -= 1
        self._answered_at = time.monotonic()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if ack is not None:
            transport.write(frame(ack))
        if self._has_ended and not self.unanswered:
            transport.close()

    def refuse(self, fault: Fault) -> None:
        """End the connection, after an answer to the message that has not ended."""
        self._drain_until = time.monotonic() + _DRAIN_SECONDS
        self._refuse_unfinished(fault)

    def look(self, now: float) -> None:
        """Do what its time has come for. Called several times a second."""
        if self._drain_until is not None:
            if now > self._drain_until and not self.unanswered:
                self.close()
            return
        if self._is_paused:
            # What the sender has said meanwhile is not read: nothing is late for that.
            return
        self._take(self._framer.check_timeout(now))
        began = self._framer.started_at
        if began is not None and now - began > self.limits.message_seconds:
            self.refuse(_LATE)
        elif began is None and not self.unanswered and now - self.heard_at > self.limits.idle_seconds:
            self.close()

    def pause(self) -> None:
        """Read no more for now."""
        self._is_paused = True
        self._hear_or_not()

    def resume(self) -> None:
        """Read again, unless the sender does not read its answers."""
        self._is_paused = False
        self._hear_or_not()

    def close(self) -> None:
        """End the connection once what was written has been sent."""
        if self._transport is not None:
            self._transport.close()

    def _hear_or_not(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._is_paused or self._is_unread:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _take(self, found: Sequence[Frame]) -> None:
        for each in found:
            self.is_pressed = self.unanswered > 0 or self.heard_at - self._answered_at < _PRESSED_SECONDS
            self.unanswered += 1
            self.messages += 1
            self.useful_at = self.heard_at
            if each.junk_bytes_before:
                self._receiver.skip(each.junk_bytes_before)
            self._receiver.take(self, each.raw, each.fault)

    def _refuse_unfinished(self, fault: Fault) -> None:
        if self._framer.started_at is None:
            return
        for each in self._framer.feed(_END):
            self.unanswered += 1
            self._receiver.take(self, each.raw, fault)
