"""How soon an order is seen: `PYTHONPATH=plugins:tests python tests/benchmarks/hl7_visible.py [--seconds N]`.

A HIS sends the whole archive 50 orders a second by MLLP. A station asks for every fifth of them by C-FIND, five times
a second until it is answered. Counted from just before an order is sent until the answer that has it.
"""

from __future__ import annotations

import argparse
import queue
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pynetdicom import build_context
from pynetdicom.sop_class import ModalityWorklistInformationFind

from fixtures.mllp import msa, order, sender
from fixtures.running_pacs import RunningPacs, running
from fixtures.stations import associated, find, register
from fixtures.worklist_entries import question

STATION = "CT1"
ASK_EVERY = 5
GIVE_UP_SECONDS = 60
# Questions are work for the archive, too: between two rounds, and in vain in one.
ASK_AGAIN_SECONDS = 0.2
MISSES_A_ROUND = 2
END = ("", 0.0)

# Accession number, and when it was sent (s, `time.perf_counter`).
type Sent = tuple[str, float]


def main() -> None:
    """Send, ask, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=50, help="orders a second")
    options = parser.parse_args()
    sent: queue.Queue[Sent] = queue.Queue()
    # Not in memory: a commit must reach a disk.
    with tempfile.TemporaryDirectory(dir="/checkout") as folder, running(Path(folder)) as pacs:
        register(pacs, STATION, 11112)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(_ask, pacs, sent)
            # Begun slowly: the first questions and messages load what they need.
            _send(pacs.hl7_port, "W", options.rate / 5, 5, sent)
            _send(pacs.hl7_port, "V", options.rate, options.seconds, sent)
            sent.put(END)
            seen = [seconds for name, seconds in asked.result() if name.startswith("V")]
    _print(seen, options.rate)


def _send(port: int, prefix: str, rate: float, seconds: float, sent: queue.Queue[Sent]) -> None:
    """Send orders at a steady rate over one connection, and tell of each that is to be asked for."""
    count = int(rate * seconds)
    began = time.perf_counter()
    with sender(port, timeout_seconds=30) as his:
        for number in range(count):
            time.sleep(max(began + number / rate - time.perf_counter(), 0))
            accession = f"{prefix}{number}"
            at = time.perf_counter()
            assert msa(his.send(order(accession, patient_id=f"P{number % 500}", accession=accession)))[0] == "AA"
            if number % ASK_EVERY == 0:
                sent.put((accession, at))
    took = time.perf_counter() - began
    print(f"{count} orders sent in {took:.1f} s: {count / took:.1f} a second", flush=True)


def _ask(pacs: RunningPacs, sent: queue.Queue[Sent]) -> list[Sent]:
    """Ask for every order that is not seen yet, round by round; return how long each took (s).

    Nobody waits for another's answer: an order that is late makes none behind it look late.
    """
    seen: list[Sent] = []
    waiting: list[Sent] = []
    with associated(pacs, [build_context(ModalityWorklistInformationFind)], calling=STATION) as association:
        while END not in waiting or len(waiting) > 1:
            began = time.perf_counter()
            while not sent.empty():
                waiting.append(sent.get())
            misses = 0
            for accession, at in [order_sent for order_sent in waiting if order_sent != END]:
                keys = question(AccessionNumber=accession, PatientName="")
                if find(association, keys, ModalityWorklistInformationFind)[0]:
                    seen.append((accession, time.perf_counter() - at))
                    waiting.remove((accession, at))
                    continue
                assert time.perf_counter() - at < GIVE_UP_SECONDS, f"{accession} is not seen"
                misses += 1
                if misses == MISSES_A_ROUND:
                    break
            time.sleep(max(began + ASK_AGAIN_SECONDS - time.perf_counter(), 0))
    return seen


def _print(seen: list[float], rate: float) -> None:
    cuts = statistics.quantiles(seen, n=100)
    figures = f"p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms, most {max(seen) * 1000:.0f} ms"
    print(f"| order to C-FIND at {rate:.0f} orders/s, {len(seen)} asked for | {figures} |")


if __name__ == "__main__":
    main()
