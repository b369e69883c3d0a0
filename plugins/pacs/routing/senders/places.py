"""Files in a folder, of this server or of another one by SFTP: STUDY/SERIES/INSTANCE.dcm, each whole or not there."""

from __future__ import annotations

import base64
import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import paramiko

from pacs.routing.senders.c_store import Prepare
from pacs.routing.senders.content import Content, Source
from pacs.routing.senders.faults import FaultKind, SendingFault
from pacs.routing.senders.outcome import Journal, Outcome
from pacs.routing.senders.pace import Pace
from pacs.routing.senders.transcoding import chain

_PART_BYTES = 2**18
_CONNECT_SECONDS = 10.0
# Of a UID, and a little more: some devices write letters.
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")


class Place(Protocol):
    """A folder that takes files."""

    def put(self, path: PurePosixPath, content: memoryview, pace: Pace) -> None:
        """Write a file, whole or not at all. Raises OSError."""

    def sizes(self, folder: PurePosixPath) -> dict[str, int]:
        """Return the names and sizes (bytes) of the files of a folder; none when it is not there. Raises OSError."""


class FolderPlace:
    """A folder of this server."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise SendingFault(
                FaultKind.AWAY, f"There is no folder {root}.", remedy="Make it, or mount what should be there."
            )
        self._root = root

    def put(self, path: PurePosixPath, content: memoryview, pace: Pace) -> None:
        """See `Place.put`: written beside, synced, then named."""
        target = self._root / path
        if not target.parent.resolve().is_relative_to(self._root.resolve()):
            raise OSError(errno.EXDEV, "a link leads out of the folder", str(target.parent))
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_suffix(".part")
        # A new file: what somebody else put there, a link to another one say, is not written into.
        beside.unlink(missing_ok=True)
        with beside.open("xb") as file:
            for start in range(0, len(content), _PART_BYTES):
                pace.wait(file.write(content[start : start + _PART_BYTES]))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
        _sync(target.parent)

    def sizes(self, folder: PurePosixPath) -> dict[str, int]:
        """See `Place.sizes`."""
        path = self._root / folder
        return {one.name: one.stat().st_size for one in path.iterdir()} if path.is_dir() else {}


class SftpPlace:
    """A folder of another server. Whose key is not the one that the target names is nobody to us."""

    def __init__(self, client: paramiko.SFTPClient, root: str) -> None:
        self._client = client
        self._root = PurePosixPath(root)
        self._made: set[PurePosixPath] = set()

    def put(self, path: PurePosixPath, content: memoryview, pace: Pace) -> None:
        """See `Place.put`: written beside, its size looked at, then named."""
        target = self._root / path
        self._make(target.parent)
        beside = target.with_suffix(".part")
        with self._client.open(str(beside), "wb") as file:
            file.set_pipelined(True)
            for start in range(0, len(content), _PART_BYTES):
                part = bytes(content[start : start + _PART_BYTES])
                file.write(part)
                pace.wait(len(part))
        if self._client.stat(str(beside)).st_size != len(content):
            raise OSError(f"{beside} has another size there than here")
        self._client.posix_rename(str(beside), str(target))

    def sizes(self, folder: PurePosixPath) -> dict[str, int]:
        """See `Place.sizes`."""
        try:
            entries = self._client.listdir_attr(str(self._root / folder))
        except FileNotFoundError:
            return {}
        return {one.filename: one.st_size or 0 for one in entries if not stat.S_ISDIR(one.st_mode or 0)}

    def _make(self, folder: PurePosixPath) -> None:
        if folder in self._made or folder == folder.parent:
            return
        self._make(folder.parent)
        with suppress(OSError):
            self._client.mkdir(str(folder))
        self._made.add(folder)


@contextmanager
def opened(target: Mapping[str, Any]) -> Iterator[Place]:
    """Give the place of a target. Raises SendingFault."""
    if target["kind"] == "folder":
        yield FolderPlace(Path(target["path"]))
        return
    with _signed_in(target) as client:
        yield SftpPlace(client, target["path"])


@contextmanager
def _signed_in(target: Mapping[str, Any]) -> Iterator[paramiko.SFTPClient]:
    kind, encoded = target["host_key"].split()[:2]
    transport: paramiko.Transport | None = None
    try:
        key = paramiko.PKey.from_type_string(kind, base64.b64decode(encoded))
        transport = paramiko.Transport((target["host"], target["port"]))
        transport.banner_timeout = transport.auth_timeout = _CONNECT_SECONDS
        ours = None if target.get("key") is None else paramiko.PKey.from_path(target["key"])
        transport.connect(key, target["user"], target.get("password"), ours)
        channel = transport.open_session(timeout=_CONNECT_SECONDS)
        channel.settimeout(target["answer_seconds"])
        channel.invoke_subsystem("sftp")
        client = paramiko.SFTPClient(channel)
    except (paramiko.SSHException, OSError, EOFError, ValueError) as error:
        if transport is not None:
            transport.close()
        raise SendingFault(
            FaultKind.AWAY,
            f"{target['host']}:{target['port']}: {error}.",
            remedy="Check that it runs, user and password or key, and host_key.",
        ) from error
    with transport, client:
        yield client


class Placing:
    """Sends instances into a folder."""

    def __init__(self, target: Mapping[str, Any], wanted: str | None) -> None:
        self._target = target
        self._wanted = chain(wanted)
        self._pace = Pace(target.get("bytes_per_second"))

    def send(self, sources: Sequence[Source], prepare: Prepare, journal: Journal) -> None:
        """Send all of `sources` and note what came of each. Raises SendingFault."""
        with opened(self._target) as place:
            for one in prepare(sources, lambda source: [*self._wanted, source.syntax]):
                journal.note(one if isinstance(one, Outcome) else self._put(place, one))

    def _put(self, place: Place, content: Content) -> Outcome:
        uids = (content.study, content.series, content.sop_instance)
        if not all(map(is_name, uids)):
            return Outcome.refused(content, "ours", "one of its UIDs is none, and no file is named after it")
        try:
            place.put(path_of(*uids), content.file, self._pace)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise SendingFault(
                FaultKind.BUSY, f"A file can't be written there: {error}.", remedy="Check its room and its rights."
            ) from error
        return Outcome.sent(content, "written", str(len(content.file)))


def is_name(uid: str) -> bool:
    """Tell whether a folder or file can be named after a UID: what senders call one may lead anywhere."""
    return _NAME.fullmatch(uid) is not None


def _sync(folder: Path) -> None:
    """Have the name of a file survive a power cut, too."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Some mounted file systems know no such thing.
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def path_of(study: str, series: str, sop_instance: str) -> PurePosixPath:
    """Return where an instance's file stands."""
    return PurePosixPath(study) / series / f"{sop_instance}.dcm"
