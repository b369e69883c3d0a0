"""The schema from the command line: `python -m pacs.database upgrade | downgrade | current | check`.

`downgrade --release FOLDER` brings it back to what the older release in that folder knows. What only this release keeps
is lost by that: put the database away before (roles/orthanc does).

The address comes from PACS_DATABASE_URL: on the command line every user of the machine could read the password.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pacs.database import schema
from pacs.database.connection import Database
from pacs.database.faults import faults_named
from pacs.errors import DatabaseError, PacsError

URL_VARIABLE = "PACS_DATABASE_URL"
_OWN_RELEASE = Path(__file__).resolve().parents[3]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 good, 1 the schema is behind or differs, 2 a fault."""
    parser = argparse.ArgumentParser(prog="pacs.database", description=__doc__)
    parser.add_argument("command", choices=sorted(_COMMANDS))
    parser.add_argument(
        "--release", type=Path, default=_OWN_RELEASE, help="downgrade: the older release that is to run"
    )
    options = parser.parse_args(arguments)
    try:
        with _database() as database, faults_named(database.name):
            return _COMMANDS[options.command](database, options.release)
    except PacsError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _database() -> Database:
    url = os.environ.get(URL_VARIABLE, "")
    if not url:
        raise DatabaseError(f"The environment variable {URL_VARIABLE} is not set.", remedy="Set it to the address.")
    return Database(url)


def _upgrade(database: Database, release: Path) -> int:
    database.migrate()
    return _current(database, release)


def _downgrade(database: Database, release: Path) -> int:
    database.migrate_back(release / "plugins" / "pacs" / "database" / "migrations")
    _current(database, release)
    return 0


def _current(database: Database, _release: Path) -> int:
    with database.engine.connect() as connection:
        current, newest = schema.current_revision(connection), schema.newest_revision()
    sys.stdout.write(f"{database.name}: schema {current or 'none'}, newest {newest}\n")
    return 0 if current == newest else 1


def _check(database: Database, _release: Path) -> int:
    with database.engine.connect() as connection:
        found = schema.differences(connection)
    sys.stdout.writelines(f"{difference}\n" for difference in found)
    return 1 if found else 0


_COMMANDS = {"upgrade": _upgrade, "downgrade": _downgrade, "current": _current, "check": _check}

if __name__ == "__main__":
    sys.exit(main())
