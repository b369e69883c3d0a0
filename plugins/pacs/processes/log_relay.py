"""Log records of a child, told to the parent and logged there as if they had been made there."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pacs.logs import extra_fields
from pacs.processes.messages import Logged

# Loggers whose level in the parent the child takes over: what the parent would drop is not sent.
RELAYED_LEVELS = ("", "pacs")


class RelayHandler(logging.Handler):
    """The child's side: sends each record as a `Logged` message."""

    def __init__(self, send: Callable[[Logged], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send `record`, its message formatted and its extra fields as text."""
        try:
            trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
            fields = {name: str(value) for name, value in extra_fields(record).items()}
            self._send(
                Logged(record.name, record.levelno, record.getMessage(), record.created, trace=trace, fields=fields)
            )
        except Exception:  # noqa: BLE001 - a record that can't be formatted must not fail the computation
            self.handleError(record)


def current_levels() -> dict[str, int]:
    """Return the parent's levels for `apply_levels` in the child."""
    return {name: logging.getLogger(name or None).getEffectiveLevel() for name in RELAYED_LEVELS}


def apply_levels(levels: dict[str, int]) -> None:
    """Set the child's levels."""
    for name, level in levels.items():
        logging.getLogger(name or None).setLevel(level)


def replay(line: Logged, *, child_pid: int) -> None:
    """Log in the parent what a child logged; ids bound in the calling thread are added like to any record."""
    logger = logging.getLogger(line.logger if line.logger != "root" else None)
    if not logger.isEnabledFor(line.level):
        return
    record = logger.makeRecord(line.logger, line.level, "child", 0, "%s", (line.text,), None)
    record.created = line.created
    record.exc_text = line.trace or None
    for name, value in {"child_pid": child_pid, **line.fields}.items():
        if name not in vars(record):
            setattr(record, name, value)
    logger.handle(record)
