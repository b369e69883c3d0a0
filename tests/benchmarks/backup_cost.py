"""What a backup costs: `python -m benchmarks.backup_cost --directory DIRECTORY [--real FOLDER] [--megabytes N]`.

The same files are copied (cp), backed up as `files` does (packs, then restic), by restic alone and by Borg, each to
the same disk; then restored, against rsync. Processor time is of the programs and their children. DIRECTORY lies on the
disk that is meant: a copy within memory costs a tenth of one on a disk.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from uuid import UUID

import numpy as np

from pacs.backup import packs
from pacs.backup.orthanc_index import Attachment
from pacs.backup.restic import Repository
from pacs.backup.storage import Storage, measure
from pacs.demo.attributes import Patient, Series, Study
from pacs.demo.canvas import Grid
from pacs.demo.studies import ct_slices
from pacs.demo.syntaxes import write

MEGABYTE = 1000**2
# A day's images are one batch (batch_bytes is 20 GB): opening a repository takes half a second each time.
BATCH_BYTES = 20_000 * MEGABYTE
_PASSWORD = "benchmark"  # noqa: S105 - of a repository that lives as long as this


@dataclass(frozen=True)
class Cost:
    """What something took."""

    wall_seconds: float
    cpu_seconds: float
    stored_bytes: int = 0


def main() -> None:
    """Measure everything on a synthetic tree and, where there is one, on a real one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="an empty directory on the disk that is meant")
    parser.add_argument("--real", type=Path, help="folder of real DICOM files")
    parser.add_argument("--megabytes", type=int, default=2000)
    options = parser.parse_args()
    trees = {"synthetic": _synthetic}
    if options.real:
        trees["real"] = lambda target, size: _real(options.real, target, size)
    for name, make in trees.items():
        folder = options.directory.absolute() / name
        source = folder / "source"
        make(source, options.megabytes * MEGABYTE)
        _measure(name, source, folder)
        shutil.rmtree(folder)


def _measure(name: str, source: Path, folder: Path) -> None:
    size = _bytes_of(source)
    count = sum(1 for path in source.rglob("*") if path.is_file())
    print(
        f"\n{name}: {count} files, {size / MEGABYTE:.0f} MB\n"
        "| what | wall s | CPU s | CPU / first | size |\n|---|---|---|---|---|"
    )
    work = folder / "work"
    costs = {"cp": _cost(lambda: _run(["cp", "-a", source, _fresh(work)]), work)}
    costs["packs, restic (ours)"] = _cost(lambda: _ours(source, _fresh(work)), work / "place")
    _print(costs, size, "cp")
    costs = {"rsync": _cost(lambda: _run(["rsync", "-a", f"{source}/", folder / "copy"]), folder / "copy")}
    costs["restore (ours)"] = _cost(lambda: _restore(work, folder / "back"), folder / "back")
    _print(costs, size, "rsync")
    _require_same(source, folder / "back")
    read = _cost(lambda: _drill(work), None)
    print(f"| every file read and hashed, as a drill does | {read.wall_seconds:.1f} | {read.cpu_seconds:.1f} | | "
          f"{read.wall_seconds / size * 1e9:.1f} s/GB |")  # fmt: skip
    others: dict[str, Callable[[], None]] = {
        "restic alone, auto": lambda: _restic(source, _fresh(work), "auto"),
        "restic alone, off": lambda: _restic(source, _fresh(work), "off"),
        "borg zstd,1": lambda: _borg(source, _fresh(work)),
    }
    for what, work_of in others.items():
        _print({"cp": _cost(lambda: _run(["cp", "-a", source, _fresh(folder / "again")]), folder / "again"),
                what: _cost(work_of, work / "place")}, size, "cp")  # fmt: skip


def _print(costs: dict[str, Cost], size: int, base: str) -> None:
    for what, cost in costs.items():
        ratio = cost.cpu_seconds / costs[base].cpu_seconds
        figures = f"{cost.wall_seconds:.1f} | {cost.cpu_seconds:.1f} | {ratio:.2f} | {cost.stored_bytes / size:.3f}"
        print(f"| {what} | {figures} |", flush=True)


def _cost(work: Callable[[], None], stored: Path | None) -> Cost:
    os.sync()
    before, began = _cpu_seconds(), time.monotonic()
    work()
    os.sync()
    return Cost(time.monotonic() - began, _cpu_seconds() - before, _bytes_of(stored) if stored else 0)


