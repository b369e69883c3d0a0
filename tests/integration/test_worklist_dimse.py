"""The worklist as modalities ask for it: findscu and pynetdicom against the running archive."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import build_context
from pynetdicom.sop_class import ModalityWorklistInformationFind

from fixtures import dcmtk
from fixtures.running_pacs import RunningPacs
from fixtures.stations import associated, find, register
from fixtures.worklist_entries import database_of, enter, entry, question

CONTEXT = build_context(ModalityWorklistInformationFind)
SUCCESS, UNABLE_TO_PROCESS = 0x0000, 0xC000


@pytest.fixture(scope="module")
def station(pacs: RunningPacs) -> str:
    """Register a CT scanner and give it a day's work; return its AE title."""
    register(pacs, "CT1", 11112)
    with database_of(pacs.data_directory) as database:
        enter(
            database,
            entry(AccessionNumber="W-1", PatientID="W-1", PatientName="MUÑOZ^ÍÑIGO"),
            entry(
                AccessionNumber="W-2",
                PatientID="W-2",
                PatientName="Wiśniewski^Łukasz",
                ScheduledProcedureStepStartDate="20260311",
                ScheduledProcedureStepStartTime="083000",
                ScheduledStationAETitle=["CT1", "CT2"],
            ),
            entry(AccessionNumber="W-3", PatientID="W-3", Modality="MR", ScheduledStationAETitle="MR1"),
        )
    return "CT1"


def ask(pacs: RunningPacs, calling: str, **keys: object) -> tuple[list[Dataset], int | None]:
    """Ask by pynetdicom."""
    asked = question(**{"PatientName": "", "PatientID": "W-*", "AccessionNumber": "", **keys})
    with associated(pacs, [CONTEXT], calling=calling) as association:
        return find(association, asked, ModalityWorklistInformationFind)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, ["W-1", "W-3", "W-2"]),
        ({"ScheduledStationAETitle": "CT1"}, ["W-1", "W-2"]),
        ({"ScheduledStationAETitle": "CT2"}, ["W-2"]),
        ({"Modality": "MR"}, ["W-3"]),
        (
            {
                "ScheduledProcedureStepStartDate": "20260310-20260311",
                "ScheduledProcedureStepStartTime": "100000-090000",
                "ScheduledProcedureStepID": "",
            },
            ["W-1", "W-3", "W-2"],
        ),
        ({"PatientName": "munoz*"}, ["W-1"]),
    ],
    ids=str,
)
def test_modality_finds_its_work(pacs: RunningPacs, station: str, keys: dict[str, object], expected: list[str]) -> None:
    """The steps that match are answered, each with its step item."""
    answers, status = ask(pacs, station, **keys)
    assert ([answer.AccessionNumber for answer in answers], status) == (expected, SUCCESS)
    assert all(len(answer.ScheduledProcedureStepSequence) == 1 for answer in answers)


@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO_IR 100", None])
def test_names_arrive_whole(pacs: RunningPacs, station: str, charset: str | None) -> None:
    """A name comes back letter by letter, in the character set that was asked in where that can write it."""
    keys = {"SpecificCharacterSet": charset} if charset else {}
    answers, _ = ask(pacs, station, **keys, ScheduledStationAETitle="CT1")
    assert [(str(answer.PatientName), answer.SpecificCharacterSet) for answer in answers] == [
        ("MUÑOZ^ÍÑIGO", charset or "ISO_IR 100"),
        ("Wiśniewski^Łukasz", "ISO_IR 192"),
    ]


def test_findscu_gets_the_worklist(pacs: RunningPacs, station: str, tmp_path: Path) -> None:
    """DCMTK's worklist query works as a modality's."""
    keys = ["PatientName", "PatientID=W-*", "(0040,0100)[0].Modality=CT", "(0040,0100)[0].ScheduledStationAETitle=CT1"]
    keyed = [word for key in keys for word in ("-k", key)]
    done = dcmtk.ask("findscu", pacs, "-W", "-X", "-od", str(tmp_path), *keyed, calling=station)
    assert "Received Final Find Response (Success)" in done.stdout, done.stdout
    assert [answer.PatientID for answer in dcmtk.read_folder(tmp_path)] == ["W-1", "W-2"]


