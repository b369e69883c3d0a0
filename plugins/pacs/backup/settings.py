"""backup.yml: the places, what is backed up, for how long. Secrets are files of their own (`Credentials`)."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pacs.backup.errors import BackupSettingsError

_NAME = r"^[a-z][a-z0-9_]{0,30}$"
_GIGABYTE = 1000**3


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class PlaceKind(StrEnum):
    """How a place is reached."""

    LOCAL = "local"
    REST = "rest"
    SFTP = "sftp"
    S3 = "s3"


# How the address of each kind is written, and the same in words. roles/preflight knows them, too.
_HOST = r"([^\s/@:\[\]]+|\[[0-9A-Fa-f:]+\])"
_PORT = r"(:([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
_ADDRESSES = {
    PlaceKind.LOCAL: (r"/.*", "/FOLDER"),
    PlaceKind.REST: (rf"rest:https?://{_HOST}{_PORT}(/.*)?", "rest:https://HOST:PORT/FOLDER"),
    PlaceKind.SFTP: (
        rf"sftp:([^\s/@:]+@)?({_HOST}:[^:]+|//([^\s/@:]+@)?{_HOST}{_PORT}/.+)",
        "sftp:USER@HOST:/FOLDER or sftp://USER@HOST:PORT//FOLDER",
    ),
    PlaceKind.S3: (rf"s3:(https?://)?{_HOST}{_PORT}/.+", "s3:https://HOST/BUCKET"),
}


class Retention(_Section):
    """How many copies of the database are kept, of each kind; each goes back to any second of the week before it.

    Images stay as long as the archive has them, and after that `daily` days.
    """

    hourly: int = Field(default=48, ge=0)
    daily: int = Field(default=35, ge=1)
    monthly: int = Field(default=24, ge=0)
    yearly: int = Field(default=20, ge=0)


class PlaceSettings(_Section):
    """A place that backups go to.

    Attributes
    ----------
    url : base address without secrets: /mnt/second, rest:https://host:8000/pacs, sftp:user@host:/srv/pacs,
        s3:https://host/bucket. Repositories are made below it.
    append_only : what is there can't be removed from this server; its own keeper prunes.
    write_only : nor read back (backup/append-only/nginx.conf): its own keeper checks, drills and restores.
    bandwidth_kib : KiB/s at most, 0 for no limit.
    authority : certificate of the authority that the place's certificate is checked against (rest, s3).
    """

    name: str = Field(pattern=_NAME)
    kind: PlaceKind
    url: str
    append_only: bool = False
    write_only: bool = False
    bandwidth_kib: int = Field(default=0, ge=0)
    authority: Path | None = None
    retention: Retention = Retention()

    @model_validator(mode="after")
    def _url_is_of_its_kind(self) -> Self:
        pattern, words = _ADDRESSES[self.kind]
        if not re.fullmatch(pattern, self.url):
            message = f"url is {self.url}: expected {words} of a place whose kind is {self.kind}"
            raise ValueError(message)
        return self


class DatabaseSettings(_Section):
    """PostgreSQL and pgBackRest.

    Attributes
    ----------
    configuration : pgBackRest's, whose repo1-path is `repository`.
    programs : PostgreSQL's, for the drill and restores.
    cluster : the data directory, for a restore.
    superuser : of the cluster, by which a scratch copy of it is asked.
    orthanc, plugins : names of the databases.
    """

    stanza: str = "main"
    configuration: Path = Path("/etc/pgbackrest/pgbackrest.conf")
    repository: Path = Path("/srv/pacs/pgbackrest")
    programs: Path = Path("/usr/lib/postgresql/17/bin")
    cluster: Path = Path("/srv/pacs/postgresql/17/main")
    superuser: str = "postgres"
    orthanc: str = "orthanc"
    plugins: str = "pacs"


class ScheduleSettings(_Section):
    """How often the timers run what, in seconds; what pages and alerts call late goes by it."""

    files: int = 300
    log: int = 15
    nightly: int = 86_400
    system: int = 86_400
    database: int = 86_400
    fixity: int = 3600
    consistency: int = 7 * 86_400
    check: int = 7 * 86_400
    prune: int = 7 * 86_400
    drill: int = 31 * 86_400


class ServiceSettings(_Section):
    """The units that a restore stops and starts; "" where somebody else does.

    Attributes
    ----------
    backups : pattern of those that back up.
    """

    orthanc: str = "orthanc.service"
    postgresql: str = "postgresql@17-main.service"
    backups: str = "pacs-backup-*.service"


class EscrowSettings(_Section):
    """What is needed to begin anew, encrypted to a key that is not on this server.

    Attributes
    ----------
    recipient : certificate of the offline key.
    paths : files and folders: configuration, authority, LUKS header, credentials.
    """

    recipient: Path = Path("/etc/pacs/backup/offline.crt")
    paths: tuple[Path, ...] = (Path("/etc/pacs"),)


class BackupSettings(_Section):
    """All of backup.yml.

    Attributes
    ----------
    storage : Orthanc's StorageDirectory.
    work : on the same file system as `storage`: what waits to be sent, restic's cache, scratch of drills.
    state : status, catalog, reports; read by the pages.
    system_paths : folders besides images and database, such as the plugins' own.
    batch_bytes : a day's packs are closed early when they are larger than this.
    reserve_bytes : what must stay free on the disk of `work`.
    signing_key : Ed25519, signs the reports.
    drill_studies : how many are opened by DICOMweb.
    fixity_days : every file is read once in so many days.
    orthanc_url : Orthanc's REST API, for restores of studies.
    orthanc_configuration : folder with Orthanc's configuration of the release, for the drill.
    """

    storage: Path = Path("/srv/pacs/orthanc")
    work: Path = Path("/srv/pacs/backup")
    state: Path = Path("/var/lib/pacs-backup")
    system_paths: tuple[Path, ...] = (Path("/srv/pacs/plugins"),)
    database: DatabaseSettings = DatabaseSettings()
    escrow: EscrowSettings = EscrowSettings()
    services: ServiceSettings = ServiceSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    places: Annotated[tuple[PlaceSettings, ...], Field(min_length=1)]
    batch_bytes: int = Field(default=20 * _GIGABYTE, gt=0)
    reserve_bytes: int = Field(default=5 * _GIGABYTE, ge=0)
    signing_key: Path = Path("/etc/pacs/backup/signing.pem")
    drill_studies: int = Field(default=100, ge=1)
    fixity_days: int = Field(default=25, ge=1, le=30)
    orthanc_url: str = "http://127.0.0.1:8042"
    orthanc_configuration: Path = Path("/opt/pacs/orthanc/config")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [place.name for place in self.places]
        if len(set(names)) < len(names):
            message = "two places have the same name"
            raise ValueError(message)
        return self


def load(path: Path) -> BackupSettings:
    """Read backup.yml. Raise BackupSettingsError with every fault of it."""
    try:
        return BackupSettings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except OSError as error:
        raise BackupSettingsError(f"{path} can't be read: {error.strerror}.") from None
    except yaml.YAMLError as error:
        raise BackupSettingsError(f"{path} is no YAML: {error}.") from None
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'all'}: {one['msg']}" for one in error.errors())
        raise BackupSettingsError(f"{path}: {faults}.") from None


class Credentials:
    """The secrets, a file each, in the folder that systemd gives the service (LoadCredential).

    They go from file to file: no secret stands in a command line or in the environment.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return where a secret is. Raise BackupSettingsError when it is not there."""
        path = self.folder / name
        if not path.is_file():
            raise BackupSettingsError(f"The credential {name} is missing.", remedy="Give it by LoadCredential.")
        return path

    def optional(self, name: str) -> str:
        """Return a secret, "" where there is none."""
        path = self.folder / name
        return path.read_text(encoding="utf-8").strip() if path.is_file() else ""

    def read(self, name: str) -> str:
        """Return a secret. Raise BackupSettingsError when it is not there."""
        return self.path(name).read_text(encoding="utf-8").strip()
