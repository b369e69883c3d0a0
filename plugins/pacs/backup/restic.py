"""One restic repository: what we ask of the program `restic` (0.18), and what its answers mean."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import batched
from pathlib import Path
from typing import IO, Any

from pacs.backup import programs
from pacs.backup.errors import PlaceError, ProgramError

# Exit statuses (https://restic.readthedocs.io/en/stable/075_scripting.html).
_NO_REPOSITORY = 10
_LOCKED = 11
_WRONG_PASSWORD = 12
_INCOMPLETE = 3
# What a backup says whose parent was let go.
_PARENT_GONE = "failed to load snapshot"
# Another run of ours is waited for so long: what takes an exclusive lock (check, prune) goes by months.
_PATIENCE = "10m"
# MiB. Fewer files at a place that keeps twenty years of them.
_PACK_MIB = "64"
_PIECE_BYTES = 1024 * 1024
# A command line has its limit.
_WORDS_AT_ONCE = 1000
# Snapshots carry a name of our own: a new machine goes on where the old one ended.
_HOST = "pacs"


@dataclass(frozen=True)
class Snapshot:
    """One snapshot.

    Attributes
    ----------
    tags : name=value.
    size : how many files and bytes are in it.
    """

    snapshot_id: str
    at: datetime
    tags: Mapping[str, str]
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Saved:
    """What a backup added."""

    snapshot_id: str
    added_bytes: int
    files: int


class Repository:
    """A repository at a place.

    Parameters
    ----------
    address_file : holds restic's address of it, with the login if there is one.
    options : for each call: limits, certificates.
    environment : names of files with secrets.
    """

    def __init__(
        self,
        name: str,
        place: str,
        address_file: Path,
        password_file: Path,
        cache: Path,
        *,
        options: Sequence[str | Path] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.place = place
        self._options = [
            "--repository-file",
            address_file,
            "--password-file",
            password_file,
            "--cache-dir",
            cache,
            *options,
        ]
        self._environment = dict(environment or {})

    def exists(self) -> bool:
        """Tell whether the repository was made. Raises PlaceError: not reachable, or another key."""
        try:
            self._ask("cat", "config")
        except ProgramError as error:
            if error.ended_with == _NO_REPOSITORY:
                return False
            raise self._fault(error) from error
        return True

    def identity(self) -> str:
        """Return what tells the repository from any other, whatever way it is reached by. Raises PlaceError."""
        return str(json.loads(self._run("cat", "config", "--no-lock"))["id"])

    def save(
        self,
        folder: Path,
        tags: Mapping[str, str],
        *,
        parent: str | None = None,
        compressed: bool,
        leave_out: Sequence[str] = (),
    ) -> Saved:
        """Back a folder up as one snapshot whose root is the folder; the repository is made where it is missing.

        Parameters
        ----------
        parent : an earlier snapshot of the same folder; its files are not read again. None: everything is read.
        compressed : what is in the folder needs no compression.

        Raises
        ------
        PlaceError : it did not get there, or not whole.
        """
        words: list[str | Path] = ["backup", ".", "--json", "--host", _HOST, "--no-scan"]
        words += ["--ignore-ctime", "--ignore-inode", "--pack-size", _PACK_MIB]
        words += ["--compression", "off" if compressed else "auto"]
        words += [word for name, value in tags.items() for word in ("--tag", f"{name}={value}")]
        words += [word for pattern in leave_out for word in ("--exclude", pattern)]
        lines = self._save(folder, words, parent).splitlines()
        summary = next(one for one in map(json.loads, reversed(lines)) if one.get("message_type") == "summary")
        return Saved(summary["snapshot_id"], int(summary["data_added_packed"]), int(summary["total_files_processed"]))

    def _save(self, folder: Path, words: Sequence[str | Path], parent: str | None) -> str:
        """Back up with a parent; without, where it is gone or can't be read: a lost cache before a write-only place."""
        if parent:
            try:
                return self._ask(*words, "--parent", parent, folder=folder)
            except ProgramError as error:
                if error.ended_with not in {_INCOMPLETE, _NO_REPOSITORY} and _PARENT_GONE not in error.words:
                    raise self._fault(error) from error
        return self._run_or_make(*words, "--force", folder=folder)

    def snapshots(self) -> list[Snapshot]:
        """Return all snapshots, oldest first."""
        return _snapshots(self._run("snapshots", "--json", "--no-lock"))

    def snapshots_if_any(self) -> list[Snapshot]:
        """Return all snapshots; none where the repository is not made yet. Raises PlaceError."""
        try:
            return _snapshots(self._ask("snapshots", "--json", "--no-lock"))
        except ProgramError as error:
            if error.ended_with == _NO_REPOSITORY:
                return []
            raise self._fault(error) from error

    @contextmanager
    def content(self, snapshot_id: str, path: str = "/") -> Iterator[IO[bytes]]:
        """Give a folder of a snapshot as a tar stream, or a file of it as it is, while the block runs.

        Raises PlaceError when it did not come whole; known at the end of the block only.
        """
        words = [
            "dump",
            "--no-lock",
            *(["--archive", "tar"] if path.endswith("/") else []),
            snapshot_id,
            path.rstrip("/") or "/",
        ]
        command = self._command(words)
        with programs.start(command, environment=self._environment, stdout=subprocess.PIPE) as child:
            if child.stdout is None or child.stderr is None:
                raise AssertionError
            yield child.stdout
            while child.stdout.read(_PIECE_BYTES):
                pass
            said = child.stderr.read()
            status = child.wait()
        try:
            programs.require_success(command, status, said)
        except ProgramError as error:
            raise self._fault(error) from error

    def restore(self, snapshot_id: str, folder: Path) -> None:
        """Write a whole snapshot into a folder. Files that are there and the same are left."""
        self._run("restore", snapshot_id, "--target", folder, "--no-lock")

    def check(self, *, read: str = "") -> None:
        """Check the structure, and what is read of the data: "10%", "100%", "3/12". Raise PlaceError: damaged."""
        self.unlock()
        self._run("check", *(["--read-data-subset", read] if read else []))

    def forget(self, *words: str, prune: bool = False) -> None:
        """Forget snapshots: identifiers, or restic's --keep-... rules."""
        self.unlock()
        for some in batched(words, _WORDS_AT_ONCE, strict=False):
            self._run("forget", *some)
        if prune:
            self._run("prune", "--max-unused", "5%")

    def unlock(self) -> None:
        """Remove the locks of runs that were killed; those of living ones stay."""
        self._run("unlock")

    def stored_bytes(self) -> int:
        """Return how much the repository holds, packed."""
        return int(json.loads(self._run("stats", "--mode", "raw-data", "--json", "--no-lock"))["total_size"])

    def _run_or_make(self, *words: str | Path, folder: Path) -> str:
        """Run; where there is no repository yet, make it and run again: asking first would open it twice each time."""
        try:
            return self._ask(*words, folder=folder)
        except ProgramError as error:
            if error.ended_with != _NO_REPOSITORY:
                raise self._fault(error) from error
        self._run("init")
        return self._run(*words, folder=folder)

    def _run(self, *words: str | Path, folder: Path | None = None) -> str:
        try:
            return self._ask(*words, folder=folder)
        except ProgramError as error:
            raise self._fault(error) from error

    def _ask(self, *words: str | Path, folder: Path | None = None) -> str:
        command = self._command(words)
        try:
            return programs.run(command, folder=folder, environment=self._environment)
        except ProgramError as error:
            if error.ended_with != _LOCKED:
                raise
        self.unlock()
        return programs.run([*command, "--retry-lock", _PATIENCE], folder=folder, environment=self._environment)

    def _command(self, words: Sequence[str | Path]) -> list[str | Path]:
        return ["restic", *words, *self._options]

    def _fault(self, error: ProgramError) -> PlaceError:
        reason = {
            _NO_REPOSITORY: "there is no such repository",
            _LOCKED: "another program holds its lock",
            _WRONG_PASSWORD: "the key does not open it (wrong key, or another repository)",
            _INCOMPLETE: f"not everything could be read: {error.words}",
        }.get(error.ended_with, error.words or f"restic ended with status {error.ended_with}")
        return PlaceError(f"{self.place}: repository {self.name}: {reason}.")


def _snapshots(text: str) -> list[Snapshot]:
    return sorted(map(_snapshot, json.loads(text) or []), key=lambda one: one.at)


def _snapshot(found: Mapping[str, Any]) -> Snapshot:
    tags = dict(tag.split("=", 1) for tag in found.get("tags") or () if "=" in tag)
    told = found.get("summary", {})
    size = (int(told.get("total_files_processed", 0)), int(told.get("total_bytes_processed", 0)))
    return Snapshot(found["id"], datetime.fromisoformat(found["time"]), tags, size)
