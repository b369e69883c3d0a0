"""How fast modalities get their worklist: `PYTHONPATH=plugins:tests python tests/benchmarks/worklist.py`.

Two archives run side by side, one with 100 steps, one with 100,000. A station asks each in turn for its steps of a day
(20 in both) by C-FIND over an association that it holds, and what the database alone takes is measured on SQLite and
PostgreSQL. All steps are still scheduled, the worst case: in a hospital nearly all are done and left out by the index.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import batched
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pynetdicom import build_context
from pynetdicom.sop_class import ModalityWorklistInformationFind
from sqlalchemy import insert, text

from fixtures.postgresql import postgresql_cluster
from fixtures.running_pacs import RunningPacs, running
from fixtures.stations import associated, find, register
from fixtures.worklist_entries import database_of, entry, question
from pacs.database import Database
from pacs.worklist.attributes import columns_of, identity_of, merged
from pacs.worklist.models import StepRecord
from pacs.worklist.statuses import StepStatus
from pacs.worklist.worklist import Worklist

FEW, MANY = 100, 100_000
STEPS_OF_A_DAY = 20
STATIONS = 5
ASKED_DAY = date(2026, 3, 10)
ASKED_STATION = "ST0"
BATCH = 5000
WARM_UP = 10

type Ask = Callable[[], int]


def main() -> None:
    """Measure with as many questions as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("kinds", nargs="*", default=["sqlite", "postgresql", "c-find"])
    options = parser.parse_args()
    questions = options.questions
    for kind in set(options.kinds) & {"sqlite", "postgresql"}:
        with ExitStack() as stack:
            asks = [stack.enter_context(_database_alone(kind, count)) for count in (FEW, MANY)]
            _report(f"database alone, {kind}", asks, questions)
    if "c-find" not in options.kinds:
        return
    with ExitStack() as stack:
        archives = [stack.enter_context(_archive(count)) for count in (FEW, MANY)]
        asks = [stack.enter_context(_station(archive)) for archive in archives]
        _report("C-FIND, archive on sqlite", asks, questions)


def _report(name: str, asks: list[Ask], questions: int) -> None:
    seconds: list[list[float]] = [[] for _ in asks]
    for number in range(WARM_UP + questions):
        for ask, measured in zip(asks, seconds, strict=True):
            started = time.perf_counter()
            found = ask()
            if number >= WARM_UP:
                measured.append(time.perf_counter() - started)
            if found != STEPS_OF_A_DAY:
                message = f"{name}: {found} steps found, expected {STEPS_OF_A_DAY}"
                raise RuntimeError(message)
    for count, measured in zip((FEW, MANY), seconds, strict=True):
        p95 = statistics.quantiles(measured, n=20)[-1]
        print(
            f"{name:28} {count:7,} steps: median {statistics.median(measured) * 1e3:6.1f} ms, p95 {p95 * 1e3:6.1f} ms"
        )


@contextmanager
def _database_alone(kind: str, count: int) -> Iterator[Ask]:
    with ExitStack() as stack:
        if kind == "sqlite":
            url = f"sqlite:///{Path(stack.enter_context(tempfile.TemporaryDirectory())) / 'pacs.db'}"
        else:
            url = stack.enter_context(postgresql_cluster()).create_database()
        database = stack.enter_context(Database(url))
        database.migrate()
        _fill(database, count)
        worklist = Worklist(database)
        yield lambda: len(list(worklist.find(_question(), calling_aet=ASKED_STATION)))


@contextmanager
def _archive(count: int) -> Iterator[RunningPacs]:
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as pacs:
        register(pacs, ASKED_STATION, 11112)
        with database_of(pacs.data_directory) as database:
            _fill(database, count)
        yield pacs


@contextmanager
def _station(pacs: RunningPacs) -> Iterator[Ask]:
    context = build_context(ModalityWorklistInformationFind)
    with associated(pacs, [context], calling=ASKED_STATION) as association:
        yield lambda: len(find(association, _question(), ModalityWorklistInformationFind)[0])


def _question() -> Dataset:
    return question(
        SpecificCharacterSet="ISO_IR 100",
        PatientName="",
        PatientID="",
        PatientBirthDate="",
        PatientSex="",
        AccessionNumber="",
        StudyInstanceUID="",
        RequestedProcedureID="",
        RequestedProcedureDescription="",
        ScheduledStationAETitle=ASKED_STATION,
        ScheduledProcedureStepStartDate=f"{ASKED_DAY:%Y%m%d}",
        ScheduledProcedureStepStartTime="",
        ScheduledProcedureStepID="",
        Modality="",
    )


def _fill(database: Database, count: int) -> None:
    for numbers in batched(range(count), BATCH, strict=False):
        with database.session(write=True) as session:
            session.execute(insert(StepRecord), [_row(number) for number in numbers])
    # What PostgreSQL's autovacuum does by itself within minutes.
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE" if database.is_sqlite else "VACUUM ANALYZE"))


def _row(number: int) -> dict[str, Any]:
    day = ASKED_DAY + timedelta(days=number // (STATIONS * STEPS_OF_A_DAY))
    step = entry(
        AccessionNumber=f"A{number}",
        PatientID=f"P{number % 50_000}",
        PatientName=f"MUÑOZ GARCÍA^JOSÉ {number}",
        StudyInstanceUID=f"2.25.{number}",
        ReferringPhysicianName="HIGGINS^BERNARDO",
        ScheduledStationAETitle=f"ST{number % STATIONS}",
        ScheduledProcedureStepStartDate=f"{day:%Y%m%d}",
        ScheduledProcedureStepDescription="TC de tórax con contraste",
    )
    dataset, _ = merged(Dataset(), step.dataset)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    return {
        **identity_of(dataset, step.step_item),
        **columns_of(dataset),
        "status": StepStatus.SCHEDULED,
        "priority": "",
        "former_patients": [],
        "sent_at": "",
        "sequence": number,
        "patient_sent_at": "",
        "patient_sequence": number,
        "sender": "",
        "patient_sender": "",
        "created_at": now,
        "changed_at": now,
    }


if __name__ == "__main__":
    main()
