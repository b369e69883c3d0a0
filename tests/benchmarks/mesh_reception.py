"""What images that arrive lose while 3D models are made: `python -m benchmarks.mesh_reception [--runs N]`.

A CT is sent by C-STORE to an archive at rest, and again while twenty models are ordered of it and as many as there are
cores are being made; in turns, so that both see the same machine. Models give way as they do by default (Niceness).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from datetime import date
from pathlib import Path

from fixtures.mesh_archives import BONE, ModelArchive, model_archive
from pacs.demo.attributes import Series, Study
from pacs.demo.canvas import Grid
from pacs.demo.studies import INIGO, ct_slices
from pacs.demo.syntaxes import write
from pacs.mesh.settings import MeshSettings

SLICES = 240
MODELS = 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="runs of which the median counts")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="pacs-bench-") as name:
        folder = Path(name)
        source, scan = _scan(folder / "source", "source"), _scan(folder / "scan", "scan")
        with model_archive(folder / "data", Niceness=MeshSettings().niceness) as archive:
            _send(archive, folder / "source")
            rest, busy = [], []
            for run in range(runs):
                rest.append(_send_and_forget(archive, folder / "scan", scan))
                busy.append(_send_while_busy(archive, folder / "scan", scan, source, run))
                print(f"run {run + 1} of {runs} done", flush=True)
    at_rest, beside = statistics.median(rest), statistics.median(busy)
    print("\n| C-STORE of 240 slices | s | images/s | rate |\n|---|---|---|---|")
    print(f"| at rest | {at_rest:.2f} | {SLICES / at_rest:.0f} | 1 |")
    print(f"| while {MODELS} models are made | {beside:.2f} | {SLICES / beside:.0f} | {at_rest / beside:.2f} |")


def _scan(folder: Path, name: str) -> str:
    """Write the CT of 240 slices of 512 x 512, and return its SeriesInstanceUID."""
    series = Series(Study(INIGO, f"mesh {name}", date(2026, 1, 1)), "CT", 2, "240 slices", "CHESTABDOMEN")
    grid = Grid((-199.609375, -185.609375, 0.0), (0.78125, 0.78125, 2.0), (512, 512, SLICES))
    for number, instance in enumerate(ct_slices(series, grid)):
        write(instance, folder / f"{number:03}.dcm")
    return str(instance.SeriesInstanceUID)


def _send(archive: ModelArchive, folder: Path) -> float:
    """Send a folder over one association, and return how long it took."""
    pacs = archive.pacs
    command = ["/usr/bin/storescu", "-aec", pacs.aet, "+sd", "127.0.0.1", str(pacs.dicom_port), str(folder)]
    started = time.monotonic()
    subprocess.run(command, env={**os.environ, "TCP_NODELAY": "1"}, check=True, capture_output=True)
    return time.monotonic() - started


def _send_and_forget(archive: ModelArchive, folder: Path, series_instance_uid: str) -> float:
    seconds = _send(archive, folder)
    [found] = archive.web.post("/tools/lookup", content=series_instance_uid).json()
    assert len(archive.web.get(f"/series/{found['ID']}").json()["Instances"]) == SLICES
    archive.web.delete(f"/series/{found['ID']}").raise_for_status()
    return seconds


def _send_while_busy(archive: ModelArchive, folder: Path, scan: str, source: str, run: int) -> float:
    """Order models, each another, send while they are made, and see that none was lost."""
    recipes = [{**BONE, "reduce": {"share": 0.9}, "min_volume_mm3": run * MODELS + number} for number in range(MODELS)]
    orders = [archive.order(recipe, source) for recipe in recipes]
    while not any(archive.job(order)["state"] == "working" for order in orders):
        time.sleep(0.05)
    seconds = _send_and_forget(archive, folder, scan)
    states = [archive.job(order)["state"] for order in orders]
    assert set(states) & {"waiting", "working"}, "the models were done before the images were sent"
    for order in orders:
        archive.done(order)
    return seconds


if __name__ == "__main__":
    main()
