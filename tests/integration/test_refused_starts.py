"""Mistakes at the start: nothing starts, every mistake is told with what to do, and the exit code is 1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.ports import free_port
from fixtures.running_pacs import RunningPacs
from fixtures.sample_images import stack_of
from fixtures.stations import store_all
from fixtures.untouched import untouched

MISTAKES = {
    "Hl7": {"Port": 70000, "Prt": 2575},
    "Database": {"Url": "mysql://localhost/pacs"},
    "Web": {"Language": "fr", "PageSize": "many"},
}


@pytest.fixture
def unharmed(pacs: RunningPacs) -> Iterator[None]:
    """Check after the test that the archive that runs already did not notice."""
    (image,) = stack_of(1, PatientID="BEFORE-START")
    assert store_all(pacs, [image]) == [0x0000]
    with untouched(pacs, [image]):
        yield


def test_settings_with_mistakes_are_refused_with_all_of_them(tmp_path: Path) -> None:
    """Five mistakes in settings.json are five lines, each with its place, and what was stored is left alone."""
    kept = kept_file(tmp_path)
    (tmp_path / "settings.json").write_text(json.dumps({"Pacs": MISTAKES}))
    words = refusal(tmp_path)
    places = ["Pacs.Hl7.Port:", "Pacs.Hl7.Prt:", "Pacs.Database.Url:", "Pacs.Web.Language:", "Pacs.Web.PageSize:"]
    lines = words.splitlines()
    assert len(lines) == 1 + len(places)
    assert all(any(place in line for line in lines) for place in places), words
    assert "5 mistake" in lines[0]
    assert 'did you mean "Port"?' in words
    assert kept.read_bytes() == b"precious"


def test_settings_that_are_no_json_are_refused_with_the_line(tmp_path: Path) -> None:
    """A missing comma is told with its line."""
    (tmp_path / "settings.json").write_text('{\n  "Name": "PACS"\n  "DicomAet": "PACS"\n}\n')
    words = refusal(tmp_path)
    assert "settings.json, line 3" in words
    assert len(words.splitlines()) == 1


@pytest.mark.parametrize("variable", ["PACS_HTTP_PORT", "PACS_DICOM_PORT"])
@pytest.mark.usefixtures("unharmed")
def test_port_in_use_is_told_with_what_to_do(pacs: RunningPacs, tmp_path: Path, variable: str) -> None:
    """A second archive on the same port ends with one line; the first one does not notice."""
    port = pacs.http_port if variable == "PACS_HTTP_PORT" else pacs.dicom_port
    words = refusal(tmp_path, **{variable: str(port)})
    assert words == f"error: Port {port} is in use. End what uses it, or choose another with {variable}=PORT."


@pytest.mark.usefixtures("unharmed")
def test_second_archive_on_the_same_data_is_refused(pacs: RunningPacs) -> None:
    """Two archives on one directory would ruin its index: the second one ends with one line."""
    words = refusal(pacs.data_directory)
    assert "Another archive is running on" in words
    assert "PACS_DATA_DIR" in words
    assert len(words.splitlines()) == 1


@pytest.mark.parametrize("fault", ["no right", "a file in its place", "read-only file system"])
def test_directory_that_can_not_be_written_is_told_with_what_to_do(tmp_path: Path, fault: str) -> None:
    """A data directory that can't be used is named in one line."""
    words = refusal(unusable_directory(tmp_path, fault))
    assert "can't be written" in words
    assert "PACS_DATA_DIR=DIRECTORY" in words
    assert len(words.splitlines()) == 1


def refusal(data_directory: Path, **environment: str) -> str:
    """Start the archive, which must refuse with exit code 1, and return its words."""
    services = ("HTTP", "DICOM", "HL7", "MPPS")
    ports = {f"PACS_{service}_PORT": str(free_port()) for service in services}
    done = subprocess.run(
        [sys.executable, "-m", "pacs.embedded"],
        # Closed at once: should it start after all, it ends by itself, with another exit code.
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PACS_DATA_DIR": str(data_directory), "PACS_DEMO": "0", **ports, **environment},
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout.strip()


def unusable_directory(folder: Path, fault: str) -> Path:
    """Return a directory that can't be written, for a reason."""
    target = folder / "data"
    if fault == "no right":
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        target.mkdir(mode=0o500)
    elif fault == "read-only file system":
        return Path("/opt/pacs/data")
    else:
        target.write_bytes(b"")
    return target


def kept_file(data_directory: Path) -> Path:
    """Put a file where the images are kept."""
    path = data_directory / "orthanc" / "00" / "image"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"precious")
    return path
