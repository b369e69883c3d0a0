"""Our plugin inside the real Orthanc: loaded, answering, and gone in time."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fixtures.running_pacs import RunningPacs, start
from pacs.errors import ArchiveError, NotFound

STOP_SECONDS = 5


def test_address_leads_to_pages(pacs: RunningPacs) -> None:
    """Whoever types the address gets the list of studies."""
    answer = httpx.get(pacs.url, follow_redirects=True)
    assert answer.status_code == 200
    assert answer.url.path.startswith("/pacs/")


@pytest.mark.parametrize(
    "path", ["/pacs/studies", "/pacs/upload", "/pacs/aes", "/pacs/system", "/ohif/", "/app/explorer.html", "/system"]
)
def test_every_part_answers_at_one_address(pacs: RunningPacs, path: str) -> None:
    """Pages, viewers and Orthanc's own routes all stand behind the same address."""
    assert httpx.get(pacs.url + path, follow_redirects=True).status_code == 200


def test_metrics_tell_ours_and_those_of_orthanc(pacs: RunningPacs) -> None:
    """One scrape of /pacs/metrics has the plugins' figures and Orthanc's, in a format that Prometheus reads."""
    families = {family.name for family in text_string_to_metric_families(httpx.get(f"{pacs.url}/pacs/metrics").text)}
    assert {"pacs_build_info", "pacs_work_items", "pacs_thread_restarts", "orthanc_count_studies"} <= families


def test_unknown_page_is_a_problem_for_programs(pacs: RunningPacs) -> None:
    """A program that asks for what is not there gets a problem in JSON (RFC 9457)."""
    answer = httpx.get(f"{pacs.url}/pacs/nowhere", headers={"Accept": "application/json"})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["type"] == "urn:pacs-cloud:problem:not-found"


def test_archive_errors_keep_their_kind(pacs: RunningPacs) -> None:
    """What is missing and what is refused are told apart."""
    with pytest.raises(NotFound):
        pacs.archive.get_json("/studies/nothing")
    with pytest.raises(ArchiveError, match="Bad file format"):
        pacs.archive.post_bytes("/instances", b"this is no DICOM file")


def test_stop_ends_everything_in_time(tmp_path: Path) -> None:
    """Asked to end, the archive is gone within seconds, with exit code 0, and has said so in its log."""
    pacs = start(tmp_path)
    asked = time.monotonic()
    assert pacs.stop() == 0
    assert time.monotonic() - asked < 2 * STOP_SECONDS
    assert "Orthanc has stopped" in pacs.log()
    assert "Threads still at work" not in pacs.log()
    with pytest.raises(httpx.ConnectError):
        httpx.get(pacs.url)


def test_data_are_there_after_restart(tmp_path: Path) -> None:
    """What was set before a restart is there after it."""
    first = start(tmp_path)
    first.archive.put_json("/modalities/SUR", ["SUR", "127.0.0.1", 11112])
    first.stop()
    second = start(tmp_path)
    try:
        assert second.archive.get_json("/modalities/SUR/configuration")["AET"] == "SUR"
    finally:
        second.kill()
