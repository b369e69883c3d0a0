"""Packs: the new files of one run in one .tar.zst, with a list beside it. Any tar and zstd read them.

restic's own compression takes three times the processor of zstd's fastest level for the same size; packs are compressed
once for all places, and a place gets a few large files instead of thousands of small ones.

A batch is a folder, and one snapshot at each place:

    packs/20261122T114500.tar.zst    members as in Orthanc's storage area: ab/cd/abcd....
    lists/20261122T114500.list       uuid, size, MD5 of each member
    points/20261122T114500.json      the restore point, where the run ended with one
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pacs.backup import programs
from pacs.backup.errors import PlaceError
from pacs.backup.orthanc_index import Attachment
from pacs.backup.restic import Repository
from pacs.backup.storage import is_uuid

PACK = ".tar.zst"
LIST = ".list"
POINT = ".json"
PACKS, LISTS, POINTS = "packs", "lists", "points"
_PART = ".part"
_COMPRESS = ("zstd", "-q", "-1", "-T1")
_EXPAND = ("zstd", "-q", "-d", "-c")
# The folder of links is flat; in the pack files stand as in the storage area.
_LAYOUT = r"--transform=flags=r;s,^\(..\)\(..\),\1/\2/\1\2,"
_PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Member:
    """A file in a pack."""

    uuid: str
    content: IO[bytes]


def lay_out(batch: Path) -> None:
    """Make the folders of a batch; all are there at a place, also those that stay empty."""
    for name in (PACKS, LISTS, POINTS):
        (batch / name).mkdir(parents=True, exist_ok=True)


def write(batch: Path, name: str, links: Path, attachments: Iterable[Attachment]) -> int:
    """Pack files and return the bytes of the pack; it is whole and on the disk under its name, or not there.

    Parameters
    ----------
    batch : folder of the batch.
    links : folder with the files, by their uuid.
    """
    those = list(attachments)
    pack = batch / PACKS / f"{name}{PACK}"
    pack.parent.mkdir(parents=True, exist_ok=True)
    part = pack.with_name(pack.name + _PART)
    names = b"".join(one.uuid.encode() + b"\0" for one in those)
    tar: programs.Command = [
        "tar",
        "--create",
        "--blocking-factor=512",  # large writes: a fifth of the processor time less
        "--directory",
        links,
        "--null",
        "--files-from=-",
        "--owner=0",
        "--group=0",
        "--mode=0600",
        _LAYOUT,
    ]
    with part.open("wb") as file:
        with programs.start(_COMPRESS, stdin=subprocess.PIPE, stdout=file) as zstd:
            with programs.start(tar, stdin=subprocess.PIPE, stdout=zstd.stdin or 0) as packing:
                if zstd.stdin is not None:
                    zstd.stdin.close()
                _, said = packing.communicate(names)
            compressing = zstd.stderr.read() if zstd.stderr else b""
            status = zstd.wait()
        programs.require_success(tar, packing.returncode, said)
        programs.require_success(_COMPRESS, status, compressing)
        os.fsync(file.fileno())
    lines = "".join(f"{one.uuid} {one.size_bytes} {one.md5}\n" for one in those)
    write_durably(batch / LISTS / f"{name}{LIST}", lines)
    part.rename(pack)
    return pack.stat().st_size


def write_durably(path: Path, text: str) -> None:
    """Write a small file so that it is whole or not there, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + _PART)
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_parts(folder: Path) -> None:
    """Remove what a run that was cut left behind."""
    for path in folder.rglob(f"*{_PART}"):
        path.unlink()


def members(repository: Repository, snapshot_id: str) -> Iterator[Member]:
    """Yield every file of a batch; each must be read before the next is asked for. Raises PlaceError: damaged."""
    with repository.content(snapshot_id) as stream, _tar(stream, repository) as batch:
        for entry in batch:
            content = batch.extractfile(entry) if entry.name.endswith(PACK) else None
            if content is not None:
                yield from _members_of(content, repository)


