"""The demo studies of the embedded deployment: made and stored once, never again once a person deleted them."""

from __future__ import annotations

import logging
import threading
from datetime import datetime
from pathlib import Path

from pacs.archive_http import HttpArchive
from pacs.demo.studies import demo_studies
from pacs.demo.syntaxes import encoded

_log = logging.getLogger(__name__)


def load(url: str, data_directory: Path, stop: threading.Event) -> None:
    """Store the demo studies in the archive at `url`, unless it was done before on this data directory.

    Interrupted, it begins anew the next time: an instance that is there already is not stored twice.
    """
    marker = data_directory / ".demo-stored"
    if marker.exists():
        return
    _log.info("making the demo studies ...")
    today = datetime.now().astimezone().date()
    with HttpArchive(url) as archive:
        for study in demo_studies(today):
            for instance in study.instances():
                if stop.is_set():
                    return
                archive.post_bytes("/instances", encoded(instance))
    marker.touch()
