"""Orthanc's storage area: where a file is, all that are there, and the quarantine beside it.

Files are named by a random UUID and never changed once written (Orthanc 1.12, FilesystemStorage: AB/CD/ABCD...).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Measured:
    """A file as it was read: its size and MD5 (hexadecimal), as Orthanc's index keeps them."""

    size_bytes: int
    md5: str


def is_uuid(name: str) -> bool:
    """Tell whether a name is one that Orthanc gives its files."""
    return _UUID.fullmatch(name) is not None


def measure(file: IO[bytes]) -> Measured:
    """Read a file to its end."""
    digest, size = hashlib.md5(usedforsecurity=False), 0
    while piece := file.read(_PIECE_BYTES):
        digest.update(piece)
        size += len(piece)
    return Measured(size, digest.hexdigest())


class Storage:
    """A storage area.

    Parameters
    ----------
    folder : Orthanc's StorageDirectory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, uuid: str) -> Path:
        """Return where the file of this name is, or would be."""
        return self.folder / uuid[:2] / uuid[2:4] / uuid

    def files(self) -> Iterator[os.DirEntry[str]]:
        """Yield every file of an attachment; whatever else lies in the folder is not ours to judge."""
        for first in _folders(self.folder):
            for second in _folders(first.path):
                with os.scandir(second.path) as entries:
                    yield from (entry for entry in entries if is_uuid(entry.name))

    def sizes(self) -> dict[str, int]:
        """Return the size of every file, in bytes, by its name."""
        sizes = {}
        for entry in self.files():
            with suppress(FileNotFoundError):  # deleted while we looked
                sizes[entry.name] = entry.stat().st_size
        return sizes

    def measure(self, uuid: str) -> Measured | None:
        """Read the file of this name; None when it is not there. Raises OSError when the disk can't read it."""
        try:
            with self.path(uuid).open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
                measured = measure(file)
                # What is read once must not push the images that people look at out of the memory.
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        except FileNotFoundError:
            return None
        return measured

    def put_aside(self, uuid: str, folder: str) -> Path:
        """Move a file into `folder` beside the storage area and return where it is now; nothing is ever deleted."""
        target = self._place_aside(uuid, folder)
        self.path(uuid).rename(target)
        return target

    def link_aside(self, uuid: str, folder: str) -> Path:
        """Keep a file in `folder`, too, for somebody who replaces it: at no moment there is none."""
        target = self._place_aside(uuid, folder)
        os.link(self.path(uuid), target)
        return target

    def _place_aside(self, uuid: str, folder: str) -> Path:
        aside = self.folder.parent / folder / f"{datetime.now(UTC):%Y-%m-%d}"
        aside.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = aside / uuid
        number = 1
        while target.exists():
            target, number = aside / f"{uuid}.{number}", number + 1
        return target


def _folders(path: Path | str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            yield from (entry for entry in entries if len(entry.name) == 2 and entry.is_dir(follow_symlinks=False))  # noqa: PLR2004
    except FileNotFoundError:
        return
