"""Migrations on both databases: they agree with the models, run once, and refuse what is newer."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from fixtures.queue_processes import migrate
from pacs.database import Database, schema
from pacs.errors import DatabaseError

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")


def test_migrations_make_what_the_models_say(database: Database) -> None:
    """After an upgrade Alembic finds no difference between tables and models."""
    with database.engine.connect() as connection:
        assert schema.differences(connection) == []
        assert schema.current_revision(connection) == schema.newest_revision()


def test_check_finds_a_difference_where_there_is_one(database: Database) -> None:
    """The comparison above would notice a missing index and a column of another type."""
    with database.session(write=True) as session:
        session.execute(text("DROP INDEX ix_work_items_ready"))
        session.execute(text("ALTER TABLE work_items DROP COLUMN progress"))
    with database.engine.connect() as connection:
        kinds = {str(difference[0]) for difference in schema.differences(connection)}  # type: ignore[index]
    assert kinds == {"add_index", "add_column"}


def test_migrate_changes_nothing_when_it_runs_again(database: Database) -> None:
    """Each start of the program migrates; data stay."""
    with database.session(write=True) as session:
        session.execute(text("CREATE TABLE witnesses (id INTEGER)"))
    database.migrate()
    with database.session() as session:
        assert session.execute(text("SELECT count(*) FROM witnesses")).scalar() == 0


def test_processes_that_migrate_at_once_all_succeed(database_url: str) -> None:
    """Several Orthancs that start together on an empty database bring it up to date once."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    processes = [context.Process(target=migrate, args=(database_url, start)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    with Database(database_url) as database, database.engine.connect() as connection:
        assert schema.differences(connection) == []
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1


def test_migrate_refuses_a_schema_from_the_future(database: Database) -> None:
    """An older program does not touch what a newer one made, and says what to do."""
    with database.session(write=True) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999_future'"))
    with pytest.raises(DatabaseError, match=r"9999_future.*newer program.*backup"):
        database.migrate()
    with database.session() as session:
        assert session.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999_future"


def test_downgrade_and_upgrade_come_back_to_the_same_schema(database: Database) -> None:
    """Each migration can be taken back and applied again."""
    from alembic import command  # noqa: PLC0415

    with schema._exclusive(database._writing_engine) as connection:
        command.downgrade(schema._configuration(connection), "base")
    database.migrate()
    with database.engine.connect() as connection:
        assert schema.differences(connection) == []


def test_statement_that_takes_too_long_is_a_database_error(database: Database) -> None:
    """A query that runs away is ended by PostgreSQL and told as such."""
    if database.is_sqlite:
        pytest.skip("SQLite has no statement timeout")

    def run() -> None:
        with database.session() as session:
            session.execute(text("SET LOCAL statement_timeout = 50"))
            session.execute(text("SELECT pg_sleep(5)"))

    with pytest.raises(DatabaseError, match="overloaded"):
        run()


def test_postgresql_sessions_name_the_program_and_use_utc(database: Database) -> None:
    """An administrator recognizes our sessions in pg_stat_activity; times are UTC."""
    if database.is_sqlite:
        pytest.skip("SQLite has no sessions to name")
    with database.session() as session:
        assert session.execute(text("SHOW application_name")).scalar() == "pacs"
        assert session.execute(text("SHOW timezone")).scalar() == "UTC"
        assert session.execute(text("SHOW statement_timeout")).scalar() == "1min"


def test_postgresql_commits_are_always_durable(database: Database) -> None:
    """A server that crashes while our threads go on must not forget a claim that one of them works on."""
    if database.is_sqlite:
        pytest.skip("see tests/unit/test_database.py")
    for durable in (True, False):
        with database.transaction(durable=durable) as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


def _cli(url: str, *command: str) -> subprocess.CompletedProcess[str]:
    plugins = Path(__file__).parents[2] / "plugins"
    environment = {**os.environ, "PYTHONPATH": str(plugins), "PACS_DATABASE_URL": url}
    return subprocess.run(
        [sys.executable, "-m", "pacs.database", *command], env=environment, capture_output=True, text=True, check=False
    )


