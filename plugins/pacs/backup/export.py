"""The legal archive: the studies of a year on media that anybody can read without us, whole and with checksums.

Each volume stands for itself: DICOM Part 10 files byte for byte as they were stored, a DICOMDIR (PS3.10 section 8), two
CSV files, SHA256SUMS for `sha256sum -c` with its signature, and a text that says so. A folder, or an ISO 9660 image.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from pacs.backup import programs, signing
from pacs.backup.errors import BackupError, Damage
from pacs.backup.orthanc_index import Attachment
from pacs.backup.runs import Run
from pacs.backup.site import Site
from pacs.backup.storage import Storage

VOLUME_BYTES = 24_000_000_000  # a Blu-ray disc
# Eight characters at most: file identifiers of media (PS3.10 section 8.2).
_PER_FOLDER = 10_000
_FILE_COLUMNS = ("Path", "SHA256", "Bytes", "StudyInstanceUID")
_TEXT = """{organization}

EN  Medical images of the year {year}, volume {number}. DICOMDIR and DICOM/ are read by any DICOM viewer.
    studies.csv and files.csv are tables (UTF-8). To check that nothing has changed: sha256sum -c SHA256SUMS
ES  Imágenes médicas del año {year}, volumen {number}. DICOMDIR y DICOM/ se leen con cualquier visor DICOM.
    studies.csv y files.csv son tablas (UTF-8). Para comprobar que nada ha cambiado: sha256sum -c SHA256SUMS
PT  Imagens médicas do ano {year}, volume {number}. DICOMDIR e DICOM/ são lidos por qualquer visualizador DICOM.
    studies.csv e files.csv são tabelas (UTF-8). Para verificar que nada mudou: sha256sum -c SHA256SUMS
