"""`pacs.studies.search` on SQLite and PostgreSQL: what narrows, in which order, in which pages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fixtures.study_rows import RECEIVED_AT, store_rows, study_row
from pacs.database import Database
from pacs.errors import InvalidInput
from pacs.studies import MOST_COUNTED, StudyQuery, find_study, search

pytest_plugins = ("fixtures.postgresql",)

STUDIES = {
    "munoz": study_row(
        "CT SR",
        PatientName="Muñoz García^José",
        PatientID="12.345.678-9",
        AccessionNumber="ACC-001",
        StudyDate="20260310",
        StudyTime="101500",
        StudyDescription="TC de TÓRAX con contraste",
    ),
    "joao": study_row(
        "MR",
        PatientName="Conceição^João",
        PatientID="P_100",
        AccessionNumber="ACC-002",
        StudyDate="20260310",
        StudyTime="090000",
        StudyDescription="Crânio",
    ),
    "yamada": study_row(
        "US",
        PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
        PatientID="PX100",
        StudyDate="20251231",
        StudyDescription="Abdomen",
        received_at=RECEIVED_AT + timedelta(days=1),
    ),
    "undated": study_row("CR", PatientName="Muñoz^Ana", PatientID="p%100"),
    "arriving": study_row("CT", PatientName="Nuevo^Paciente", StudyDate="20200101") | {"is_stable": False},
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Return a database with the studies above."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('search') / 'pacs.db'}"
    else:
        url = request.getfixturevalue("postgresql").create_database()
    with Database(url) as made:
        made.migrate()
        store_rows(made, *STUDIES.values())
        yield made


def _found(database: Database, **query: Any) -> list[str]:
    names = {row["orthanc_study_id"]: name for name, row in STUDIES.items()}
    with database.session() as session:
        return [names[study.orthanc_study_id] for study in search(session, StudyQuery(**query)).studies]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["munoz", "joao", "yamada", "arriving", "undated"]),
        ({"patient_name": "munoz"}, ["munoz", "undated"]),
        ({"patient_name": "jose garcia"}, ["munoz"]),
        ({"patient_name": "山田太郎"}, ["yamada"]),
        ({"patient_name": "nobody"}, []),
        ({"text": "joao"}, ["joao"]),
        ({"text": "12345678"}, ["munoz"]),
        ({"text": "acc-002"}, ["joao"]),
        ({"text": "munoz 12.345"}, ["munoz"]),
        ({"text": "munoz acc-002"}, []),
        ({"patient_id": "12.345.678-9"}, ["munoz"]),
        ({"patient_id": "12.345"}, []),
        ({"patient_id": "12.345*"}, ["munoz"]),
        ({"patient_id": " p_100 "}, ["joao"]),
        ({"patient_id": "P?100"}, ["joao", "yamada", "undated"]),
        ({"patient_id": "p_1*"}, ["joao"]),
        ({"patient_id": "p%1*"}, ["undated"]),
        ({"patient_id": "*"}, ["munoz", "joao", "yamada", "arriving", "undated"]),
        ({"accession_number": "acc-001"}, ["munoz"]),
        ({"accession_number": "ACC-*"}, ["munoz", "joao"]),
        ({"description": "torax"}, ["munoz"]),
        ({"description": "contraste torax"}, ["munoz"]),
        ({"description": "cranio"}, ["joao"]),
        ({"date_from": date(2026, 3, 10)}, ["munoz", "joao"]),
        ({"date_to": date(2025, 12, 31)}, ["yamada", "arriving"]),
        ({"date_from": date(2025, 12, 31), "date_to": date(2025, 12, 31)}, ["yamada"]),
        ({"date_from": date(2025, 1, 1), "date_to": date.max}, ["munoz", "joao", "yamada"]),
        ({"date_to": date(2019, 12, 31)}, []),
        ({"modalities": ("SR",)}, ["munoz"]),
        ({"modalities": ("mr", "US")}, ["joao", "yamada"]),
        ({"modalities": ("C",)}, []),
        ({"modalities": ("C_",)}, []),
        ({"received_since": RECEIVED_AT + timedelta(hours=1)}, ["yamada"]),
        ({"is_stable": False}, ["arriving"]),
        ({"is_stable": True, "modalities": ("CT",)}, ["munoz"]),
        ({"text": "   "}, ["munoz", "joao", "yamada", "arriving", "undated"]),
    ],
)
def test_search_finds_exactly(database: Database, query: dict[str, Any], expected: list[str]) -> None:
    """Each field narrows as it says; the newest study date comes first, undated studies last."""
    assert _found(database, **query) == expected


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"date_from": date(2026, 3, 11), "date_to": date(2026, 3, 10)}, "Exchange"),
        ({"modalities": ("CT' OR 1=1",)}, "no modality"),
        ({"modalities": ("%",)}, "no modality"),
        ({"modalities": ("",)}, "no modality"),
        ({"offset": -1}, "offset"),
        ({"limit": 0}, "1 to 1000"),
        ({"limit": 1001}, "1 to 1000"),
        ({"received_since": datetime(2026, 3, 10)}, "time zone"),  # noqa: DTZ001 (that is the fault)
    ],
)
def test_query_refuses(query: dict[str, Any], word: str) -> None:
    """What can't be meant is refused with a sentence that tells what to do."""
    with pytest.raises(InvalidInput, match=word):
        StudyQuery(**query)


