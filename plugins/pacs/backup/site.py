"""`Site`: what every command works with, put together from backup.yml and the credentials."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pacs.backup import places
from pacs.backup.catalog import Catalog
from pacs.backup.errors import BackupSettingsError
from pacs.backup.orthanc_index import OrthancIndex
from pacs.backup.places import Place
from pacs.backup.runs import Runs
from pacs.backup.settings import BackupSettings, Credentials
from pacs.backup.storage import Storage
from pacs.errors import PacsError

# The credential with the address of Orthanc's index.
INDEX_URL = "BACKUP_INDEX_URL"


@dataclass(frozen=True)
class Site:
    """An archive, as its backups see it."""

    settings: BackupSettings
    credentials: Credentials
    runs: Runs

    @classmethod
    def of(cls, settings: BackupSettings, credentials: Path) -> Site:
        """Put a site together."""
        return cls(settings, Credentials(credentials), Runs(settings.state))

    @property
    def storage(self) -> Storage:
        """Orthanc's files."""
        return Storage(self.settings.storage)

    def index(self) -> OrthancIndex:
        """Open Orthanc's index."""
        return OrthancIndex(self.credentials.read(INDEX_URL))

    def catalog(self) -> Catalog:
        """Open the catalog."""
        return Catalog(self.settings.state / "catalog.db")

    @contextmanager
    def places(self, *names: str) -> Iterator[list[Place]]:
        """Give all places, or those of these names, while the block runs."""
        chosen = [one for one in self.settings.places if not names or one.name in names]
        if missing := set(names) - {one.name for one in chosen}:
            raise BackupSettingsError(f"There is no place {', '.join(sorted(missing))} in backup.yml.")
        with places.open_places(chosen, self.credentials, self.settings.work / "cache") as opened:
            yield opened

    @contextmanager
    def place(self, name: str = "") -> Iterator[Place]:
        """Give one place while the block runs: by its name, or the first one."""
        with self.places(*([name] if name else [])) as opened:
            yield opened[0]

    @contextmanager
    def places_from(self, name: str = "") -> Iterator[list[Place]]:
        """Give all places while the block runs, the one of this name first; "": in the order of the settings."""
        with self.places() as opened:
            if name and name not in {one.name for one in opened}:
                raise BackupSettingsError(f"There is no place {name} in backup.yml.")
            yield sorted(opened, key=lambda one: one.name != name)


def each(places_: Sequence[Place], work: Callable[[Place], None]) -> None:
    """Do some work at every place; what fails at one keeps it from none. Raise the first fault at the end."""
    faults: list[PacsError] = []
    for place in places_:
        try:
            work(place)
        except PacsError as fault:
            faults.append(fault)
    if faults:
        raise faults[0]
