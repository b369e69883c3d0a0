"""How fast HL7 messages are acknowledged: `PYTHONPATH=plugins:tests python tests/benchmarks/hl7_server.py [--runs N]`.

Ours commits each message durably (synchronous=FULL, fsync on) before it is acknowledged, and works it behind;
python-hl7's and hl7apy's servers parse it, answer, and keep nothing. Everyone gets the same order, with a control id
and a patient of its own. Runs are interleaved, so that what disturbs the machine disturbs all; medians count.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fixtures.hl7_servers import serve
from fixtures.mllp import END, framed, order
from fixtures.ports import free_port
from fixtures.postgresql import postgresql_cluster

SPAWN = multiprocessing.get_context("spawn")
MANY = 50


@dataclass
class Contender:
    """A server to measure.

    Attributes
    ----------
    reconnects : it answers one message a connection.
    share : of the usual number of messages, for one that is slow.
    """

    name: str
    port: int
    reconnects: bool = False
    share: float = 1.0
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
    began = time.perf_counter()
    latencies = asyncio.run(_load(contender, connections, max(count // connections, 2), run))
    seconds = time.perf_counter() - began
    contender.rates.setdefault(connections, []).append(len(latencies) / seconds)
    p99 = statistics.quantiles(latencies, n=100)[98] * 1000
    contender.p99_milliseconds.setdefault(connections, []).append(p99)
    # What is behind the acknowledgments settles before the next is measured.
    time.sleep(1)


async def _load(contender: Contender, connections: int, each: int, run: int) -> list[float]:
    latencies: list[float] = []
    prefix = f"{time.time_ns():x}"
    frames = [
        [framed(order(f"{prefix}{run}-{number}-{n}", patient_id=f"P{prefix}{number}-{n % 50}")) for n in range(each)]
        for number in range(connections)
    ]
    await asyncio.gather(*(_send_all(contender, messages, latencies) for messages in frames))
    return latencies


async def _send_all(contender: Contender, messages: list[bytes], latencies: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", contender.port)
    for number, message in enumerate(messages):
        began = time.perf_counter()
        if contender.reconnects and number:
            reader, writer = await asyncio.open_connection("127.0.0.1", contender.port)
        writer.write(message)
        answer = await reader.readuntil(END)
        latencies.append(time.perf_counter() - began)
        if b"MSA|AA" not in answer:
            raise RuntimeError(f"{contender.name} answered {answer!r}")
        if contender.reconnects:
            writer.close()
    writer.close()


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
    while True:
        try:
            asyncio.run(_connect(port))
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.1)
        else:
            return


async def _connect(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


@contextmanager
def _ours_on_sqlite(name: str) -> Iterator[Contender]:
    with (
        # Not in memory: a commit must reach a disk.
        tempfile.TemporaryDirectory(dir="/checkout") as folder,
        _process(name, serve, f"sqlite:///{Path(folder) / 'pacs.db'}") as contender,
    ):
        yield contender


@contextmanager
def _ours_on_postgresql(name: str) -> Iterator[Contender]:
    with postgresql_cluster(fsync=True) as cluster, _process(name, serve, cluster.create_database()) as contender:
        yield contender


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
    from hl7apy.core import Message  # noqa: PLC0415
    from hl7apy.mllp import AbstractHandler, MLLPServer  # noqa: PLC0415
    from hl7apy.parser import parse_message  # noqa: PLC0415

    class Handler(AbstractHandler):
        def reply(self) -> str:
            message = parse_message(self.incoming_message)
            ack = Message("ACK", version="2.3.1")
            ack.msh.msh_9 = "ACK"
            ack.msa.msa_1 = "AA"
            ack.msa.msa_2 = message.msh.msh_10.value
            return str(ack.to_mllp())

    MLLPServer("127.0.0.1", port, {"ORM^O01": (Handler,)}).serve_forever()


STARTS: dict[str, Callable[[str], Iterator[Contender]]] = {
    "ours, SQLite": _ours_on_sqlite,
    "ours, PostgreSQL": _ours_on_postgresql,
    "python-hl7": lambda name: _process(name, _python_hl7, share=0.25),
    "hl7apy": lambda name: _process(name, _hl7apy, reconnects=True, share=0.02),
}

if __name__ == "__main__":
    main()