def test_search_tells_pages(database: Database) -> None:
    """Pages together hold every study once; the total and the numbers of pages are told."""
    with database.session() as session:
        pages = [search(session, StudyQuery(offset=offset, limit=2)) for offset in (0, 2, 4, 6)]
    assert [(page.total, page.page, page.pages) for page in pages] == [(5, 1, 3), (5, 2, 3), (5, 3, 3), (5, 4, 3)]
    assert len({study.orthanc_study_id for page in pages for study in page.studies}) == 5
    assert pages[3].studies == ()


def test_search_pages_narrowed_results_too(database: Database) -> None:
    """The second page of a narrowed search continues where the first ended."""
    assert _found(database, text="mu", limit=1) == ["munoz"]
    assert _found(database, text="mu", limit=1, offset=1) == ["undated"]
    assert _found(database, text="mu", limit=1, offset=2) == []


def test_search_counts_no_further_than_useful(tmp_path: Path) -> None:
    """Beyond the most that is counted the total says that it is not exact, and no page is promised beyond it."""
    with Database(f"sqlite:///{tmp_path / 'pacs.db'}") as made:
        made.migrate()
        store_rows(made, *(study_row(PatientName="Muñoz^Ana") for _ in range(MOST_COUNTED + 2)))
        with made.session() as session:
            last_page = search(session, StudyQuery(text="ana", limit=50, offset=MOST_COUNTED - 20))
            everything = search(session, StudyQuery())
    assert (last_page.total, last_page.total_is_exact, len(last_page.studies)) == (MOST_COUNTED, False, 20)
    assert (everything.total, everything.total_is_exact) == (MOST_COUNTED + 2, True)


def test_row_has_what_the_list_shows(database: Database) -> None:
    """Values come back as they were stored, modalities as a tuple."""
    with database.session() as session:
        study = find_study(session, STUDIES["munoz"]["orthanc_study_id"])
    assert study is not None
    assert (study.patient_name, study.patient_id) == ("Muñoz García^José", "12.345.678-9")
    assert (study.modalities, study.series_count, study.instance_count) == (("CT", "SR"), 2, 4)
    assert study.study_date == date(2026, 3, 10)
    assert study.received_at == datetime(2026, 3, 10, 10, 15, tzinfo=UTC)


def test_unknown_study_is_not_found(database: Database) -> None:
    """A study that the index does not have is None."""
    with database.session() as session:
        assert find_study(session, "no such study") is None


def test_search_walks_index_alone(database: Database) -> None:
    """A search by words reads the one index that has all it compares, never the whole table."""
    if not database.is_sqlite:
        pytest.skip("PostgreSQL chooses by the number of rows")
    with database.session() as session:
        statement = (
            "EXPLAIN QUERY PLAN SELECT id FROM studies WHERE name_key LIKE '% a%' AND modalities_key LIKE '%|CT|%' "
            "ORDER BY newest_first_key DESC, id DESC LIMIT 10001"
        )
        plan = str(session.connection().exec_driver_sql(statement).all())
    assert "COVERING INDEX ix_studies_search" in plan
    assert "TEMP B-TREE" not in plan
