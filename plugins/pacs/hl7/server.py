"""`MllpServer`: takes messages from many senders at once, and answers each after it is durable.

Messages are read, judged and answered in one thread. What has come while a group was committed is the next group, in
one transaction: a message that is alone is committed at once, under load the groups grow by themselves, and no message
waits for company. Groups are committed in another thread, so that the processor judges while the disk writes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from pacs.errors import DatabaseError, PacsError
from pacs.hl7.acknowledgments import AckCode
from pacs.hl7.connection import CROWDED, Connection
from pacs.hl7.errors import Fault
from pacs.hl7.peers import Peers
from pacs.hl7.proxied import ProxiedConnection
from pacs.hl7.reception import Judgement, Reception
from pacs.hl7.settings import LOOPBACK, Hl7Settings
from pacs.hl7.storing import FrameStore
from pacs.hl7.tally import Tally

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1
_TELL_SECONDS = 0.01
_GROUP_MESSAGES = 256
_GROUP_BYTES = 8 * 2**20
_BACKLOG = 512
# A database that is away for a moment is worth waiting for; after that the senders are told.
_STORE_AGAIN_SECONDS = 0.5
_STORE_PATIENCE_SECONDS = 10.0
# Of unfinished messages of all connections together: the largest is refused beyond it.
_MOST_PENDING_BYTES = 320 * 2**20
# Of messages that wait for their commit, and what else is kept of each: nothing more is heard beyond it.
_MOST_HELD_BYTES = 64 * 2**20
_BESIDE_BYTES = 2048
# At the end what was taken is answered, in less time than Receiving gives.
_FINISH_SECONDS = 1.0

# The answer, and whether the message had come before; None: it could not be stored.
type _Stored = tuple[bytes, bool] | None


class PortUnusable(PacsError):
    """The HL7 port can't be listened on."""

    code = "hl7-port"


@dataclass(slots=True)
class _Waiting:
    """A message on its way to its answer."""

    connection: Connection
    raw: bytes
    fault: Fault | None
    came_at: float


@dataclass(slots=True)
class _Judged:
    """A message that was read, and waits for its commit."""

    connection: Connection
    came_at: float
    judgement: Judgement


