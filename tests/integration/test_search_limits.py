"""Searches that would return everything: each way in has its limit, and none shows a part as the whole."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydicom import Dataset
from pynetdicom import build_context
from pynetdicom.sop_class import PatientRootQueryRetrieveInformationModelFind

from fixtures.ports import free_port
from fixtures.raw_stores import send_at_once
from fixtures.running_pacs import RunningPacs, running
from fixtures.sample_images import stack_of
from fixtures.stations import associated, data_set_of, find, register, store_all
from fixtures.study_lists import wait_until_listed
from pacs.demo.syntaxes import encoded

SUCCESS = 0x0000
WORKSTATION = "LIMIT_WS"
STUDIES, FEW_STUDIES, FEW_INSTANCES = 7, 5, 8


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPacs]:
    """Run an archive with limits so low that a handful of studies shows them, and with seven studies of two images."""
    directory = tmp_path_factory.mktemp("limited")
    limits = {"LimitFindInstances": FEW_INSTANCES, "DicomScpTimeout": 2}
    (directory / "settings.json").write_text(json.dumps(limits))
    with running(directory, environment={"PACS_FIND_LIMIT": str(FEW_STUDIES)}) as started:
        for number in range(STUDIES):
            assert store_all(started, stack_of(2, PatientID=f"LIMIT-{number}")) == [SUCCESS, SUCCESS]
        yield started


@pytest.mark.parametrize(
    ("level", "most"),
    [("Patient", FEW_STUDIES), ("Study", FEW_STUDIES), ("Series", FEW_STUDIES), ("Instance", FEW_INSTANCES)],
)
@pytest.mark.parametrize("limit", [{}, {"Limit": 0}, {"Limit": 1000}])
def test_search_by_rest_for_everything_is_cut(
    limited: RunningPacs, level: str, most: int, limit: dict[str, int]
) -> None:
    """POST /tools/find answers with no more than LimitFindResults and LimitFindInstances, whatever it is asked for."""
    assert len(limited.archive.post_json("/tools/find", {"Level": level, "Query": {}, **limit})) == most


def test_search_that_is_cut_goes_on_where_it_stopped(limited: RunningPacs) -> None:
    """Whoever needs everything gets it page by page, each once."""
    pages = [
        limited.archive.post_json("/tools/find", {"Level": "Study", "Query": {}, "Since": since})
        for since in (0, FEW_STUDIES)
    ]
    assert len({study for page in pages for study in page}) == STUDIES


def test_dicomweb_search_with_a_limit_is_cut(limited: RunningPacs) -> None:
    """A QIDO-RS page is no larger than the archive's own limit."""
    for folder, most in (("studies", FEW_STUDIES), ("series", FEW_STUDIES), ("instances", FEW_INSTANCES)):
        assert len(httpx.get(f"{limited.url}/dicom-web/{folder}?limit=1000").json()) == most


@pytest.mark.parametrize(
    ("folder", "most"), [("studies", FEW_STUDIES), ("series", FEW_STUDIES), ("instances", FEW_INSTANCES)]
)
def test_dicomweb_search_for_everything_is_cut(limited: RunningPacs, folder: str, most: int) -> None:
    """A QIDO-RS search without a limit can't make the archive build all of itself in memory."""
    assert len(httpx.get(f"{limited.url}/dicom-web/{folder}").json()) <= most


@pytest.mark.parametrize(
    ("level", "keyword"),
    [
        ("PATIENT", "PatientID"),
        ("STUDY", "StudyInstanceUID"),
        ("SERIES", "SeriesInstanceUID"),
        ("IMAGE", "SOPInstanceUID"),
    ],
)
def test_dicom_search_for_everything_is_refused(limited: RunningPacs, level: str, keyword: str) -> None:
    """A C-FIND that matches more than the limit fails, and shows no part as the whole; narrowed down it is answered."""
    register(limited, WORKSTATION, free_port())
    model = PatientRootQueryRetrieveInformationModelFind
    keys = Dataset()
    keys.QueryRetrieveLevel, keys.PatientID = level, "LIMIT-*"
    if keyword not in keys:
        setattr(keys, keyword, "")
    with associated(limited, [build_context(model)], calling=WORKSTATION) as association:
        answers, status = find(association, keys, model)
        assert (answers, status is not None and 0xA000 <= status <= 0xCFFF) == ([], True)
        keys.PatientID = "LIMIT-3"
        answers, status = find(association, keys, model)
    assert (len(answers), status) == (2 if level == "IMAGE" else 1, SUCCESS)
    assert f"C-FIND of {WORKSTATION} refused" in limited.log()


def test_our_own_list_is_whole_in_spite_of_the_limits(limited: RunningPacs) -> None:
    """The list of studies reads the archive page by page: a low limit loses no study and no image."""
    studies = limited.archive.get_json("/studies?expand")
    wait_until_listed(limited, {study["MainDicomTags"]["StudyInstanceUID"]: 2 for study in studies})


def test_modality_that_falls_silent_in_the_middle_is_let_go(limited: RunningPacs, tmp_path: Path) -> None:
    """After DicomScpTimeout without a word the association ends: dead modalities don't use up the archive's threads."""
    (image,) = stack_of(1, PatientID="SILENT")
    started = time.monotonic()
    send_at_once(limited, image, {"cut": data_set_of(encoded(image))[:-500]}, tmp_path, timeout_seconds=20)
    assert time.monotonic() - started < 10
