"""Studies opened by DICOMweb in a scratch Orthanc: `python -m pacs.backup.trial FILE`, run where there is no network.

FILE is JSON: {configuration: Orthanc's, studies: [StudyInstanceUID], answers: where to write}. Answers are
{statistics, opened: [uid], faults: {uid: words}}.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pacs.archive_http import HttpArchive
from pacs.backup import programs
from pacs.errors import ArchiveError, PacsError

_PROGRAM = "/usr/sbin/Orthanc"
_START_SECONDS = 120.0
_SOP_INSTANCE_UID = "00080018"
_SERIES_INSTANCE_UID = "0020000E"
_MAGIC_AT = 128


def main() -> int:
    """Open the studies and write the answers."""
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    began = time.monotonic()
    port = json.loads(Path(task["configuration"]).read_text(encoding="utf-8"))["HttpPort"]
    with Path(task["answers"]).with_suffix(".log").open("wb") as log:
        orthanc = subprocess.Popen(
            [_PROGRAM, task["configuration"]],
            stdout=log,
            stderr=log,
            preexec_fn=programs.end_with_parent,  # noqa: PLW1509
        )
        try:
            with HttpArchive(f"http://127.0.0.1:{port}", timeout_seconds=300) as archive:
                _wait(archive, orthanc)
                answers: dict[str, Any] = {
                    "served_seconds": time.monotonic() - began,
                    **_open_all(archive, task["studies"]),
                }
        finally:
            orthanc.terminate()
            orthanc.wait(60)
    Path(task["answers"]).write_text(json.dumps(answers), encoding="utf-8")
    return 0


def _wait(archive: HttpArchive, orthanc: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + _START_SECONDS
    while True:
        try:
            archive.get_json("/system")
        except ArchiveError:
            if orthanc.poll() is not None or time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)
        else:
            return


def _open_all(archive: HttpArchive, studies: list[str]) -> dict[str, Any]:
    opened, faults = [], {}
    for study in studies:
        try:
            _open(archive, study)
        except (PacsError, ValueError, KeyError) as error:
            faults[study] = str(error)
        else:
            opened.append(study)
    return {"statistics": archive.get_json("/statistics"), "opened": opened, "faults": faults}


def _open(archive: HttpArchive, study: str) -> None:
    """Find a study (QIDO-RS), read its metadata, and retrieve the first image of each series (WADO-RS)."""
    found = archive.get_json(f"/dicom-web/studies?StudyInstanceUID={study}")
    if len(found) != 1:
        raise ArchiveError(f"QIDO-RS found {len(found)} studies, expected 1.")
    instances = archive.get_json(f"/dicom-web/studies/{study}/metadata")
    first: dict[str, str] = {}
    for one in instances:
        first.setdefault(one[_SERIES_INSTANCE_UID]["Value"][0], one[_SOP_INSTANCE_UID]["Value"][0])
    if not first:
        raise ArchiveError("WADO-RS has no metadata of it.")
    for series, instance in first.items():
        body = archive.get_bytes(f"/dicom-web/studies/{study}/series/{series}/instances/{instance}")
        if b"DICM" not in body[: 4 * 1024]:
            raise ArchiveError(f"WADO-RS returned {len(body)} bytes that are no DICOM.")


if __name__ == "__main__":
    sys.exit(main())