def test_command_line_upgrades_tells_and_checks(database_url: str) -> None:
    """`python -m pacs.database` does for an administrator what the start of the program does."""
    Database(database_url).close()
    before = _cli(database_url, "current")
    assert (before.returncode, "schema none" in before.stdout) == (1, True), before
    upgraded = _cli(database_url, "upgrade")
    assert upgraded.returncode == 0, upgraded
    assert f"newest {schema.newest_revision()}" in upgraded.stdout
    assert _cli(database_url, "current").returncode == 0
    checked = _cli(database_url, "check")
    assert (checked.returncode, checked.stdout) == (0, ""), checked


def test_command_line_tells_a_fault_in_one_sentence() -> None:
    """A wrong address gives a message and status 2, not a traceback."""
    failed = _cli("postgresql://pacs:topsecret@127.0.0.1:1/pacs", "upgrade")
    assert failed.returncode == 2
    assert "can't be used" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert "topsecret" not in failed.stderr


@pytest.fixture
def older_release(tmp_path: Path) -> Path:
    """Return the folder of a release that lacks the newest migration."""
    folder = tmp_path / "older"
    versions = folder / "plugins" / "pacs" / "database" / "migrations" / "versions"
    shutil.copytree(schema.MIGRATIONS, versions.parent, ignore=shutil.ignore_patterns("__pycache__"))
    next(versions.glob(f"{schema.newest_revision()}*.py")).unlink()
    return folder


def test_command_line_brings_the_schema_back_for_an_older_release(database_url: str, older_release: Path) -> None:
    """What the older release knows stays with its rows; the next start of the newer one makes the rest again."""
    assert _cli(database_url, "upgrade").returncode == 0
    wanted = schema.newest_revision(older_release / "plugins/pacs/database/migrations")
    with Database(database_url) as database, database.session(write=True) as session:
        session.execute(text("CREATE TABLE witnesses (id INTEGER)"))
    done = _cli(database_url, "downgrade", "--release", str(older_release))
    assert (done.returncode, f"schema {wanted}," in done.stdout) == (0, True), done
    again = _cli(database_url, "downgrade", "--release", str(older_release))
    assert again.returncode == 0, again
    with Database(database_url) as database:
        with database.session() as session:
            assert session.execute(text("SELECT version_num FROM alembic_version")).scalar() == wanted
            assert session.execute(text("SELECT count(*) FROM witnesses")).scalar() == 0
        database.migrate()
        with database.engine.connect() as connection:
            assert schema.current_revision(connection) == schema.newest_revision()


def test_downgrade_leaves_the_schema_alone_when_the_other_release_is_newer(
    database: Database, older_release: Path
) -> None:
    """A release that knows the schema brings it up to date by itself."""
    newer = older_release / "plugins/pacs/database/migrations"
    shutil.copytree(schema.MIGRATIONS, newer, dirs_exist_ok=True)
    (newer / "versions" / "9999_later.py").write_text(
        f'revision = "9999"\ndown_revision = "{schema.newest_revision()}"\n'
    )
    database.migrate_back(newer)
    with database.engine.connect() as connection:
        assert schema.current_revision(connection) == schema.newest_revision()


@pytest.mark.parametrize(
    ("content", "words"), [(None, "is missing"), ('revision = "x"\ndown_revision = None\n', "does not know")]
)
def test_downgrade_refuses_what_is_no_older_release(
    database: Database, tmp_path: Path, content: str | None, words: str
) -> None:
    """A folder that is no release, or one of another history, is told; the schema stays."""
    folder = tmp_path / "migrations"
    if content is not None:
        (folder / "versions").mkdir(parents=True)
        (folder / "versions" / "x.py").write_text(content)
    with pytest.raises(DatabaseError, match=words):
        database.migrate_back(folder)
    with database.engine.connect() as connection:
        assert schema.current_revision(connection) == schema.newest_revision()
