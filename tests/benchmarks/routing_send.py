"""How fast a study is delivered, against programs that do nothing else: `python -m benchmarks.routing_send`.

The study lies in a real Orthanc; what is timed is a whole delivery, from the order to the ledger's "sent", child
process and ledger included. dcmsend sends the same files, straight from Orthanc's storage, to the same receiver
(dcmtk's storescp, which throws them away). imagecodecs alone compresses the same images, with as many threads.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import imagecodecs
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless

from fixtures.dcmtk import path_of
from fixtures.orthanc_alone import orthanc_alone
from fixtures.ports import free_port
from fixtures.routing_worlds import RoutingWorld, routing_world
from fixtures.stations import wait_for_port
from pacs.demo.attributes import Series, Study
from pacs.demo.canvas import Grid
from pacs.demo.studies import INIGO, ct_slices
from pacs.demo.syntaxes import write
from pacs.routing.delivery.states import DeliveryState
from pacs.routing.orders import Transfer

THREADS = 2
_WITHOUT_NAGLE = {**os.environ, "TCP_NODELAY": "1"}


def main() -> None:
    """Measure and print each figure with its ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--compressed", type=int, default=100, help="instances of the study that is compressed")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pacs-bench-") as name:
        folder = Path(name)
        (folder / "orthanc").mkdir()
        with orthanc_alone(folder / "orthanc") as orthanc, _receiver() as port:
            target = {"kind": "dicom", "aet": "SINK", "host": "127.0.0.1", "port": port, "proof": "none"}
            with routing_world(folder, orthanc, {"sink": target}) as world:
                _measure(world, folder, port, options)


def _measure(world: RoutingWorld, folder: Path, port: int, options: argparse.Namespace) -> None:
    plain = _stored(world, folder / "plain", options.instances)
    _compare(
        f"C-STORE of {options.instances} instances",
        "dcmsend",
        options.runs,
        lambda: _delivered(world, plain, Transfer()),
        lambda: _dcmsend(world, plain, port),
    )
    packed = _stored(world, folder / "packed", options.compressed)
    arrays = [dcmread(path).pixel_array for path in _files(world, packed)]
    _compare(
        f"JPEG 2000 lossless, {options.compressed} instances",
        "imagecodecs alone",
        options.runs,
        lambda: _delivered(world, packed, Transfer(str(JPEG2000Lossless))),
        lambda: _encoded(arrays),
    )


def _compare(what: str, other: str, runs: int, ours: Callable[[], float], theirs: Callable[[], float]) -> None:
    """Run both by turns, so that what disturbs the machine disturbs both; print medians."""
    figures: dict[str, list[float]] = defaultdict(list)
    ours()  # has a child process warm and the files in memory
    for _ in range(runs):
        figures["ours"].append(ours())
        figures[other].append(theirs())
    mine, other_seconds = (statistics.median(figures[name]) for name in ("ours", other))
    print(
        f"| {what} | {mine:.2f} s | {other}: {other_seconds:.2f} s | rate ours / {other}: {other_seconds / mine:.2f} |"
    )


def _stored(world: RoutingWorld, folder: Path, count: int) -> str:
    """Store a CT of `count` slices and return Orthanc's identifier of the study."""
    series = Series(Study(INIGO, folder.name, date(2026, 1, 1)), "CT", 2, "slices", "CHESTABDOMEN")
    grid = Grid((-199.609375, -185.609375, 0.0), (0.78125, 0.78125, 0.5), (512, 512, count))
    folder.mkdir()
    study = ""
    for instance in ct_slices(series, grid):
        path = folder / "slice.dcm"
        write(instance, path)
        study = str(world.orthanc.archive.post_bytes("/instances", path.read_bytes())["ParentStudy"])
    return study


def _files(world: RoutingWorld, study: str) -> list[Path]:
    """Return the files of a study in Orthanc's storage."""
    entries = world.orthanc.archive.get_json(f"/studies/{study}/instances?expand")
    names = [entry["FileUuid"] for entry in entries]
    return [world.orthanc.storage / name[:2] / name[2:4] / name for name in names]


def _delivered(world: RoutingWorld, study: str, transfer: Transfer) -> float:
    started = time.monotonic()
    delivery = world.order(study, "sink", transfer=transfer, again=True)
    row = world.wait_until(delivery, lambda row: row.state == DeliveryState.SENT and row.sent == row.instances)
    seconds = time.monotonic() - started
    if row.refused:
        message = f"{row.refused} instances were refused: {row.error}"
        raise RuntimeError(message)
    return seconds


def _dcmsend(world: RoutingWorld, study: str, port: int) -> float:
    files = _files(world, study)
    command = [path_of("dcmsend"), "-aec", "SINK", "127.0.0.1", str(port), *map(str, files)]
    started = time.monotonic()
    subprocess.run(command, env=_WITHOUT_NAGLE, check=True)
    return time.monotonic() - started


def _encoded(arrays: list[object]) -> float:
    started = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(_jpeg2000, arrays))
    return time.monotonic() - started


def _jpeg2000(array: object) -> int:
    return len(imagecodecs.jpeg2k_encode(array, codecformat="j2k", reversible=True, level=0, numthreads=1))


@contextmanager
def _receiver() -> Iterator[int]:
    port = free_port()
    command = [path_of("storescp"), "--ignore", "--accept-all", "-aet", "SINK", str(port)]
    with subprocess.Popen(command, env=_WITHOUT_NAGLE) as process:
        try:
            wait_for_port(port)
            yield port
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