def _cpu_seconds() -> float:
    """Return the processor time of this process and of its children that ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF))
    )


def _ours(source: Path, work: Path) -> None:
    """Pack and send as `files` does, batch by batch."""
    repository = _repository(work)
    for number, some in enumerate(_batches(Storage(source))):
        batch, links = work / "spool" / f"{number:03}", work / "links"
        links.mkdir()
        for one in some:
            os.link(Storage(source).path(one.uuid), links / one.uuid)
        packs.write(batch, "pack", links, some)
        shutil.rmtree(links)
        repository.save(batch, {"batch": str(number)}, compressed=True)
        shutil.rmtree(batch)


def _batches(storage: Storage) -> list[list[Attachment]]:
    batches: list[list[Attachment]] = [[]]
    for entry in storage.files():
        if sum(one.size_bytes for one in batches[-1][-1:]) and sum(one.size_bytes for one in batches[-1]) > BATCH_BYTES:
            batches.append([])
        batches[-1].append(Attachment(0, 1, entry.name, entry.stat().st_size, 0, "", ""))
    return batches


def _restore(work: Path, target: Path) -> None:
    target.mkdir()
    repository = _repository(work)
    for one in repository.snapshots():
        packs.extract(repository, one.snapshot_id, target)


def _drill(work: Path) -> None:
    repository = _repository(work)
    for one in repository.snapshots():
        for member in packs.members(repository, one.snapshot_id):
            measure(member.content)


def _repository(work: Path) -> Repository:
    work.mkdir(parents=True, exist_ok=True)
    (work / "address").write_text(str(work / "place"))
    (work / "password").write_text(_PASSWORD)
    return Repository("files", "bench", work / "address", work / "password", work / "cache")


def _restic(source: Path, work: Path, compression: str) -> None:
    _repository(work)
    options = ["-q", "-r", work / "place", "-p", work / "password", "--cache-dir", work / "cache"]
    _run(["restic", *options, "init"])
    _run(["restic", *options, "--compression", compression, "backup", source])


def _borg(source: Path, work: Path) -> None:
    work.mkdir(parents=True)
    environment = {"BORG_PASSPHRASE": _PASSWORD, "BORG_BASE_DIR": str(work / "borg")}
    _run(["borg", "init", "-e", "repokey-blake2", work / "place"], environment)
    _run(["borg", "create", "--compression", "zstd,1", f"{work}/place::a", source], environment)


def _run(command: Sequence[str | Path], environment: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **(environment or {})})


def _fresh(folder: Path) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    return folder


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _require_same(source: Path, back: Path) -> None:
    """Compare what came back, byte for byte."""
    expected, found = (
        {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} for folder in (source, back)
    )
    if expected != found:
        message = "what was restored is not what was saved"
        raise RuntimeError(message)


def _put(target: Path, content: bytes, chance: np.random.Generator) -> int:
    uuid = str(UUID(bytes=chance.bytes(16)))
    path = Storage(target).path(uuid)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return len(content)


def _synthetic(target: Path, size: int) -> None:
    """Write a CT with noise again and again, each time with pixels of its own."""
    chance, written = np.random.default_rng(1), 0
    series = Series(Study(Patient("BENCH", "Prueba^Costo"), "bench", date(2026, 1, 1)), "CT", 2, "s", "CHEST")
    grid = Grid((-199.6, -185.6, 0.0), (0.78, 0.78, 8.0), (512, 512, 30))
    path = target.parent / "one.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    instances = [(instance, np.frombuffer(instance.PixelData, "<i2")) for instance in ct_slices(series, grid)]
    while written < size:
        for instance, pixels in instances:
            instance.PixelData = np.roll(
                pixels + chance.integers(-3, 4, pixels.size, np.int16), int(chance.integers(1, 5000))
            ).tobytes()
            write(instance, path)
            written += _put(target, path.read_bytes(), chance)
    path.unlink()


def _real(folder: Path, target: Path, size: int) -> None:
    """Write real files again and again, their uncompressed pixels shifted so that no two are the same."""
    chance, written = np.random.default_rng(1), 0
    contents = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    while written < size:
        for content in contents:
            shift = int(chance.integers(1, 4000)) * 2
            head = min(len(content) // 3, 3000)
            written += _put(target, content[:head] + content[head + shift :] + content[head : head + shift], chance)


if __name__ == "__main__":
    main()
