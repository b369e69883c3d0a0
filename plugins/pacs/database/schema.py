"""The schema's version: upgraded by Alembic under a lock, brought back for an older release, compared, told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from pacs.errors import DatabaseError

MIGRATIONS = Path(__file__).parent / "migrations"
# Any fixed number: it names the lock "schema of PACS Cloud" among PostgreSQL's advisory locks.
_ADVISORY_LOCK = 7_222_446_001


def upgrade(engine: Engine) -> None:
    """Upgrade to the newest revision in one transaction; a second process waits and then finds nothing to do.

    Parameters
    ----------
    engine : on SQLite one whose transactions begin with the write lock.

    Raises
    ------
    DatabaseError : the schema is newer than this program.
    """
    with _exclusive(engine) as connection:
        if current_revision(connection) == newest_revision():
            return
        command.upgrade(_configuration(connection), "head")
        _require_intact_references(connection)


def downgrade(engine: Engine, migrations: Path) -> None:
    """Bring the schema back to the newest that an older release knows, in one transaction.

    What only this release keeps is dropped with its tables and columns: put the database away before.

    Parameters
    ----------
    engine : as for `upgrade`.
    migrations : the older release's folder of this name. When it knows the schema, nothing is done.

    Raises
    ------
    DatabaseError : that release has no migrations, or its newest schema is none that this program knows.
    """
    with _exclusive(engine) as connection:
        current, wanted = current_revision(connection), newest_revision(migrations)
        if current in {script.revision for script in _scripts(migrations).walk_revisions()}:
            return
        if wanted not in {script.revision for script in _scripts().walk_revisions()}:
            raise DatabaseError(
                f"{migrations} ends with schema {wanted}, which this program does not know.",
                remedy="Go back to a release that came before this one.",
            )
        command.downgrade(_configuration(connection), str(wanted))
        _require_intact_references(connection)


def current_revision(connection: Connection) -> str | None:
    """Return the revision that the database has, None for an empty one.

    Raises
    ------
    DatabaseError : this program does not know the revision.
    """
    heads = MigrationContext.configure(connection).get_current_heads()
    known = {script.revision for script in _scripts().walk_revisions()}
    unknown = sorted(set(heads) - known)
    if unknown:
        raise DatabaseError(
            f"The database has schema {', '.join(unknown)}; this program knows schemas up to {newest_revision()}.",
            remedy="A newer program has upgraded it. Install that one again, or restore the backup made before it.",
        )
    return heads[0] if heads else None


def newest_revision(migrations: Path = MIGRATIONS) -> str | None:
    """Return the newest revision that this program knows, or the release that `migrations` belong to."""
    return _scripts(migrations).get_current_head()


def differences(connection: Connection) -> list[object]:
    """Return how the database differs from the models, empty when they agree (Alembic's `compare_metadata`)."""
    # Imported here: the models import this package.
    from pacs.database.models import metadata  # noqa: PLC0415

    options = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def _scripts(migrations: Path = MIGRATIONS) -> ScriptDirectory:
    if not migrations.is_dir():
        raise DatabaseError(f"{migrations} is missing.", remedy="Name the folder of a whole release.")
    return ScriptDirectory.from_config(_configuration(migrations=migrations))


def _configuration(connection: Connection | None = None, migrations: Path = MIGRATIONS) -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(migrations).replace("%", "%%"))
    configuration.set_main_option("path_separator", "os")
    configuration.attributes["connection"] = connection
    return configuration


@contextmanager
def _exclusive(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in a transaction that no other process's migration runs beside."""
    with engine.connect() as connection:
        # Its settings are changed below: it is closed afterwards, not returned to the pool.
        connection.detach()
        if connection.dialect.name == "sqlite":
            _switch_off_foreign_keys(connection)
        with connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                connection.execute(text("SET LOCAL lock_timeout = '5min'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
            yield connection


def _switch_off_foreign_keys(connection: Connection) -> None:
    """Let a migration rebuild a table: SQLite drops and renames it, and ON DELETE CASCADE would empty others.

    The pragma does nothing inside a transaction, hence around SQLAlchemy, which would begin one.
    """
    driver_connection = connection.connection.driver_connection
    if driver_connection is not None:
        driver_connection.execute("PRAGMA foreign_keys = OFF")


def _require_intact_references(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        tables = ", ".join(sorted({str(row[0]) for row in broken}))
        raise DatabaseError(f"The migration left {len(broken)} rows without their parent rows, in: {tables}.")
