"""How fast HL7 messages are acknowledged: `PYTHONPATH=plugins:tests python tests/benchmarks/hl7_server.py [--runs N]`.

Ours commits each message durably (synchronous=FULL, fsync on) before it is acknowledged, and works it behind;
python-hl7's and hl7apy's servers, each as published, parse it, answer, and keep nothing (hl7apy's ends the connection
after each message). Everyone gets the same order, with a control id and a patient of its own. Runs are interleaved, so
that what disturbs the machine disturbs all; medians count.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import selectors
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sqlalchemy import text

from fixtures.hl7_servers import listens, serve
from fixtures.mllp import END, framed, order
from fixtures.ports import free_port
from fixtures.postgresql import postgresql_cluster
from pacs.database import Database

SPAWN = multiprocessing.get_context("spawn")
MANY = 50


@dataclass
class Contender:
    """A server to measure.

    Attributes
    ----------
    reconnects : it answers one message a connection.
    share : of the usual number of messages, for one that is slow.
    settle : waits until it has nothing more to do.
    """

    name: str
    port: int
    reconnects: bool = False
    share: float = 1.0
    settle: Callable[[], None] = lambda: None
    rates: dict[int, list[float]] = field(default_factory=dict)
    p99_milliseconds: dict[int, list[float]] = field(default_factory=dict)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs of which the median counts")
    parser.add_argument("--messages", type=int, default=6000, help="a run, over all connections")
    parser.add_argument("--only", action="append", default=[], help="a contender's name, or the beginning of it")
    options = parser.parse_args()
    with ExitStack() as stack:
        wanted = [name for name in STARTS if not options.only or name.startswith(tuple(options.only))]
        contenders = [stack.enter_context(STARTS[name](name)) for name in wanted]
        for run in range(options.runs):
            for contender in contenders:
                for connections in (1, MANY):
                    _measure(contender, connections, int(options.messages * contender.share), run)
            print(f"run {run + 1} of {options.runs} done", flush=True)
    _print_table(contenders)


def _measure(contender: Contender, connections: int, count: int, run: int) -> None:
    count = count if connections > 1 else count // 4
    latencies, seconds = _load(contender, connections, max(count // connections, 2), run)
    contender.rates.setdefault(connections, []).append(len(latencies) / seconds)
    p99 = statistics.quantiles(latencies, n=100)[98] * 1000
    contender.p99_milliseconds.setdefault(connections, []).append(p99)
    # What is behind the acknowledgments is done before the next is measured.
    contender.settle()


def _load(contender: Contender, connections: int, each: int, run: int) -> tuple[list[float], float]:
    """Send `each` messages over every connection, the next one after the answer; return latencies and the time (s).

    Bare sockets in one thread: a generator that computes would slow the servers down, the fastest one most.
    """
    prefix = f"{time.time_ns():x}{run}"
    senders = [_Sender(contender, _frames(f"{prefix}-{number}", each)) for number in range(connections)]
    with selectors.DefaultSelector() as selector:
        began = time.perf_counter()
        for sender in senders:
            sender.begin(selector)
        while selector.get_map():
            for key, _ in selector.select():
                key.data.hear(selector)
        seconds = time.perf_counter() - began
    return [latency for sender in senders for latency in sender.latencies], seconds


def _frames(prefix: str, count: int) -> list[bytes]:
    return [framed(order(f"{prefix}-{n}", patient_id=f"P{prefix}-{n % 50}")) for n in range(count)]


class _Sender:
    """One connection, or one after the other for a server that answers one message a connection."""

    def __init__(self, contender: Contender, frames: list[bytes]) -> None:
        self.latencies: list[float] = []
        self._contender = contender
        self._frames = iter(frames)
        self._socket: socket.socket | None = None
        self._heard = b""
        self._sent_at = 0.0

    def begin(self, selector: selectors.BaseSelector) -> None:
        """Send the next message, if there is one."""
        message = next(self._frames, None)
        if self._socket is not None and (message is None or self._contender.reconnects):
            selector.unregister(self._socket)
            self._socket.close()
            self._socket = None
        if message is None:
            return
        self._sent_at = time.perf_counter()
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._contender.port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(self._socket, selectors.EVENT_READ, self)
        self._heard = b""
        self._socket.sendall(message)

    def hear(self, selector: selectors.BaseSelector) -> None:
        """Read; on with the next message once the answer is whole."""
        assert self._socket is not None
        data = self._socket.recv(65536)
        self._heard += data
        if not data or (self._heard.endswith(END) and b"MSA|AA" not in self._heard):
            raise RuntimeError(f"{self._contender.name} answered {self._heard!r}")
        if self._heard.endswith(END):
            self.latencies.append(time.perf_counter() - self._sent_at)
            self.begin(selector)


def _print_table(contenders: list[Contender]) -> None:
    base = {who: contender for contender in contenders for who in ("python-hl7", "hl7apy") if contender.name == who}
    print("\n| server | connections | messages/s | p99 ms | x python-hl7 | x hl7apy |\n|---|---|---|---|---|---|")
    for contender in contenders:
        for connections, rates in contender.rates.items():
            rate = statistics.median(rates)
            cells = [f"{rate:.0f}", f"{statistics.median(contender.p99_milliseconds[connections]):.1f}"]
            for who in ("python-hl7", "hl7apy"):
                theirs = base.get(who)
                cells.append(f"{rate / statistics.median(theirs.rates[connections]):.1f}" if theirs else "")
            print(f"| {contender.name} | {connections} | {' | '.join(cells)} |")


# -- the servers -----------------------------------------------------------------------------------------------------


@contextmanager
def _process(name: str, target: Callable[..., None], *arguments: object, **options: float) -> Iterator[Contender]:
    port = free_port()
    process = SPAWN.Process(target=target, args=(*arguments, port), daemon=True)
    process.start()
    try:
        _wait_for(port)
        yield Contender(name, port, reconnects=bool(options.get("reconnects")), share=options.get("share", 1.0))
    finally:
        process.terminate()
        process.join()


def _wait_for(port: int) -> None:
    give_up_at = time.monotonic() + 60
    while not listens(port):
        if time.monotonic() > give_up_at:
            raise RuntimeError("A server did not start.")
        time.sleep(0.1)


@contextmanager
def _ours_on_sqlite(name: str) -> Iterator[Contender]:
    with (
        # Not in memory: a commit must reach a disk.
        tempfile.TemporaryDirectory(dir="/checkout") as folder,
        _process(name, serve, url := f"sqlite:///{Path(folder) / 'pacs.db'}") as contender,
        Database(url) as database,
    ):
        contender.settle = partial(_wait_until_worked, database)
        yield contender


@contextmanager
def _ours_on_postgresql(name: str) -> Iterator[Contender]:
    with (
        postgresql_cluster(fsync=True) as cluster,
        _process(name, serve, url := cluster.create_database()) as contender,
        Database(url) as database,
    ):
        contender.settle = partial(_wait_until_worked, database)
        yield contender


def _wait_until_worked(database: Database) -> None:
    while not _is_worked(database):
        time.sleep(0.2)


def _is_worked(database: Database) -> bool:
    with database.transaction(write=False) as connection:
        pending = connection.execute(text("SELECT count(*) FROM work_items WHERE state <> 'done'")).scalar()
        frames = connection.execute(text("SELECT max(id) FROM hl7_frames")).scalar()
        entries = connection.execute(text("SELECT max(id) FROM hl7_messages")).scalar()
    return not pending and frames == entries


def _python_hl7(port: int) -> None:
    from hl7 import parse  # noqa: PLC0415 (the others' processes need none of it)
    from hl7.mllp import HL7StreamReader, HL7StreamWriter, start_hl7_server  # noqa: PLC0415

    async def answer(reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
        try:
            while not writer.is_closing():
                message = await reader.readmessage()
                writer.writemessage(message.create_ack())
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    async def run() -> None:
        assert parse
        async with await start_hl7_server(answer, port=port, host="127.0.0.1", encoding="latin-1", limit=2**20) as made:
            await made.serve_forever()

    asyncio.run(run())


def _hl7apy(port: int) -> None:
    from hl7apy.mllp import AbstractHandler, MLLPServer  # noqa: PLC0415
    from hl7apy.parser import parse_message  # noqa: PLC0415

    class Handler(AbstractHandler):
        """Parses as fast as the library can (no groups), and writes the answer without it, which costs nothing."""

        def reply(self) -> str:
            header = parse_message(self.incoming_message, find_groups=False).msh
            control_id = header.msh_10.value
            return f"\x0bMSH|^~\\&|P|R|HIS|H|20260101||ACK|1|P|2.3.1\rMSA|AA|{control_id}\r\x1c\r"

    MLLPServer("127.0.0.1", port, {"ORM^O01": (Handler,)}).serve_forever()


STARTS: dict[str, Callable[[str], Iterator[Contender]]] = {
    "ours, SQLite": _ours_on_sqlite,
    "ours, PostgreSQL": _ours_on_postgresql,
    "python-hl7": lambda name: _process(name, _python_hl7, share=0.25),
    "hl7apy": lambda name: _process(name, _hl7apy, reconnects=True, share=0.05),
}

if __name__ == "__main__":
    main()