def test_findscu_reads_accents_without_character_set(pacs: RunningPacs, station: str, tmp_path: Path) -> None:
    """A modality that tells no character set asks in whatever it has, and is answered in Latin-1."""
    for codec in ("utf-8", "latin-1"):
        query, folder = tmp_path / f"{codec}.dcm", tmp_path / codec
        folder.mkdir()
        name = "MUÑOZ*".encode(codec)
        padded = name + b" " * (len(name) % 2)
        query.write_bytes(
            b"\x10\x00\x10\x00" + len(padded).to_bytes(4, "little") + padded + b"\x10\x00\x20\x00\x04\x00\x00\x00W-* "
        )
        done = dcmtk.ask("findscu", pacs, "-W", "-X", "-od", str(folder), query, calling=station)
        (answer,) = dcmtk.read_folder(folder)
        assert (str(answer.PatientName), answer.SpecificCharacterSet) == ("MUÑOZ^ÍÑIGO", "ISO_IR 100"), done.stdout


def test_strangers_get_no_worklist(pacs: RunningPacs, station: str) -> None:
    """Names of patients are for registered stations."""
    assert station
    with associated(pacs, [CONTEXT], calling="STRANGER") as association:
        asked = question(PatientName="")
        answers = (
            find(association, asked, ModalityWorklistInformationFind) if association.is_established else ([], None)
        )
    assert answers[0] == []
    assert answers[1] != SUCCESS


def test_stations_ask_at_once(pacs: RunningPacs, station: str) -> None:
    """Eight modalities that ask again and again each get the whole list each time."""

    def ask_often(_number: int) -> set[tuple[str, ...]]:
        return {tuple(answer.PatientID for answer in ask(pacs, station)[0]) for _ in range(10)}

    with ThreadPoolExecutor(8) as pool:
        told = set().union(*pool.map(ask_often, range(8)))
    assert told == {("W-1", "W-3", "W-2")}


def test_order_is_seen_at_once(pacs: RunningPacs, station: str) -> None:
    """What another process of ours commits, the next question finds."""
    with database_of(pacs.data_directory) as database:
        for number in range(20):
            enter(database, entry(AccessionNumber=f"NEW-{number}", PatientID=f"NEW-{number}"))
            answers, _ = ask(pacs, station, PatientID=f"NEW-{number}")
            assert [answer.AccessionNumber for answer in answers] == [f"NEW-{number}"]


@pytest.fixture(scope="module")
def wide(pacs: RunningPacs, station: str) -> str:
    """Fill the worklist beyond what one question may be answered; return the accession numbers' pattern."""
    assert station
    with database_of(pacs.data_directory) as database:
        enter(database, *(entry(AccessionNumber=f"MANY-{n}", PatientID="MANY") for n in range(2001)))
    return "MANY-*"


def test_question_that_is_too_wide_fails(pacs: RunningPacs, station: str, wide: str) -> None:
    """A list that would be cut short is refused with a status, the log tells what to do, and nothing else suffers."""
    assert ask(pacs, station, PatientID="MANY", AccessionNumber=wide) == ([], UNABLE_TO_PROCESS)
    assert "MostAnswers" in pacs.log()
    assert len(ask(pacs, station)[0]) == 3


def _odd_questions() -> dict[str, Dataset]:
    name_as_sequence = Dataset()
    name_as_sequence.add_new(0x00100010, "SQ", [question(PatientID="1")])
    two_items = question(PatientName="")
    two_items.ScheduledProcedureStepSequence.append(Dataset())
    deep = Dataset()
    for _ in range(30):
        outer = Dataset()
        outer.ScheduledProcedureStepSequence = [deep]
        deep = outer
    unknown = question(PatientName="")
    unknown.private_block(0x0009, "VENDOR", create=True).add_new(0x01, "OB", b"\x00\xff")
    odd_dates = question(ScheduledProcedureStepStartDate="--", ScheduledProcedureStepStartTime="noon-")
    return {
        "name as sequence": name_as_sequence,
        "two items": two_items,
        "deep": deep,
        "private": unknown,
        "odd dates": odd_dates,
        "wildcards": question(PatientName="*?" * 30, PatientID="[%_'"),
        "character set": question(SpecificCharacterSet="NONSENSE", PatientName="Ñ"),
    }


@pytest.mark.parametrize("name", _odd_questions())
def test_odd_question_does_no_harm(pacs: RunningPacs, station: str, name: str) -> None:
    """Whatever a modality makes of the protocol, it gets a status, and the next one gets its list."""
    with associated(pacs, [CONTEXT], calling=station) as association:
        _, status = find(association, _odd_questions()[name], ModalityWorklistInformationFind)
    assert status in (SUCCESS, UNABLE_TO_PROCESS)
    assert len(ask(pacs, station)[0]) == 3
