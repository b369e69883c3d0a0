"""Monitoring in the running archive: what modalities do becomes figures; doses are read; the command gets a report."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pynetdicom import build_context
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]
from sqlalchemy import select

from fixtures.dose_reports import ct_event, dose_report, written
from fixtures.fictitious_studies import dicom_image
from fixtures.running_pacs import RunningPacs, running
from fixtures.stations import associated, find, register, store_all
from fixtures.worklist_entries import database_of, enter, entry, question
from pacs.monitoring.models import DoseRecord

SECONDS = 90
STATION = "SILENT_CT"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPacs]:
    """Run an archive that gathers its figures every second."""
    folder = tmp_path_factory.mktemp("monitored")
    (folder / "settings.json").write_text('{"Pacs": {"Monitoring": {"FiguresSeconds": 1}}}')
    with running(folder, environment={"PACS_STABLE_AGE_SECONDS": "1"}) as pacs:
        register(pacs, STATION, 104)
        yield pacs


def samples(pacs: RunningPacs) -> dict[tuple[str, ...], float]:
    """Return all of the plugins' metrics by name and labels."""
    families = text_string_to_metric_families(httpx.get(f"{pacs.url}/pacs/metrics").text)
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def test_what_a_modality_does_becomes_figures(archive: RunningPacs) -> None:
    """A question for the worklist, an ordered study and one without: within a minute Prometheus has them all."""
    with database_of(archive.data_directory) as database:
        enter(database, entry(AccessionNumber="MON-1", PatientID="P-MON"))
    with associated(archive, [build_context(ModalityWorklistInformationFind)], calling=STATION) as association:
        find(association, question(), ModalityWorklistInformationFind)
    images = [dicom_image(AccessionNumber=number, PatientID=f"P-{number}") for number in ("MON-1", "MON-2")]
    assert store_all(archive, images, calling=STATION) == [0, 0]
    give_up_at = time.monotonic() + SECONDS
    # The index may know a study before its arrival is told.
    expected = {
        ("pacs_modality_studies", STATION): 2,
        ("pacs_modality_studies_without_order", STATION): 1,
        ("pacs_studies_received_total", "matched"): 1,
        ("pacs_studies_received_total", "none"): 1,
    }
    while expected.items() - (found := samples(archive)).items():
        assert time.monotonic() < give_up_at, found
        time.sleep(0.5)
    for name in ("last_image", "last_worklist_question"):
        at = found[f"pacs_modality_{name}_timestamp_seconds", STATION]
        assert at == pytest.approx(datetime.now(UTC).timestamp(), abs=SECONDS + 60)
    assert ("pacs_modality_longest_silence_seconds", STATION) not in found
    assert found["pacs_golden_enabled",] == 0
    assert STATION in httpx.get(f"{archive.url}/pacs/status").text


def test_dose_report_is_read_when_its_study_is_whole(archive: RunningPacs) -> None:
    """Each irradiation event becomes a row, of the modality that the study is of, with no patient in it."""
    image = dicom_image(Modality="CT", PatientID="P-DOSE")
    report = dose_report(ct_event("Cráneo rutina", 55.5, 910), ct_event("Topograma", None, None))
    report.StudyInstanceUID, report.PatientID = image.StudyInstanceUID, image.PatientID
    store_all(archive, [image], calling=STATION)
    archive.archive.post_bytes("/instances", written(report))
    give_up_at = time.monotonic() + SECONDS
    with database_of(archive.data_directory) as database:
        while True:
            with database.session() as session:
                found = session.scalars(select(DoseRecord)).all()
            if found:
                break
            assert time.monotonic() < give_up_at
            time.sleep(0.3)
    (dose,) = found
    assert (dose.modality, dose.protocol, dose.ctdi_vol_mgy, dose.dlp_mgy_cm) == ("CT", "Cráneo rutina", 55.5, 910)


def test_command_gets_the_report(archive: RunningPacs, tmp_path: Path) -> None:
    """Both files are made by the running archive and left where the command says; a wrong month is refused."""
    month = f"{datetime.now(UTC):%Y-%m}"
    command = [sys.executable, "-m", "pacs.monitoring", "report", "--url", archive.url, "--into", str(tmp_path)]
    done = subprocess.run(
        [*command, "--month", month, "--language", "es"], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"report-{month}-es.html", f"report-{month}-es.pdf"]
    assert (tmp_path / names[1]).read_bytes().startswith(b"%PDF-")
    assert "Informe del archivo de imágenes" in (tmp_path / names[0]).read_text()
    refused = subprocess.run(
        [*command, "--month", "9999-01"], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (refused.returncode, "has not begun" in refused.stderr) == (2, True)
