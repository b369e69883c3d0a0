"""The archives that are measured against each other, each running on ports and data of its own."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fixtures import running_pacs
from pacs import configuration
from pacs.archive_http import HttpArchive
from pacs.embedded.options import free_loopback_port

DEBIAN_CONFIGURATION = Path("/etc/orthanc")
OUR_FRAGMENTS = Path("/opt/pacs/orthanc/config")
OUR_ENVIRONMENT = Path("/opt/pacs/orthanc/environment")
PYTHON_PLUGIN = "/usr/share/orthanc/plugins/libOrthancPython.so"


@dataclass
class Contender:
    """An archive that answers.

    Attributes
    ----------
    url : where its clients reach it: NGINX for ours, Orthanc itself for the others.
    orthanc_url : Orthanc itself.
    viewer_url : where OHIF is before it.
    pids : every process of it; the first is Orthanc.
    start_seconds : from starting its processes until it answered.
    """

    name: str
    url: str
    orthanc_url: str
    dicom_port: int
    aet: str
    pids: tuple[int, ...]
    start_seconds: float
    viewer_url: str = ""

    @property
    def archive(self) -> HttpArchive:
        """Return its REST API."""
        return HttpArchive(self.url)

    def forget_everything(self) -> None:
        """Delete every study, unmeasured, between two runs."""
        for patient in self.archive.get_json("/patients"):
            self.archive.delete(f"/patients/{patient}")

    def memory_bytes(self) -> int:
        """Return the proportional set size of all its processes."""
        return sum(_pss_bytes(pid) for pid in self.pids)


def _pss_bytes(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024


@contextmanager
def stock(directory: Path) -> Iterator[Contender]:
    """Run Orthanc with the configuration and plugins that Debian's packages bring."""
    merged = configuration.load_all(DEBIAN_CONFIGURATION, None, {})
    merged["WebViewer"] = {"CachePath": str(directory / "web-viewer")}
    with orthanc("stock", directory, merged, os.environ) as contender:
        yield contender


@contextmanager
def without_plugin(directory: Path) -> Iterator[Contender]:
    """Run Orthanc with our configuration but without our plugin, to see what the plugin costs."""
    environment = {
        **os.environ,
        "PACS_DATA_DIR": str(directory),
        "PACS_AET": "PACS",
        "PACS_DICOM_PORT": "1",
        "PACS_ORTHANC_HTTP_PORT": "1",
        "PACS_HL7_PORT": "1",
        "PACS_MPPS_PORT": "1",
        "PACS_DATABASE_URL": "",
        **configuration.read_environment(OUR_ENVIRONMENT),
    }
    (directory / "temporary").mkdir(parents=True, exist_ok=True)
    merged = configuration.load_all(OUR_FRAGMENTS, None, environment)
    merged["Plugins"] = [plugin for plugin in merged["Plugins"] if plugin != PYTHON_PLUGIN]
    with orthanc("ours without plugin", directory, merged, environment) as contender:
        yield contender


@contextmanager
def ours(directory: Path) -> Iterator[Contender]:
    """Run what `make run` runs."""
    started = time.monotonic()
    with running_pacs.running(directory, environment={"PACS_STABLE_AGE_SECONDS": "60"}) as pacs:
        yield Contender(
            "ours",
            pacs.url,
            f"http://127.0.0.1:{pacs.orthanc_http_port()}",
            pacs.dicom_port,
            pacs.aet,
            (pacs.orthanc_pid(), *pacs.other_pids()),
            time.monotonic() - started,
            viewer_url=f"{pacs.url}/ohif",
        )


@contextmanager
def orthanc(name: str, directory: Path, merged: dict[str, Any], environment: Mapping[str, str]) -> Iterator[Contender]:
    """Run Orthanc with this configuration, on ports and in a directory of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    http_port, dicom_port = free_loopback_port(), free_loopback_port()
    storage = str(directory / "orthanc")
    merged |= {"HttpPort": http_port, "DicomPort": dicom_port, "StorageDirectory": storage, "IndexDirectory": storage}
    path = directory / "orthanc.json"
    configuration.write(merged, path)
    started = time.monotonic()
    with (directory / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(["Orthanc", str(path)], stdout=log, stderr=log, env=dict(environment))
    try:
        url = f"http://127.0.0.1:{http_port}"
        _wait(f"{url}/system", process)
        yield Contender(name, url, url, dicom_port, merged["DicomAet"], (process.pid,), time.monotonic() - started)
    finally:
        process.terminate()
        process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            with urllib.request.urlopen(url):  # noqa: S310 - our own http://127.0.0.1
                return
        except urllib.error.URLError:
            time.sleep(0.01)
    message = f"{process.args!r} ended with {process.returncode}"
    raise RuntimeError(message)
