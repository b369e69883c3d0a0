"""Scratch copies for drills and restores: a PostgreSQL out of pgBackRest's repository, on a socket of ours alone.

Nothing of it outlives us: the server is killed by the kernel when we end, whatever way; the folder is removed at the
end, or by whoever comes next (`pacs.processes.scratch.Scratch`).
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from pacs.backup import programs
from pacs.backup.database import recovery_options
from pacs.backup.database_log import DatabaseLog
from pacs.backup.errors import BackupError
from pacs.backup.settings import DatabaseSettings

_START_SECONDS = 3600.0  # replaying a day's log
_STOP_SECONDS = 30.0
_PORT = "5432"  # names the socket's file: nothing listens on the network


class ScratchPostgresql:
    """A cluster restored into a folder of ours.

    Parameters
    ----------
    repository : pgBackRest's, as it came from a place.
    folder : empty, ours alone.
    """

    def __init__(self, settings: DatabaseSettings, repository: Path, folder: Path) -> None:
        self._settings = settings
        self._repository = repository
        self._folder = folder
        self._data = folder / "cluster"
        self._configuration = folder / "pgbackrest.conf"
        self._configuration.write_text(
            f"[global]\nrepo1-path={repository}\nlock-path={folder}/lock\nspool-path={folder}/spool\n"
            f"log-level-console=warn\nprocess-max=2\n[{settings.stanza}]\npg1-path={self._data}\n"
        )
        self._socket = Path()

    def info(self) -> dict[str, Any]:
        """Return what pgBackRest tells of the repository. Raise BackupError: it holds nothing."""
        found = json.loads(self._pgbackrest("info", "--output=json"))
        if not found or not found[0].get("backup"):
            raise BackupError("The place's copy of pgBackRest's repository holds no base backup.")
        return dict(found[0])

    def log(self) -> DatabaseLog:
        """Return the log that came with it. Raise BackupError: there is no base backup."""
        return DatabaseLog(self._repository, self.info())

    def restore(self, target: Mapping[str, str]) -> None:
        """Write the cluster as it was at a point. Raise ProgramError: damaged, or the point is out of reach."""
        self._data.mkdir(mode=0o700)
        self._pgbackrest("restore", "--archive-mode=off", *recovery_options(target))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the server while the block runs. Raise BackupError: it does not start, or does not reach the point."""
        self._write_settings()
        # A socket's path has 107 characters at most; it lies in memory, readable by us alone.
        with (
            tempfile.TemporaryDirectory(prefix="pg-", dir="/dev/shm") as name,
            (self._folder / "log").open("wb") as log,
        ):
            self._socket = Path(name)
            options = [f"--config-file={self._folder}/postgresql.conf", "-k", name]
            server = subprocess.Popen(
                [self._settings.programs / "postgres", "-D", self._data, *options],
                stdout=log,
                stderr=log,
                preexec_fn=programs.end_with_parent,  # noqa: PLW1509 - one call into the kernel, no lock, no allocation
            )
            try:
                self._wait(server)
                yield
            finally:
                _stop(server)

    def url(self, database: str) -> str:
        """Return the address of a database of it."""
        return f"postgresql://{self._settings.superuser}@/{database}?host={self._socket}&port={_PORT}"

    def connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a connection that commits each statement."""
        return psycopg.connect(self.url(database), autocommit=True)

    def _write_settings(self) -> None:
        hba, ident = self._folder / "hba.conf", self._folder / "ident.conf"
        hba.write_text("local all all trust\n")
        ident.touch()
        values = {
            "data_directory": f"'{self._data}'", "hba_file": f"'{hba}'", "ident_file": f"'{ident}'", "port": _PORT,
            "listen_addresses": "''", "unix_socket_permissions": "0700", "archive_mode": "off", "fsync": "off",
            "full_page_writes": "off", "shared_buffers": "'64MB'", "hot_standby": "off", "max_wal_senders": "0",
            "max_connections": "20", "autovacuum": "off", "logging_collector": "off",
        }  # fmt: skip
        lines = "".join(f"{name} = {value}\n" for name, value in values.items())
        (self._folder / "postgresql.conf").write_text(lines)

    def _wait(self, server: subprocess.Popen[bytes]) -> None:
        give_up_at = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.connect("postgres").close()
            except psycopg.OperationalError:
                if server.poll() is not None or time.monotonic() > give_up_at:
                    words = (self._folder / "log").read_text(errors="replace")[-800:]
                    raise BackupError(f"The restored PostgreSQL does not run: {words}") from None
                time.sleep(0.05)
            else:
                return

    def _pgbackrest(self, command: str, *options: str) -> str:
        words = [f"--config={self._configuration}", f"--stanza={self._settings.stanza}", "--log-level-file=off"]
        return programs.run(["pgbackrest", *words, command, *options])


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)  # ends sessions and shuts down
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def require_tools() -> None:
    """Raise BackupError when a program that drills and restores need is not installed."""
    missing = [name for name in ("pgbackrest", "restic", "zstd", "tar") if shutil.which(name) is None]
    if missing:
        raise BackupError(f"Not installed: {', '.join(missing)}.")
