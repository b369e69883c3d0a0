"""The Studies page on a real database: what is found, how rows look, how addresses repeat a search."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest

from fixtures.pages import Pages, pages
from pacs.studies.models import StudyRecord
from pacs.studies.records import row_values
from pacs.web.pages.studies import USUAL_MODALITIES


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Pages]:
    """Return the pages with five studies to a page."""
    with pages(tmp_path, PageSize=5) as made:
        yield made


def add_study(made: Pages, number: int, *, modalities: tuple[str, ...] = ("CT",), **tags: str) -> None:
    """Put a study into the index; `tags` are DICOM keywords."""
    day = date(2026, 3, 1) + timedelta(days=number)
    tags = {
        "StudyInstanceUID": f"1.2.3.{number}",
        "PatientName": f"PACIENTE^Número {number}",
        "PatientID": f"ID{number}",
        "PatientBirthDate": "19800214",
        "PatientSex": "F",
        "AccessionNumber": f"A{number}",
        "StudyDate": f"{day:%Y%m%d}",
        "StudyTime": "101500",
        "StudyDescription": "TC DE TÓRAX",
    } | tags
    study = {"ID": f"{number:08x}-00000000-00000000-00000000-00000000"}
    study |= {"MainDicomTags": tags, "PatientMainDicomTags": tags}
    counted = {"NumberOfSeriesRelatedInstances": "1234"}
    series = [{"MainDicomTags": {"Modality": one}, "RequestedTags": counted} for one in modalities]
    values = row_values(study, series) | {"size_bytes": None, "received_at": datetime.now(UTC)}
    with made.database.session(write=True) as session:
        session.add(StudyRecord(**values))


def names(page: str) -> list[str]:
    """Return the patients of a list in its order."""
    rows = re.findall(r'class="row-link"[^>]*>(.*?)</a>', page, re.DOTALL)
    return [re.sub(r"<[^>]+>", "", row).strip() for row in rows]


def test_empty_archive_tells_what_to_do(made: Pages) -> None:
    """Who sees the first page of a new archive learns how studies get there."""
    page = made.client().get("/studies").get_data(as_text=True)
    assert "The archive is empty" in page
    assert 'href="/pacs/upload"' in page
    assert 'href="/pacs/aes"' in page


@pytest.mark.parametrize(
    ("language", "words"), [("en", "1–5 of more than 7 studies"), ("es", "1–5 de más de 7 estudios")]
)
def test_list_says_so_when_there_are_more_than_are_counted(
    made: Pages, monkeypatch: pytest.MonkeyPatch, language: str, words: str
) -> None:
    """A number that is not the whole number is not shown as if it were."""
    monkeypatch.setattr(import_module("pacs.studies.search"), "MOST_COUNTED", 7)
    for number in range(8):
        add_study(made, number)
    assert words in made.client(language).get("/studies?name=paciente").get_data(as_text=True)


def test_row_shows_what_tells_a_study_apart(made: Pages) -> None:
    """Name as PACS show it, ID, sex, birth, age, date, time, modalities, description, accession, counts."""
    add_study(made, 1, modalities=("CT", "SR"), PatientName="Muñoz^María José")
    page = made.client("es").get("/studies").get_data(as_text=True)
    row = page[page.index("<tbody>") : page.index("</tbody>")]
    for text in ("MUÑOZ</span>, María José", "ID1 · F", "14/02/1980", "46 años", "02/03/2026", "10:15", "TC DE TÓRAX"):
        assert text in row
    assert re.findall(r'data-modality="(\w+)"', row) == ["CT", "SR"]
    assert ">2.468<" in row
    assert "/pacs/studies/1.2.3.1?id=00000001-" in row


def test_row_of_a_study_without_anything_is_shown_all_the_same(made: Pages) -> None:
    """Missing values leave no hole in which the row would be lost."""
    of_patient = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
    of_study = ("StudyDate", "StudyTime", "AccessionNumber", "StudyDescription")
    add_study(made, 1, modalities=(), **dict.fromkeys(of_patient + of_study, ""))
    assert names(made.client().get("/studies").get_data(as_text=True)) == ["No name"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=muñoz", ["MUÑOZ, Ana"]),
        ("q=MUNOZ+an", ["MUÑOZ, Ana"]),
        ("q=ID2", ["ROJAS, Blas"]),
        ("q=a3", ["VERA, Óscar"]),
        ("modality=MR", ["VERA, Óscar", "ROJAS, Blas"]),
        ("modality=MR&modality=CT", ["VERA, Óscar", "ROJAS, Blas", "MUÑOZ, Ana"]),
        ("from=2026-03-03&to=2026-03-03", ["ROJAS, Blas"]),
        ("name=oscar", ["VERA, Óscar"]),
        ("id=id1", ["MUÑOZ, Ana"]),
        ("accession=A*", ["VERA, Óscar", "ROJAS, Blas", "MUÑOZ, Ana"]),
        ("description=rodilla", ["VERA, Óscar"]),
        ("q=nobody", []),
        ("q=%25", ["VERA, Óscar", "ROJAS, Blas", "MUÑOZ, Ana"]),
    ],
)
def test_search_finds_by_every_field(made: Pages, query: str, found: list[str]) -> None:
    """Each field narrows as it says, newest study first."""
    add_study(made, 1, PatientName="MUÑOZ^Ana")
    add_study(made, 2, modalities=("MR",), PatientName="ROJAS^Blas")
    add_study(made, 3, modalities=("MR", "SR"), PatientName="VERA^Óscar", StudyDescription="RM de rodilla")
    assert names(made.client().get(f"/studies?{query}").get_data(as_text=True)) == found


def test_search_that_finds_nothing_offers_a_way_out(made: Pages) -> None:
    """No dead end: advice, and a button that clears."""
    add_study(made, 1)
    page = made.client().get("/studies?q=nobody").get_data(as_text=True)
    assert "No study matches" in page
    assert "Clear the search" in page


def test_list_is_paged_and_pages_keep_the_search(made: Pages) -> None:
    """Twelve studies are three pages; links carry the search, a page beyond the end is the last one."""
    for number in range(12):
        add_study(made, number)
    client = made.client()
    first = client.get("/studies?q=paciente").get_data(as_text=True)
    assert len(names(first)) == 5
    assert "1–5 of 12 studies" in first
    assert 'rel="next" href="/pacs/studies?q=paciente&amp;page=2"' in first
    assert 'rel="prev"' not in first
    beyond = client.get("/studies?q=paciente&page=99").get_data(as_text=True)
    assert "11–12 of 12 studies" in beyond
    assert 'rel="next"' not in beyond


def test_htmx_gets_the_results_alone_and_the_address_of_the_search(made: Pages) -> None:
    """Typing replaces the list and leaves an address without empty fields; going back gets the whole page."""
    add_study(made, 1)
    client = made.client()
    part = client.get("/studies?q=pac&name=&period=&from=&to=&modality=CT", headers={"HX-Request": "true"})
    assert "<html" not in part.get_data(as_text=True)
    assert part.headers["HX-Push-Url"] == "/pacs/studies?q=pac&modality=CT"
    whole = client.get("/studies?q=pac", headers={"HX-Request": "true", "HX-History-Restore-Request": "true"})
    assert "<html" in whole.get_data(as_text=True)
    assert "HX-Push-Url" not in whole.headers


def test_form_shows_what_was_searched(made: Pages) -> None:
    """Fields, chips and dates stand as in the address; more fields are open when one is in use."""
    page = made.client().get("/studies?q=x%22y&modality=MR&period=7d&description=z").get_data(as_text=True)
    assert 'name="q" id="q" value="x&#34;y"' in page
    assert 'value="MR" checked' in page
    assert 'value="7d" checked' in page
    assert '<details class="more" open>' in page
    assert "MR" in USUAL_MODALITIES


def test_names_that_are_markup_are_shown_not_run(made: Pages) -> None:
    """What a modality sends is text."""
    add_study(made, 1, PatientName="<script>alert(1)</script>^<b>", StudyDescription="<img src=x onerror=alert(1)>")
    page = made.client().get("/studies").get_data(as_text=True)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
