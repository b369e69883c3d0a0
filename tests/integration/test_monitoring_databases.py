"""What monitoring asks of the database is the same on PostgreSQL: reports, figures, incidents, runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fakes.archive import MemoryArchive
from fixtures.postgresql import PostgresqlCluster
from fixtures.simulated_year import YEAR, ZONE, simulate, write
from pacs.database import Database
from pacs.monitoring import incidents
from pacs.monitoring.figures import Figures, Snapshot
from pacs.monitoring.golden_signal import last_success, latest
from pacs.monitoring.incidents import Fact
from pacs.monitoring.report.counting import count
from pacs.monitoring.report.month import Month, Report

pytest_plugins = ("fixtures.postgresql",)

NOW = datetime(YEAR, 12, 10, 11, tzinfo=UTC)


def asked(database: Database, folder: Path) -> tuple[list[Report], Snapshot, object, object]:
    """Write a year, ask everything once, and return the answers."""
    write(simulate(studies_a_day=3), database)
    archive = MemoryArchive(answers={"/modalities?expand": {"CT": {"AET": "AE"}}})
    figures = Figures(database, archive, storage_directory=folder, zone=ZONE, clock=lambda: NOW)
    figures.note_question("AE")
    figures.gather()
    figures.note_question("AE")
    snapshot = figures.gather()
    with database.session(write=True) as session:
        incidents.follow(session, "golden", [Fact("golden", "web", "", "critical", {"es": "ñ"})], NOW)
        incidents.follow(session, "golden", [], NOW + timedelta(hours=1))
    with database.session() as session:
        reports = [count(session, Month(YEAR, number), ZONE, (), NOW) for number in (1, 7, 12)]
    return reports, snapshot, latest(database, 3), last_success(database)


def test_answers_are_those_of_sqlite(postgresql: PostgresqlCluster, tmp_path: Path) -> None:
    """Every figure of three reports and of a look at the stations is equal on both databases."""
    answers = []
    for url in (f"sqlite:///{tmp_path}/pacs.db", postgresql.create_database()):
        with Database(url) as database:
            database.migrate()
            answers.append(asked(database, tmp_path))
    (reports, snapshot, runs, success), (others, other, other_runs, other_success) = answers
    assert [one.studies for one in reports] == [one.studies for one in others]
    assert reports == others
    assert (snapshot.modalities, snapshot.days) == (other.modalities, other.days)
    assert snapshot.modalities[0].longest_silence is not None
    assert snapshot.disk is not None
    assert other.disk is not None
    assert snapshot.disk.growth_bytes_per_day == pytest.approx(other.disk.growth_bytes_per_day)
    assert (runs, success) == (other_runs, other_success)
