"""What is measured: each function does one thing once, checks that it was done, and returns how long it took."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.contenders import Contender
from pacs.embedded.options import free_loopback_port

RECEIVER_AET = "RECEIVER"
# Debian's DCMTK by its path: pynetdicom brings programs of the same names.


@dataclass(frozen=True)
class Scan:
    """The series that everything is measured with, as files."""

    folder: Path
    study_instance_uid: str
    series_instance_uid: str
    instances: int


def store_by_c_store(contender: Contender, scan: Scan, *, nodelay: bool) -> float:
    """Send the scan over one association with storescu; `nodelay` turns Nagle's algorithm off in the client."""
    environment = {**os.environ, "TCP_NODELAY": "1" if nodelay else "0"}
    command = [
        "/usr/bin/storescu",
        "-aec",
        contender.aet,
        "+sd",
        "127.0.0.1",
        str(contender.dicom_port),
        str(scan.folder),
    ]
    seconds = _timed(command, environment)
    _require_stored(contender, scan)
    return seconds


def store_by_rest(contender: Contender, scan: Scan, *, past_nginx: bool) -> float:
    """POST the files one after the other over one connection."""
    url = contender.orthanc_url if past_nginx else contender.url
    bodies = [path.read_bytes() for path in sorted(scan.folder.iterdir())]
    with httpx.Client(timeout=60) as client:
        started = time.monotonic()
        for body in bodies:
            client.post(f"{url}/instances", content=body).raise_for_status()
        seconds = time.monotonic() - started
    _require_stored(contender, scan)
    return seconds


def move_out(contender: Contender, scan: Scan) -> float:
    """C-MOVE the study to a receiver that throws it away."""
    port = free_loopback_port()
    contender.archive.put_json(f"/modalities/{RECEIVER_AET}", [RECEIVER_AET, "127.0.0.1", port])
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={scan.study_instance_uid}"]
    command = ["/usr/bin/movescu", "-S", "-aet", RECEIVER_AET, "-aem", RECEIVER_AET, "-aec", contender.aet, *keys]
    with _receiver(port):
        return _timed([*command, "127.0.0.1", str(contender.dicom_port)], dict(os.environ))


def retrieve_by_wado_rs(contender: Contender, scan: Scan) -> float:
    """Retrieve the whole study as multipart DICOM."""
    url = f"{contender.url}/dicom-web/studies/{scan.study_instance_uid}"
    accept = 'multipart/related; type="application/dicom"'
    received = 0
    started = time.monotonic()
    with httpx.stream("GET", url, headers={"Accept": accept}, timeout=60) as response:
        response.raise_for_status()
        for chunk in response.iter_raw():
            received += len(chunk)
    seconds = time.monotonic() - started
    expected = sum(path.stat().st_size for path in scan.folder.iterdir())
    if received < expected * 0.9:
        message = f"{contender.name} gave {received} of about {expected} bytes"
        raise RuntimeError(message)
    return seconds


def _require_stored(contender: Contender, scan: Scan) -> None:
    found = contender.archive.get_json("/statistics")["CountInstances"]
    if found != scan.instances:
        message = f"{contender.name} holds {found} instances, expected {scan.instances}"
        raise RuntimeError(message)


def _timed(command: list[str], environment: dict[str, str]) -> float:
    started = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if done.returncode:
        message = f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}"
        raise RuntimeError(message)
    return seconds


@contextmanager
def _receiver(port: int) -> Iterator[None]:
    environment = {**os.environ, "TCP_NODELAY": "1"}
    process = subprocess.Popen(["/usr/bin/storescp", "--ignore", "-aet", RECEIVER_AET, str(port)], env=environment)
    time.sleep(0.3)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
