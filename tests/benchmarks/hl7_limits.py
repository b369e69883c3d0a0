"""What large messages and slow clients cost: `PYTHONPATH=plugins:tests python tests/benchmarks/hl7_limits.py`.

A message of 64 MB: time to its acknowledgment, and by how much the receiver's memory grows. Two thousand connections
that begin a message and go on a byte a second: what the answers to others take, beside what they take without.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from fixtures.hl7_servers import receiver_pid, running_bridge
from fixtures.memory import memory_peak
from fixtures.mllp import START, Sender, msa, order, report, sender
from pacs.database import Database

MEBIBYTE = 2**20
SLOW = 2000


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=63, help="of the document; the limit is 64 MB a message")
    options = parser.parse_args()
    # Not in memory: a commit must reach a disk.
    with tempfile.TemporaryDirectory(dir="/checkout") as folder, Database(f"sqlite:///{folder}/pacs.db") as database:
        database.migrate()
        settings = {"UnknownPeers": {"MostConnections": 200, "MessageSeconds": 600}, "MostConnections": 256}
        with running_bridge(database, settings) as running, sender(running.port, timeout_seconds=60) as his:
            his.send(order())
            _measure_large(his, options.runs, options.megabytes)
            _measure_slow(running.port, his, options.runs)


def _measure_large(his: Sender, runs: int, megabytes: int) -> None:
    times, shares = [], []
    for run in range(runs):
        message = report(megabytes * MEBIBYTE, f"BIG{run}")
        with memory_peak(receiver_pid()) as peak_bytes:
            began = time.perf_counter()
            assert msa(his.send(message)) == ("AA", f"BIG{run}")
            times.append(time.perf_counter() - began)
            shares.append(peak_bytes() / len(message))
    print(f"| message of {megabytes} MB | {statistics.median(times):.2f} s | memory grows by {max(shares):.1f} x it |")


def _measure_slow(port: int, his: Sender, runs: int) -> None:
    without, beside = [], []
    for _ in range(runs):
        without.append(_p99_seconds(his))
        with _slow_clients(port):
            beside.append(_p99_seconds(his))
    before, during = statistics.median(without), statistics.median(beside)
    words = f"p99 {during * 1000:.1f} ms, without them {before * 1000:.1f} ms"
    print(f"| {SLOW} slow clients | {words} | {during / before:.1f} x |")


@contextmanager
def _slow_clients(port: int) -> Iterator[None]:
    """Keep two thousand clients that begin a message and send a byte a second, connecting anew when they are ended."""
    stop = threading.Event()
    with ExitStack() as stack:
        clients = [stack.enter_context(_begun(port)) for _ in range(SLOW)]
        thread = threading.Thread(target=_go_on_slowly, args=(clients, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _begun(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(START + b"MSH|^~\\&|")
    client.settimeout(0)
    return client


def _go_on_slowly(clients: Sequence[socket.socket], stop: threading.Event) -> None:
    while not stop.is_set():
        for client in clients:
            try:
                client.send(b"A")
            except OSError:
                # Ended by the other side, which has a limit: it was the most useless one.
                continue
        stop.wait(1)


def _p99_seconds(his: Sender) -> float:
    times = []
    for _ in range(500):
        began = time.perf_counter()
        his.send(order())
        times.append(time.perf_counter() - began)
    return statistics.quantiles(times, n=100)[98]


if __name__ == "__main__":
    main()
