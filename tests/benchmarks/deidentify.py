"""De-identify CT slices from files to files: `orthanc/root/test.sh python tests/benchmarks/deidentify.py [--runs N]`.

The study is 200 slices of 512 x 512, and the head CT of ../shared/data where it is there. Each contender reads a file,
de-identifies it and writes the result, in one process; a run of one is followed by a run of the next. `copy` is pydicom
reading and writing the same files with nothing done between: what no program built on it can go below.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pydicom
from dicomanonymizer.simpledicomanonymizer import anonymize_dicom_file, initialize_actions

from pacs.deidentify import Project, deidentify_file
from pacs.deidentify.files import be_silent
from pacs.deidentify.options import Clean, Retain
from pacs.demo.attributes import Series, Study
from pacs.demo.canvas import Grid
from pacs.demo.studies import INIGO, ct_slices
from pacs.demo.syntaxes import write

REAL = Path(__file__).parents[3] / "shared" / "data" / "dicom" / "ct_alderson_rt199.tar.xz"
SLICES = 200
SECRET = b"a secret of the benchmark, 32 bytes and more"
BASIC = Project("basic", "SECRET")
FULL = Project(
    "full",
    "SECRET",
    retain=frozenset({Retain.MODIFIED_DATES, Retain.PATIENT, Retain.SAFE_PRIVATE}),
    clean=frozenset(Clean),
)

type Work = Callable[[Path, Path], object]


def copy(source: Path, target: Path) -> None:
    """Read and write."""
    pydicom.dcmwrite(target / source.name, pydicom.dcmread(source), enforce_file_format=True)


def ours(source: Path, target: Path) -> None:
    """De-identify by the profile alone."""
    deidentify_file(source, target, BASIC, SECRET)


def ours_with_options(source: Path, target: Path) -> None:
    """De-identify with dates moved, descriptions and contents cleaned, safe private attributes kept."""
    deidentify_file(source, target, FULL, SECRET)


def dicom_anonymizer(source: Path, target: Path) -> None:
    """Let dicom-anonymizer do it, by its list of the edition 2026c."""
    anonymize_dicom_file(
        str(source), str(target / source.name), base_rules_gen=lambda: initialize_actions("dicomfields_2026c")
    )


CONTENDERS: dict[str, Work] = {work.__name__: work for work in (copy, ours, ours_with_options, dicom_anonymizer)}


def main() -> None:
    """Print a table for each study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    logging.disable()
    be_silent()
    # Without it dicom-anonymizer stops at the phantom's private elements, whose VR pydicom supposes otherwise.
    pydicom.config.convert_wrong_length_to_UN = True
    with tempfile.TemporaryDirectory(prefix="deidentify-") as name:
        for study, files in _studies(Path(name)).items():
            _print_table(study, _figures(files, Path(name) / "out", options.runs))


def _studies(folder: Path) -> dict[str, list[Path]]:
    series = Series(Study(INIGO, "bench", date(2026, 1, 1)), "CT", 2, "200 slices", "CHEST")
    grid = Grid((-199.609375, -185.609375, 0.0), (0.78125, 0.78125, 2.0), (512, 512, SLICES))
    made = [write(slice_, folder / f"{number:03}.dcm") for number, slice_ in enumerate(ct_slices(series, grid))]
    studies = {f"{SLICES} slices made": made}
    if REAL.is_file():
        with tarfile.open(REAL) as archive:
            archive.extractall(folder, filter="data")
        real = [path for path in sorted((folder / "rt_ct").iterdir()) if path.is_file()]
        studies[f"{len(real)} slices of a phantom"] = real
    return studies


def _figures(files: list[Path], target: Path, runs: int) -> dict[str, list[float]]:
    """Measure run by run, contender by contender, in ms an instance; the first run of each is not counted."""
    figures = defaultdict(list)
    target.mkdir(exist_ok=True)
    for run in range(runs + 1):
        for name, work in CONTENDERS.items():
            started = time.monotonic()
            for file in files:
                work(file, target)
            if run:
                figures[name].append((time.monotonic() - started) * 1000 / len(files))
    return figures


def _print_table(study: str, figures: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(runs) for name, runs in figures.items()}
    print(f"\n| {study} | ms an instance | / ours |\n|---|---|---|")
    for name, milliseconds in medians.items():
        print(f"| {name} | {milliseconds:.2f} | {milliseconds / medians['ours']:.2f} |")


if __name__ == "__main__":
    main()
