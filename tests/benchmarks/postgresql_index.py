"""What the index costs in PostgreSQL: `python -m benchmarks.postgresql_index --directory DIRECTORY [--runs N]`.

Four modalities send 5000 images of 5 studies at the same time, every one of them a quarter of each study: the worst
case for conflicts. Everything is synced, so DIRECTORY should lie on the disk that is meant, not in memory.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from benchmarks.contenders import OUR_ENVIRONMENT, OUR_FRAGMENTS, Contender, orthanc
from fixtures.ports import free_port
from fixtures.postgresql import postgresql_cluster
from pacs import configuration
from pacs.demo.attributes import Patient, Series, Study
from pacs.demo.canvas import Grid
from pacs.demo.studies import ct_slices
from pacs.demo.syntaxes import write

SENDERS = 4
STUDIES = 5
INSTANCES = 5000
ROWS = 150
# What a server's role sets; shared_buffers and the like don't matter for a database of this size.
SERVER_SETTINGS = {"wal_compression": "lz4", "max_wal_size": "4GB", "shared_buffers": "256MB"}
type Figures = dict[str, list[float]]


@dataclass(frozen=True)
class Sent:
    """What became of one run."""

    seconds: float
    refused: int


def main() -> None:
    """Measure SQLite and PostgreSQL in turns and print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="an empty directory on the disk that is meant")
    parser.add_argument("--runs", type=int, default=3, help="interleaved runs of which the median counts")
    parser.add_argument("--instances", type=int, default=INSTANCES, help="images in one run")
    parser.add_argument("--connections", type=int, default=1, help="Orthanc's connections to PostgreSQL")
    options = parser.parse_args()
    folders = _write_images(options.directory / "images", options.instances)
    figures: Figures = defaultdict(list)
    refused: dict[str, int] = defaultdict(int)
    for run in range(options.runs):
        for name in ("SQLite", "PostgreSQL"):
            with _contender(name, options.directory / f"{name}-{run}", options.connections) as contender:
                sent = _send(contender, folders)
                _require_stored(contender, options.instances - sent.refused)
            figures[name].append(options.instances / sent.seconds)
            refused[name] += sent.refused
            print(f"run {run + 1}: {name:10} {figures[name][-1]:6.0f} images/s, {sent.refused} refused", flush=True)
            shutil.rmtree(options.directory / f"{name}-{run}")
    sqlite, postgresql = (statistics.median(figures[name]) for name in ("SQLite", "PostgreSQL"))
    print(f"PostgreSQL / SQLite: {postgresql / sqlite:.2f} ({postgresql:.0f} and {sqlite:.0f} images/s), ", end="")
    print(f"refused: {dict(refused)}")


def _write_images(folder: Path, instances: int) -> list[Path]:
    """Write the images, a folder for each sender; every sender has its part of every study."""
    folders = [folder / f"sender-{sender}" for sender in range(SENDERS)]
    depth = instances // STUDIES
    for number in range(STUDIES):
        patient = Patient(f"BENCH-{number}", f"Prueba^Paciente {number}")
        series = Series(Study(patient, f"bench-{number}", date(2026, 1, 1)), "CT", 2, "slices", "CHEST")
        grid = Grid((-199.0, -185.0, 0.0), (2.6, 2.6, 2.0), (ROWS, ROWS, depth))
        for position, instance in enumerate(ct_slices(series, grid)):
            path = folders[position % SENDERS] / f"{number}-{position:04}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            write(instance, path)
    return folders


@contextmanager
def _contender(name: str, directory: Path, connections: int) -> Iterator[Contender]:
    """Run Orthanc with our configuration and plugins, its index and our own tables in one of the databases."""
    directory.mkdir(parents=True)
    (directory / "temporary").mkdir()
    (directory / "plugins").mkdir()
    environment = {
        **os.environ,
        "PACS_DATA_DIR": str(directory),
        "PACS_DATABASE_URL": f"sqlite:///{directory}/plugins/pacs.db",
        "PACS_HL7_PORT": str(free_port()),
        "PACS_MPPS_PORT": str(free_port()),
        "PACS_PAGES_SOCKET": str(directory / "pages.sock"),
        **configuration.read_environment(OUR_ENVIRONMENT),
    }
    with ExitStack() as stack:
        if name == "PostgreSQL":
            cluster = stack.enter_context(postgresql_cluster(fsync=True, directory=directory, settings=SERVER_SETTINGS))
            environment["PACS_DATABASE_URL"] = cluster.create_database()
            environment["PACS_ORTHANC_DATABASE_URL"] = cluster.create_database().replace("+psycopg", "")
            environment["PACS_ORTHANC_DATABASE_CONNECTIONS"] = str(connections)
        merged = configuration.load_all(OUR_FRAGMENTS, None, environment)
        if name == "PostgreSQL":
            merged |= configuration.load(OUR_FRAGMENTS / "postgresql" / "80-postgresql.json", environment)
        yield stack.enter_context(orthanc(name, directory, merged, environment))


def _send(contender: Contender, folders: list[Path]) -> Sent:
    """Have every sender send its folder over one association; a refused image does not end it."""
    command = ["/usr/bin/storescu", "-v", "-nh", "-aec", contender.aet, "+sd", "127.0.0.1", str(contender.dicom_port)]
    environment = {**os.environ, "TCP_NODELAY": "1"}
    started = time.monotonic()
    senders = [
        subprocess.Popen(
            [*command, folder], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for folder in folders
    ]
    words = [sender.communicate()[0] for sender in senders]
    seconds = time.monotonic() - started
    accepted = sum(text.count("Received Store Response (Success)") for text in words)
    return Sent(seconds, sum(1 for folder in folders for _ in folder.iterdir()) - accepted)


def _require_stored(contender: Contender, expected: int) -> None:
    found = contender.archive.get_json("/statistics")["CountInstances"]
    if found != expected:
        sys.exit(f"{contender.name} acknowledged {expected} images and holds {found}")


if __name__ == "__main__":
    main()
