"""How fast a series becomes a volume: `PYTHONPATH=plugins:tests python tests/benchmarks/mesh_reading.py`.

Reads the phantom of 400 slices and, where they lie beside the checkout, real series, each time in a process of its own,
contender by contender, and prints medians with ratios: seconds, seconds of processor time, which a busy machine
disturbs less, and the memory beyond that of the process before. Imports are not counted. `cat` reads the bytes and does
nothing with them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK

from fixtures.mesh_phantom import bone_phantom
from pacs.mesh.reading.series import InstanceFile, estimate, read_series

REAL = Path(__file__).parents[3] / "shared" / "data" / "dicom"

type Read = Callable[[list[Path]], int]
# Seconds, seconds of processor time, megabytes.
type Figures = tuple[float, float, float]


def cat(paths: list[Path]) -> int:
    """Read the bytes."""
    return sum(len(path.read_bytes()) for path in paths)


def ours(paths: list[Path]) -> int:
    """Read the volume."""
    return read_series([InstanceFile(path) for path in paths]).voxels.nbytes


def our_preview(paths: list[Path]) -> int:
    """Read the volume for a preview."""
    return read_series([InstanceFile(path) for path in paths], scale=4).voxels.nbytes


def our_estimate(paths: list[Path]) -> int:
    """Read the headers alone."""
    return estimate([InstanceFile(path) for path in paths]).bytes


def simpleitk(paths: list[Path]) -> int:
    """Let SimpleITK find the slices of the series and read them, as dicom2stl does."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(paths[0].parent)))
    return SimpleITK.GetArrayViewFromImage(reader.Execute()).nbytes


def simpleitk_with_names(paths: list[Path]) -> int:
    """Let SimpleITK read the slices, in the order given."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(list(map(str, paths)))
    return SimpleITK.GetArrayViewFromImage(reader.Execute()).nbytes


def with_pydicom(paths: list[Path]) -> int:
    """Read the slices with pydicom, sort and stack them."""
    images = sorted(map(pydicom.dcmread, paths), key=lambda image: image.ImagePositionPatient[2])
    return np.stack([image.pixel_array for image in images]).nbytes


CONTENDERS: dict[str, Read] = {
    read.__name__: read
    for read in (cat, ours, our_preview, our_estimate, simpleitk, simpleitk_with_names, with_pydicom)
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--child", nargs=2, metavar=("CONTENDER", "FOLDER"), help="measure once and print JSON")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_measured(CONTENDERS[options.child[0]], Path(options.child[1]))))
        return
    with tempfile.TemporaryDirectory(prefix="mesh-reading-") as name:
        for series, folder in _series(Path(name)).items():
            _print_table(series, _figures(folder, options.runs))


def _series(folder: Path) -> dict[str, Path]:
    """Return the folders of the series, phantom first."""
    bone_phantom().write_dicom(folder / "ph400")
    found = {"ph400": folder / "ph400"}
    if REAL.is_dir():
        with tarfile.open(REAL / "ct_alderson_rt199.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        found |= {"rt199": folder / "rt_ct", "jpll148": REAL / "ct_chest_jpegll148"}
    return found


def _figures(folder: Path, runs: int) -> dict[str, list[Figures]]:
    """Measure run by run, contender by contender, so that what disturbs the machine disturbs all of them."""
    figures = defaultdict(list)
    for _ in range(runs):
        for name in CONTENDERS:
            command = [sys.executable, __file__, "--child", name, str(folder)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            figures[name].append(tuple(json.loads(done.stdout)))
    return figures


def _measured(read: Read, folder: Path) -> Figures:
    """Return the seconds of one reading, those of the processor, and the megabytes that the process grew by."""
    paths = sorted(folder.iterdir())
    before = _resident_bytes()
    started, started_processor = time.monotonic(), time.process_time()
    read(paths)
    seconds, processor = time.monotonic() - started, time.process_time() - started_processor
    return seconds, processor, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e6


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _print_table(series: str, figures: dict[str, list[Figures]]) -> None:
    medians = {
        name: [statistics.median(column) for column in zip(*runs, strict=True)] for name, runs in figures.items()
    }
    our_seconds, our_processor, _ = medians["ours"]
    print(f"\n| {series} | s | / ours | processor s | / ours | extra MB |\n|---|---|---|---|---|---|")
    for name, (seconds, processor, megabytes) in medians.items():
        ratios = seconds / our_seconds, processor / our_processor
        print(f"| {name} | {seconds:.3f} | {ratios[0]:.2f} | {processor:.3f} | {ratios[1]:.2f} | {megabytes:.0f} |")


if __name__ == "__main__":
    main()
