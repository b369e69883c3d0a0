"""The core's log records in Orthanc's log."""

from __future__ import annotations

import logging
from types import ModuleType


class OrthancLogHandler(logging.Handler):
    """Hands each record to Orthanc, at the level that it has there."""

    def __init__(self, orthanc: ModuleType) -> None:
        super().__init__()
        self._orthanc = orthanc

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record. Orthanc cuts at a line end, so a traceback goes line by line."""
        if record.levelno >= logging.ERROR:
            write = self._orthanc.LogError
        elif record.levelno >= logging.WARNING:
            write = self._orthanc.LogWarning
        else:
            write = self._orthanc.LogInfo
        for line in self.format(record).splitlines():
            write(line)


def log_to_orthanc(orthanc: ModuleType) -> None:
    """Send everything that is logged in this process to Orthanc's log."""
    handler = OrthancLogHandler(orthanc)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