"""


@dataclass
class Volume:
    """A volume that is being filled."""

    folder: Path
    number: int
    size_bytes: int = 0
    files: list[tuple[str, str, int, str]] = field(default_factory=list)
    studies: list[dict[str, str]] = field(default_factory=list)


def run(site: Site, year: int, target: Path, volume_bytes: int = VOLUME_BYTES) -> str:
    """Export a year into a folder (volumes VOL001 ...), or as ISO images where `target` ends in .iso.

    Raises
    ------
    Damage : files are missing or broken; what is left was exported, and the error names them.
    BackupError : the target exists.
    """
    with site.runs.run("export") as told:
        as_iso = target.suffix == ".iso"
        folder = target.with_suffix("") if as_iso else target
        if target.exists() or folder.exists():
            raise BackupError(f"{target} exists already.", remedy="Name a new folder: nothing is overwritten.")
        export = _Export(site, year, folder, volume_bytes)
        volumes = export.write()
        if as_iso:
            for one in volumes:
                _burn(one.folder, target.with_name(f"{target.stem}-{one.folder.name}.iso"), f"{year}-{one.folder.name}")
            shutil.rmtree(folder)
        _tell(told, export, volumes, year)
        return told.sentence


class _Export:
    """One export of one year."""

    def __init__(self, site: Site, year: int, folder: Path, volume_bytes: int) -> None:
        self._site = site
        self._year = year
        self._folder = folder
        self._volume_bytes = volume_bytes
        self.broken: list[str] = []

    def write(self) -> list[Volume]:
        """Write all volumes."""
        volumes: list[Volume] = []
        for study, images in self._studies():
            size = sum(one.content_bytes for one in images)
            if not volumes or (volumes[-1].size_bytes and volumes[-1].size_bytes + size > self._volume_bytes):
                number = len(volumes) + 1
                volumes.append(Volume(self._folder / f"VOL{number:03}", number))
            self._add(volumes[-1], study, images)
        for one in volumes:
            self._finish(one)
        return volumes

    def _studies(self) -> Iterator[tuple[dict[str, str], list[Attachment]]]:
        with self._site.index() as index:
            with index.reading() as reading:
                studies = reading.studies_of_year(self._year)
            for study in studies:
                with index.reading() as reading:
                    yield study, reading.attachments_below(study["OrthancID"])

    def _add(self, volume: Volume, study: dict[str, str], images: list[Attachment]) -> None:
        """Copy a study's files; what is not as it was stored is left out and told."""
        volume.studies.append(study | {"Instances": str(len(images))})
        for one in images:
            content = _content(self._site.storage, one)
            if content is None:
                self.broken.append(f"{one.uuid} (study {study['StudyInstanceUID']})")
                continue
            number = len(volume.files)
            path = Path("DICOM") / f"D{number // _PER_FOLDER:07}" / f"I{number:07}"
            target = volume.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            volume.files.append((path.as_posix(), digest, len(content), study["StudyInstanceUID"]))
            volume.size_bytes += len(content)

    def _finish(self, volume: Volume) -> None:
        """Write the DICOMDIR, the tables, the checksums and their signature."""
        folder = volume.folder
        _write_directory(folder, f"PACS{self._year}_{volume.number:03}")
        columns = [name for name in volume.studies[0] if name != "OrthancID"]
        rows = [[study[name] for name in columns] for study in volume.studies]
        (folder / "studies.csv").write_text(_table(columns, rows), encoding="utf-8")
        (folder / "files.csv").write_text(_table(_FILE_COLUMNS, volume.files), encoding="utf-8")
        words = {"year": self._year, "number": volume.number, "organization": "PACS Cloud"}
        (folder / "README.TXT").write_text(_TEXT.format(**words), encoding="utf-8")
        sums = dict((path, digest) for path, digest, _, _ in volume.files)  # noqa: C402 - the pair is part of a row
        for name in ("DICOMDIR", "studies.csv", "files.csv", "README.TXT"):
            sums[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        listed = folder / "SHA256SUMS"
        listed.write_text("".join(f"{digest}  {path}\n" for path, digest in sums.items()), encoding="utf-8")
        signing.sign(listed, self._site.settings.signing_key)


def _content(storage: Storage, one: Attachment) -> bytes | None:
    """Return the DICOM file of an attachment if it is as it was stored, else None."""
    try:
        content = storage.path(one.uuid).read_bytes()
        if one.content_bytes != one.size_bytes:
            content = _inflated(content)
    except (OSError, zlib.error, struct.error):
        return None
    is_right = len(content) == one.content_bytes and (
        not one.content_md5 or hashlib.md5(content, usedforsecurity=False).hexdigest() == one.content_md5
    )
    return content if is_right else None


def _inflated(content: bytes) -> bytes:
    """Undo Orthanc's compression of stored files (StorageCompression): eight bytes of length, then zlib."""
    struct.unpack_from("<Q", content)
    return zlib.decompress(content[8:])


def _write_directory(folder: Path, identifier: str) -> None:
    """Write the DICOMDIR. Files of any transfer syntax and with faults of their makers are taken as they are."""
    lenient = ["--no-xfer-check", "--no-encoding-check", "--no-resolution-check", "--no-consistency-check", "--invent"]
    command: programs.Command = ["/usr/bin/dcmmkdir", *lenient, "--recurse", "--fileset-id", identifier, "DICOM"]
    programs.run(command, folder=folder)


def _table(columns: tuple[str, ...] | list[str], rows: list[list[str]] | list[tuple[str, str, int, str]]) -> str:
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_harmless(value) for value in row] for row in rows)
    return text.getvalue()


def _harmless(value: object) -> object:
    """Keep a value from being taken for a formula by a spreadsheet."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@"} else value


def _burn(folder: Path, image: Path, name: str) -> None:
    """Write a volume as an image for a disc: ISO 9660 level 3 with Rock Ridge and Joliet."""
    options = ["-quiet", "-iso-level", "3", "-R", "-J", "-V", name.upper().replace("-", "_")[:32]]
    programs.run(["xorriso", "-as", "mkisofs", *options, "-o", image, folder])


def _tell(told: Run, export: _Export, volumes: list[Volume], year: int) -> None:
    files, studies = sum(len(one.files) for one in volumes), sum(len(one.studies) for one in volumes)
    told.facts |= {
        "year": year,
        "volumes": len(volumes),
        "files": files,
        "studies": studies,
        "broken": len(export.broken),
    }
    told.sentence = f"{studies} studies of {year}, {files} files, {len(volumes)} volumes."
    if export.broken:
        raise Damage(
            f"{told.sentence} Left out, since they are not as they were stored: {', '.join(export.broken[:20])}."
        )
