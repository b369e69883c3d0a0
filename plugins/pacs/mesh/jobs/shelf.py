"""Finished models on the disk, each under what it was made of, so that the same is not made twice."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pacs.mesh.errors import MeshError
from pacs.mesh.recipe import Recipe
from pacs.mesh.report import Report
from pacs.processes.scratch import Scratch, remove_tree

# Raised when the same recipe would give other files than before: models on the shelf are then made anew.
EDITION = 3
REPORT = "report.json"
_KEY = re.compile(r"[0-9a-f-]{44}/[0-9a-f]{64}")
_DAY_SECONDS = 86_400.0
_log = logging.getLogger(__name__)


def shelf_key(orthanc_series_id: str, content_digest: str, recipe: Recipe) -> str:
    """Return under what a model stands: the series, and a hash of its content and of the recipe."""
    name = hashlib.sha256(f"{EDITION} {content_digest} {recipe.digest}".encode()).hexdigest()
    return f"{orthanc_series_id}/{name}"


@dataclass(frozen=True)
class ShelvedModel:
    """A finished model: its folder, what stands in its report."""

    folder: Path
    report: Report


@dataclass(frozen=True, slots=True)
class _Kept:
    folder: Path
    used_at: float
    size_bytes: int


class Shelf:
    """The folder of finished models. Every method may be called from any thread, and from several processes.

    Parameters
    ----------
    folder : made if missing, readable by nobody else: models are patients' data.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._making = Scratch(folder / ".making")

    def close(self) -> None:
        """Remove what was being made."""
        self._making.close()

    @contextmanager
    def place(self) -> Iterator[Path]:
        """Give an empty folder to make a model in, on the same disk; what `put` does not take is removed."""
        folder = self._making.new_folder()
        try:
            yield folder
        finally:
            if folder.exists():
                remove_tree(folder)

    def put(self, key: str, folder: Path, report: Report) -> None:
        """Put a finished model on the shelf, durably. One that is there already stays."""
        (folder / REPORT).write_text(report.model_dump_json(), encoding="utf-8")
        for path in folder.iterdir():
            _sync(path)
        _sync(folder)
        target = self._at(key)
        target.parent.mkdir(exist_ok=True, mode=0o700)
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():
                raise
        _sync(target.parent)

    def find(self, key: str) -> ShelvedModel | None:
        """Return a model and note that it was asked for; None when it is not there (any more) or not whole."""
        folder = self._at(key)
        try:
            report = Report.model_validate_json((folder / REPORT).read_bytes())
            whole = all((folder / one.name).stat().st_size == one.size_bytes for one in report.files)
        except (OSError, ValueError):
            return None
        if not whole:
            remove_tree(folder)
            return None
        with suppress(OSError):
            os.utime(folder)
        return ShelvedModel(folder, report)

    def series(self) -> list[str]:
        """Return Orthanc's identifiers of the series that there are models of."""
        return sorted(path.name for path in self._folder.iterdir() if not path.name.startswith("."))

    def forget(self, orthanc_series_id: str) -> None:
        """Remove all models of a series."""
        remove_tree(self._folder / orthanc_series_id)

    def tidy(self, keep_days: float, keep_bytes: int) -> int:
        """Remove models that nobody asked for in so many days, then those unused the longest; return how many."""
        oldest = time.time() - keep_days * _DAY_SECONDS
        kept = sorted(self._kept(), key=lambda one: one.used_at, reverse=True)
        removed, total_bytes = 0, 0
        for one in kept:
            total_bytes += one.size_bytes
            if one.used_at < oldest or total_bytes > keep_bytes:
                remove_tree(one.folder)
                removed += 1
        return removed

    def size_bytes(self) -> int:
        """Return what all models take on the disk."""
        return sum(one.size_bytes for one in self._kept())

    def _kept(self) -> Iterator[_Kept]:
        for series in self.series():
            for folder in (self._folder / series).iterdir():
                with suppress(OSError):
                    size_bytes = sum(path.stat().st_size for path in folder.iterdir())
                    yield _Kept(folder, folder.stat().st_mtime, size_bytes)

    def _at(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise MeshError(f"Expected the key of a model, found {key[:120]!r}.")
        return self._folder / key


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
