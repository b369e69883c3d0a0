"""The files of instances, for child processes, which ask the archive nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pacs.ports import Archive
from pacs.processes.scratch import Scratch, remove_tree


class StoredInstance(Protocol):
    """What must be known of an instance to find its file in Orthanc's storage."""

    @property
    def orthanc_instance_id(self) -> str:
        """Orthanc's identifier."""

    @property
    def attachment_id(self) -> str:
        """The name of the file."""

    @property
    def size_bytes(self) -> int:
        """The size that the file has if it is stored as it came."""


class InstanceFiles:
    """Brings instances before a child: by the path in Orthanc's storage, and as a copy where there is no such file.

    There is none where Orthanc compresses what it stores, or stores elsewhere than in files.

    Parameters
    ----------
    storage_directory : Orthanc's.
    scratch : for the copies, on the volume of the data.
    """

    def __init__(self, archive: Archive, storage_directory: Path, scratch: Scratch) -> None:
        self._archive = archive
        self._storage_directory = storage_directory
        self._scratch = scratch

    @contextmanager
    def opened(self, instances: Sequence[StoredInstance]) -> Iterator[list[str]]:
        """Give the paths of the files, one for each instance; copies go afterwards.

        Raises
        ------
        NotFound, ArchiveError : an instance can't be had (any more).
        """
        paths = [self._stored(one) for one in instances]
        if None not in paths:
            yield list(map(str, paths))
            return
        folder = self._scratch.new_folder()
        try:
            yield [str(path or self._copy(one, folder)) for one, path in zip(instances, paths, strict=True)]
        finally:
            remove_tree(folder)

    def _stored(self, instance: StoredInstance) -> Path | None:
        name = instance.attachment_id
        path = self._storage_directory / name[:2] / name[2:4] / name
        try:
            return path if path.stat().st_size == instance.size_bytes else None
        except OSError:
            return None

    def _copy(self, instance: StoredInstance, folder: Path) -> Path:
        path = folder / instance.orthanc_instance_id
        path.write_bytes(self._archive.get_bytes(f"/instances/{instance.orthanc_instance_id}/file"))
        return path
