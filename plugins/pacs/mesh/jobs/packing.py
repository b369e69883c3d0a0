"""Formats of which a model has several files (OBJ with its MTL, an STL for each tissue) in one ZIP to take away."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from pacs.mesh.recipe import Format
from pacs.mesh.report import ModelFile, Report

MEDIA_TYPE = "application/zip"
# The same files give the same bytes: no time of the day in them (the first that ZIP knows).
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def pack(report: Report, place: Path) -> Report:
    """Put the files of each format that has several into one more file, and return the report with it."""
    files = list(report.files)
    for kind in Format:
        several = [file for file in report.files if file.format is kind]
        if len(several) > 1:
            files.append(_zip(kind, several, place))
    return report.model_copy(update={"files": tuple(files)})


def downloads(report: Report) -> list[ModelFile]:
    """Return one file for each format: the ZIP where there is one."""
    chosen: dict[Format, ModelFile] = {}
    for file in report.files:
        if file.format not in chosen or file.media_type == MEDIA_TYPE:
            chosen[file.format] = file
    return list(chosen.values())


def _zip(kind: Format, files: list[ModelFile], place: Path) -> ModelFile:
    path = place / f"model-{kind}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.name, _NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            with (place / file.name).open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while block := source.read(2**20):
                    target.write(block)
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return ModelFile(name=path.name, format=kind, media_type=MEDIA_TYPE, size_bytes=path.stat().st_size, sha256=digest)