def members_into(repository: Repository, snapshot_id: str, folder: Path, without: set[str]) -> Iterator[str]:
    """Write the files of a batch into one flat folder, but for some; yield their uuids."""
    folder.mkdir(parents=True)
    for one in members(repository, snapshot_id):
        if one.uuid not in without:
            with (folder / one.uuid).open("wb") as file:
                shutil.copyfileobj(one.content, file)
            yield one.uuid


def extract(repository: Repository, snapshot_id: str, storage: Path, without: Iterable[str] = ()) -> None:
    """Write the files of a batch where Orthanc keeps them, as its user; what is there already is left as it is."""
    excluded = "".join(f"{uuid[:2]}/{uuid[2:4]}/{uuid}\n" for uuid in without)
    with tempfile.NamedTemporaryFile("w", prefix="without-") as listed:
        listed.write(excluded)
        listed.flush()
        Path(listed.name).chmod(0o644)  # it is read by Orthanc's user, and holds names of files alone
        options = ["--skip-old-files", "--no-same-owner", "--no-wildcards", f"--exclude-from={listed.name}", "--file=-"]
        command = programs.as_owner(storage, ["tar", "--extract", "--directory", storage, *options])
        with repository.content(snapshot_id) as stream, _tar(stream, repository) as batch:
            for entry in batch:
                content = batch.extractfile(entry) if entry.name.endswith(PACK) else None
                if content is not None:
                    _extract_pack(content, command)


def _extract_pack(content: IO[bytes], command: programs.Command) -> None:
    with _expanded(content) as (expanded, require_whole):
        with programs.start(command, stdin=expanded) as child:
            said = child.stderr.read() if child.stderr else b""
            programs.require_success(command, child.wait(), said)
        require_whole()


def texts(repository: Repository, snapshot_id: str, folder: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of each list or restore point of a batch, without reading its packs.

    Parameters
    ----------
    folder : LISTS or POINTS.
    """
    with repository.content(snapshot_id, f"/{folder}/") as stream, _tar(stream, repository) as entries:
        for entry in entries:
            content = entries.extractfile(entry)
            if content is not None:
                yield entry.name.rpartition("/")[2].partition(".")[0], content.read().decode()


def single(repository: Repository, snapshot_id: str, name: str, uuids: frozenset[str]) -> Iterator[Member]:
    """Yield some files of one pack."""
    with repository.content(snapshot_id, f"/{PACKS}/{name}{PACK}") as pack:
        yield from (one for one in _members_of(pack, repository) if one.uuid in uuids)


def _members_of(pack: IO[bytes], repository: Repository) -> Iterator[Member]:
    with _expanded(pack) as (stream, fault), _tar(stream, repository) as files:
        for entry in files:
            uuid = entry.name.rpartition("/")[2]
            content = files.extractfile(entry) if is_uuid(uuid) else None
            if content is not None:
                yield Member(uuid, content)
        fault()


@contextmanager
def _tar(stream: IO[bytes], repository: Repository) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_PIECE_BYTES) as opened:
            yield opened
    except tarfile.TarError as error:
        raise PlaceError(f"{repository.place}: repository {repository.name}: a pack can't be read: {error}.") from error


@contextmanager
def _expanded(pack: IO[bytes]) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """Give the tar in a pack; the function raises ProgramError when the pack was not whole."""
    with programs.start(_EXPAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as zstd:
        if zstd.stdin is None or zstd.stdout is None or zstd.stderr is None:
            raise AssertionError
        feeder = threading.Thread(target=_feed, args=(pack, zstd.stdin), name="pack")
        feeder.start()

        def require_whole() -> None:
            while zstd.stdout is not None and zstd.stdout.read(_PIECE_BYTES):
                pass
            feeder.join()
            programs.require_success(_EXPAND, zstd.wait(), zstd.stderr.read() if zstd.stderr else b"")

        try:
            yield zstd.stdout, require_whole
        finally:
            if zstd.poll() is None and feeder.is_alive():
                zstd.kill()
            feeder.join()


def _feed(source: IO[bytes], target: IO[bytes]) -> None:
    try:
        with target:
            while piece := source.read(_PIECE_BYTES):
                target.write(piece)
    except (OSError, tarfile.TarError):
        pass  # the reader has had enough, or the source is cut: the program's status tells
