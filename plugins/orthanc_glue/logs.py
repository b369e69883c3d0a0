"""The core's log records in Orthanc's log."""

from __future__ import annotations

import logging
from types import ModuleType

from pacs import logs


def log_to_orthanc(orthanc: ModuleType) -> None:
    """Send everything that is logged in this process to Orthanc's log, at the level that it has there."""

    def write(level: int, text: str) -> None:
        if level >= logging.ERROR:
            orthanc.LogError(text)
        elif level >= logging.WARNING:
            orthanc.LogWarning(text)
        else:
            orthanc.LogInfo(text)

    logs.install(write)
