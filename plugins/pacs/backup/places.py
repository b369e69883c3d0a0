"""The places: a disk, a rest-server, a host by SFTP, a bucket. Each holds repositories by name, made when needed.

`files-2026-11` packs of the month, `database-2026-11` copies of PostgreSQL's backups, `log-2026-11-22` its log of a
day, `system` the plugins' folders, `escrow` what is needed to begin anew. A repository a month keeps restic's index
small, so that the five-minute delta takes as long after twenty years as on the first day; months that are over change
no more.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pacs.backup.errors import PlaceError
from pacs.backup.restic import Repository, Snapshot
from pacs.backup.settings import Credentials, PlaceKind, PlaceSettings

# Opens the repository `escrow`, whose content is encrypted to the offline key: no secret.
OPEN_PASSWORD = "escrow"  # noqa: S105
ESCROW = "escrow"
SYSTEM = "system"
# In the folder of a local place: without it the disk is not mounted, and we would fill another one.
MARKER = ".pacs-backup-place"
_REACH_SECONDS = 10.0
_PORTS = {"https": 443, "http": 80}
_SSH_PORT = 22


class Place:
    """A place, while its secrets lie where restic reads them.

    Parameters
    ----------
    folder : ours alone, in memory: addresses with their logins.
    """

    def __init__(self, settings: PlaceSettings, credentials: Credentials, folder: Path, cache: Path) -> None:
        self.settings = settings
        self.name = settings.name
        self._credentials = credentials
        self._folder = folder
        self._cache = cache

    def repository(self, name: str) -> Repository:
        """Return a repository of this place; it need not be there yet."""
        address = self._folder / f"{self.name}-{name}.address"
        _write(address, f"{self._address()}/{name}")
        password = self._folder / "escrow.password"
        if name == ESCROW:
            _write(password, OPEN_PASSWORD)
        else:
            password = self._credentials.path(self._credential("PASSWORD"))
        return Repository(
            name, self.name, address, password, self._cache, options=self._options(), environment=self._environment()
        )

    def newest_copy(self, folder: Path) -> Snapshot | None:
        """Return the newest copy of a folder beside images and database; None: there is none. Raises PlaceError."""
        copies = self.repository(SYSTEM).snapshots_if_any()
        return next((one for one in reversed(copies) if one.tags.get("folder") == str(folder)), None)

    def may_have(self, name: str) -> bool:
        """Tell whether a repository may be there, where that is seen without asking restic: on a disk."""
        return self.settings.kind is not PlaceKind.LOCAL or (Path(self.settings.url) / name / "config").is_file()

    def remove(self, name: str) -> None:
        """Remove a repository that holds nothing any more; elsewhere than on a disk its empty shell stays."""
        if self.settings.kind is PlaceKind.LOCAL:
            shutil.rmtree(Path(self.settings.url) / name)

    def require_reachable(self) -> None:
        """Raise PlaceError, within seconds, when nobody answers or the disk is not there."""
        if self.settings.kind is PlaceKind.LOCAL:
            if not (Path(self.settings.url) / MARKER).is_file():
                raise PlaceError(
                    f"{self.name}: {self.settings.url} is not mounted, or was never prepared.",
                    remedy=f"Mount it; a new disk needs `prepare {self.name}` once.",
                )
            return
        host, port = self._host()
        try:
            socket.create_connection((host, port), timeout=_REACH_SECONDS).close()
        except OSError as error:
            raise PlaceError(f"{self.name}: nobody answers at {host}, port {port} ({error}).") from None

    def free_bytes(self) -> int | None:
        """Return what is free on a local place's disk; of others nobody tells."""
        return shutil.disk_usage(self.settings.url).free if self.settings.kind is PlaceKind.LOCAL else None

    def prepare(self, owner: Path | None = None) -> None:
        """Mark a local place as ours.

        Parameters
        ----------
        owner : what belongs to whoever is to write there, where root prepares it.
        """
        if self.settings.kind is PlaceKind.LOCAL:
            folder = Path(self.settings.url)
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (folder / MARKER).touch()
            if owner and os.geteuid() == 0:
                facts = owner.stat()
                for path in (folder, folder / MARKER):
                    os.chown(path, facts.st_uid, facts.st_gid)

    def _host(self) -> tuple[str, int]:
        if self.settings.kind is PlaceKind.SFTP:
            parts = urlsplit(
                self.settings.url
                if "//" in self.settings.url
                else "sftp://" + self.settings.url[5:].replace(":", "/", 1)
            )
            return parts.hostname or "", parts.port or _SSH_PORT
        address = self.settings.url.partition(":")[2]
        parts = urlsplit(address if "//" in address else f"https://{address}")
        return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)

    def _address(self) -> str:
        """Return restic's address of the place, with the login."""
        url = self.settings.url.rstrip("/")
        login = self._credentials.optional(self._credential("LOGIN"))
        if self.settings.kind is not PlaceKind.REST or not login:
            return url
        parts = urlsplit(url.removeprefix("rest:"))
        return "rest:" + urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))

    def _options(self) -> Sequence[str | Path]:
        options: list[str | Path] = []
        if self.settings.bandwidth_kib:
            options += ["--limit-upload", str(self.settings.bandwidth_kib)]
        if self.settings.authority:
            options += ["--cacert", self.settings.authority]
        key = self._credentials.folder / self._credential("SSH_KEY")
        if self.settings.kind is PlaceKind.SFTP and key.is_file():
            known = self._credentials.folder / self._credential("SSH_HOST")
            options += ["-o", f"sftp.args=-i {key} -o BatchMode=yes -o UserKnownHostsFile={known}"]
        return options

    def _environment(self) -> dict[str, str]:
        secret = self._credentials.folder / self._credential("S3")
        return {"AWS_SHARED_CREDENTIALS_FILE": str(secret)} if self.settings.kind is PlaceKind.S3 else {}

    def _credential(self, what: str) -> str:
        return f"BACKUP_{self.name.upper()}_{what}"


@contextmanager
def open_places(places: Sequence[PlaceSettings], credentials: Credentials, cache: Path) -> Iterator[list[Place]]:
    """Give the places while the block runs; addresses with logins lie in memory (/dev/shm), gone afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pacs-backup-", dir="/dev/shm")))
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield [Place(one, credentials, folder, cache) for one in places]


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