class MllpServer:
    """Listens while `run` runs. Every other method is asyncio's or a connection's, in that thread.

    Parameters
    ----------
    tell : called with ("arrived", how many messages are stored, and how many had senders who wait for nothing but us)
        soon after they are, and with ("tally", figures).
    """

    def __init__(
        self,
        settings: Hl7Settings,
        peers: Peers,
        store: FrameStore,
        tally: Tally,
        tell: Callable[[str, object], None],
    ) -> None:
        self._settings = settings
        self._peers = peers
        self._store = store
        self._tally = tally
        self._tell = tell
        self._untold = self._pressed = 0
        self._reception = Reception()
        self._connections: set[Connection] = set()
        self._greetings: set[ProxiedConnection] = set()
        self._waiting: deque[_Waiting] = deque()
        self._judged: deque[_Judged] = deque()
        self._is_scheduled = False
        self._committer = ThreadPoolExecutor(1, "hl7-commit")
        self._committing: asyncio.Task[None] | None = None
        self._was_alone = True
        # The database is away: a group waits for it, and all that came since waits behind.
        self._is_stalled = False
        self._held_bytes = 0
        # Nothing is read: the database is away, or too much waits for it already, or the end has come.
        self._is_deaf = self._is_ending = False

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set; end within a moment of it.

        Raises
        ------
        PortUnusable : the port is taken, or forbidden.
        """
        asyncio.run(self._serve(stop))

    async def _serve(self, stop: threading.Event) -> None:
        settings = self._settings
        servers = []
        if settings.proxy_port is not None:
            connect = partial(ProxiedConnection, self)
            servers.append(await _listen(connect, LOOPBACK, settings.proxy_port, "ProxyPort"))
        servers.append(await _listen(partial(Connection, self), str(settings.bind), settings.port, "Port"))
        try:
            while not stop.is_set():
                await asyncio.sleep(_LOOK_SECONDS)
                self._look()
                if self._committing is not None and self._committing.done():
                    # A fault of ours ends the receiver, which is started again: nobody would be answered any more.
                    self._committing.result()
        finally:
            for server in servers:
                server.close()
            await self._finish()
            for connection in list(self._connections):
                connection.close()
            for greeting in list(self._greetings):
                greeting.close()
            # What was written is sent.
            await asyncio.sleep(0)
            if self._committing is not None:
                self._committing.cancel()
            self._committer.shutdown()
            self._store.close()
            self._tell_arrived()
            self._tell("tally", self._tally.snapshot())

    async def _finish(self) -> None:
        """Answer what was taken, but do not wait long: who gets no answer says it again to the next receiver."""
        self._is_ending = True
        self._hear_nothing()
        give_up_at = time.monotonic() + _FINISH_SECONDS
        while self._held_bytes and not self._is_stalled and time.monotonic() < give_up_at:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(_TELL_SECONDS)

    # -- for connections -------------------------------------------------------------------------------------------

    def admit(self, connection: Connection) -> bool:
        """Let a connection in; where there are too many, end the one that has been useless longest."""
        connection.candidates = self._peers.calling_from(connection.address)
        if not connection.candidates:
            self._tally.count("refused", "unknown")
            return False
        of_peer = [each for each in self._connections if each.candidates[0] is connection.candidates[0]]
        if len(of_peer) >= connection.limits.most_connections:
            self._end_most_useless(of_peer)
        elif len(self._connections) >= self._settings.most_connections:
            self._end_most_useless(list(self._connections))
        self._connections.add(connection)
        if self._is_deaf:
            connection.pause()
        self._tally.connected(len(self._connections))
        return True

    def take(self, connection: Connection, raw: bytes, fault: Fault | None) -> None:
        """Note a message; it is worked with all that is there when this round of reading is over."""
        self._pressed += connection.is_pressed
        self._waiting.append(_Waiting(connection, raw, fault, time.perf_counter()))
        self._held_bytes += len(raw) + _BESIDE_BYTES
        if self._held_bytes > _MOST_HELD_BYTES:
            self._hear_nothing()
        self._schedule()

    def skip(self, junk_bytes: int) -> None:
        """Count bytes that belong to no message."""
        self._tally.count("junk", by=junk_bytes)

    def forget(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        if connection.is_junk:
            # roles/fail2ban counts these lines (its filter pacs-hl7).
            _log.warning("HL7 junk from %s: no message came", connection.address)
        self._connections.discard(connection)
        self._tally.connected(len(self._connections))

    def greet(self, connection: ProxiedConnection) -> bool:
        """Let NGINX say for whom a connection is."""
        if len(self._greetings) >= self._settings.most_connections:
            return False
        self._greetings.add(connection)
        return True

    def part(self, connection: ProxiedConnection) -> None:
        """Forget a connection that has said for whom it is, or has ended."""
        self._greetings.discard(connection)

    def distrust(self, reason: str) -> None:
        """Count and log a connection that is ended since it did not say for whom it is."""
        self._tally.count("refused", "proxy-header")
        _log.warning("A connection at Pacs.Hl7.ProxyPort is ended without a word from its sender: %s", reason)

    def _end_most_useless(self, connections: Sequence[Connection]) -> None:
        """End one that never completed a message, rather than a sender that is only silent."""
        worst = min(connections, key=lambda each: (each.unanswered > 0, each.messages > 0, each.useful_at))
        self._connections.discard(worst)
        self._tally.count("refused", "crowded")
        worst.refuse(CROWDED)

    # -- messages --------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if not self._is_scheduled and not self._is_stalled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        """Judge what came, not too much at once, and have it committed unless another group is being committed."""
        self._is_scheduled = False
        for _ in range(min(len(self._waiting), _GROUP_MESSAGES)):
            waiting = self._waiting.popleft()
            self._judged.append(_Judged(waiting.connection, waiting.came_at, self._judge(waiting)))
        if self._waiting:
            self._schedule()
        if self._committing is None or self._committing.done():
            loop = asyncio.get_running_loop()
            self._committing = asyncio.Task(self._commit_groups(), loop=loop, eager_start=True)

    def _judge(self, waiting: _Waiting) -> Judgement:
        connection = waiting.connection
        return self._reception.judge(waiting.raw, connection.candidates, connection.address, waiting.fault)

    async def _commit_groups(self) -> None:
        """Commit and answer one group after the other; what comes meanwhile is the next."""
        while group := self._next_group():
            self._answer(group, await self._committed([each.judgement for each in group]))
            self._go_on()

    async def _committed(self, judged: Sequence[Judgement]) -> Sequence[_Stored]:
        """Return the answers to a group once it is durable, or that it could not be stored."""
        give_up_at = time.monotonic() + _STORE_PATIENCE_SECONDS
        # For a sender who is alone a change of thread would cost more than it brings.
        is_alone, self._was_alone = self._was_alone and len(judged) == 1, len(judged) == 1
        while True:
            try:
                if is_alone:
                    return self._stored(judged)
                return await asyncio.get_running_loop().run_in_executor(self._committer, self._stored, judged)
            except DatabaseError as error:
                if time.monotonic() > give_up_at:
                    return [None] * len(judged)
                self._stall(error)
                # To find out that it is still away may take long, which nobody else shall wait for.
                is_alone = False
            await asyncio.sleep(_STORE_AGAIN_SECONDS)

    def _stall(self, error: DatabaseError) -> None:
        """Hear nothing more until the database is back: what is not read is the senders' to keep."""
        if not self._is_stalled:
            _log.error("HL7 messages can't be stored: %s", error)
            self._is_stalled = True
            self._hear_nothing()

    def _hear_nothing(self) -> None:
        if not self._is_deaf:
            self._is_deaf = True
            for connection in self._connections:
                connection.pause()

    def _go_on(self) -> None:
        self._is_stalled = False
        if self._is_deaf and not self._is_ending and self._held_bytes <= _MOST_HELD_BYTES // 2:
            self._is_deaf = False
            for connection in self._connections:
                connection.resume()
        if self._waiting:
            self._schedule()

    def _answer(self, group: Sequence[_Judged], answers: Sequence[_Stored]) -> None:
        for judged, stored in zip(group, answers, strict=True):
            judgement, arrival = judged.judgement, judged.judgement.arrival
            self._held_bytes -= len(arrival.raw) + _BESIDE_BYTES
            code, is_repeated = arrival.outcome, False
            if stored is None:
                code, ack = AckCode.AE.value, self._reception.unstored(judgement)
            else:
                ack, is_repeated = stored
                ack = ack if judgement.is_answered else None
            judged.connection.answer(ack)
            self._tally.answered(arrival.peer, code, time.perf_counter() - judged.came_at)
            if is_repeated:
                self._tally.count("repeated", arrival.peer)
        if not self._untold:
            asyncio.get_running_loop().call_later(_TELL_SECONDS, self._tell_arrived)
        self._untold += len(group)

    def _tell_arrived(self) -> None:
        self._tell("arrived", {"messages": self._untold, "pressed": self._pressed})
        self._untold = self._pressed = 0

    def _look(self) -> None:
        """Do what time alone brings about: lone ends, late messages, silence, too much that is unfinished."""
        now = time.monotonic()
        for connection in list(self._connections):
            connection.look(now)
        pending_bytes = sum(connection.pending_bytes for connection in self._connections)
        if pending_bytes > _MOST_PENDING_BYTES:
            max(self._connections, key=lambda each: each.pending_bytes).refuse(CROWDED)
        if self._tally.has_changed:
            self._tell("tally", self._tally.snapshot())

    def _next_group(self) -> list[_Judged]:
        group: list[_Judged] = []
        size_bytes = 0
        while self._judged and len(group) < _GROUP_MESSAGES and size_bytes < _GROUP_BYTES:
            group.append(self._judged.popleft())
            size_bytes += len(group[-1].judgement.arrival.raw)
        return group

    def _stored(self, judged: Sequence[Judgement]) -> Sequence[_Stored]:
        """Commit a group; should one of it be impossible to store, the others are stored nevertheless."""
        try:
            return self._store.store([each.arrival for each in judged])
        except DatabaseError:
            raise
        except Exception:  # noqa: BLE001 (the senders wait for an answer, whatever our fault is)
            _log.exception("A group of %d messages could not be stored", len(judged))
            if len(judged) == 1:
                return [None]
        return [answer for each in judged for answer in self._stored([each])]


async def _listen(connect: Callable[[], asyncio.Protocol], address: str, port: int, setting: str) -> asyncio.Server:
    try:
        server = await asyncio.get_running_loop().create_server(connect, address, port, backlog=_BACKLOG)
    except OSError as error:
        raise PortUnusable(
            f"HL7 messages can't be taken at {address} port {port}: {error.strerror}.",
            remedy=f"End what uses it, or set another in Pacs.Hl7.{setting}.",
        ) from error
    _log.info("HL7 messages are taken at %s port %d", address, port)
    return server
