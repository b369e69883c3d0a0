"""Logging of the plugins: one line of text with `key=value` facts per record, for a log that others keep.

Inside Orthanc the sink is Orthanc's own log, which adds time and thread; the launcher and the tests give another.
Ids that belong to a whole piece of work (a request, an HL7 message, an item of work) are bound once:

    with logs.bind(correlation_id=logs.new_correlation_id(), orthanc_study_id=study):
        log.info("Study indexed", extra={"series": 4, "duration_seconds": 0.21})
    # pacs.studies: Study indexed correlation_id=9f2c... orthanc_study_id=... series=4 duration_seconds=0.21

Names of patients belong neither in a message nor in a field; DICOM UIDs and Orthanc's hashes may be there.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Self

# Takes a level of the module `logging` and the text of one record (several lines only for a traceback).
type LogSink = Callable[[int, str], None]

CONTEXT_ATTRIBUTE = "pacs_context"
OUR_LOGGERS = ("pacs", "orthanc_glue")
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", CONTEXT_ATTRIBUTE}
# C0, DEL, C1 and the two Unicode line separators: a line break in a value would let its sender forge a log line.
_CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BARE_VALUE = re.compile(r'[^\s"=]+')
_NO_FIELDS: Mapping[str, str] = MappingProxyType({})
_bound: ContextVar[Mapping[str, str]] = ContextVar("pacs_log_context", default=_NO_FIELDS)


@dataclass(frozen=True)
class LogContext:
    """The ids bound at one moment, to carry them over to another thread (a new thread starts with none).

    Examples
    --------
    `context = LogContext.current()` where the work is ordered, `with context.applied(): ...` where it is done.
    """

    fields: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def current(cls) -> LogContext:
        """Return what is bound in the calling thread (or asyncio task) now."""
        return cls(_bound.get())

    @contextmanager
    def applied(self) -> Iterator[LogContext]:
        """Replace whatever is bound by these ids until the block ends."""
        token = _bound.set(MappingProxyType(dict(self.fields)))
        try:
            yield self
        finally:
            _bound.reset(token)


@contextmanager
def bind(**fields: object) -> Iterator[LogContext]:
    """Add ids to every record that the calling thread logs until the block ends; None leaves an id out.

    An inner `bind` adds to the outer one and wins where both name the same id.
    """
    added = {name: str(value) for name, value in fields.items() if value is not None}
    with LogContext({**_bound.get(), **added}).applied() as context:
        yield context


def new_correlation_id() -> str:
    """Return a fresh random id (16 hexadecimal digits) that ties together what one request or message caused."""
    return secrets.token_hex(8)


def correlation_id() -> str | None:
    """Return the correlation id bound in the calling thread, if any."""
    return _bound.get().get("correlation_id")


class ContextFilter(logging.Filter):
    """Give every record the ids bound in the thread that logs it. Belongs on a handler: it lets everything pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Attach the ids, unless the record already carries those of the thread where it was made."""
        if not hasattr(record, CONTEXT_ATTRIBUTE):
            setattr(record, CONTEXT_ATTRIBUTE, dict(_bound.get()))
        return True


def extra_fields(record: logging.LogRecord) -> dict[str, object]:
    """Return what the caller gave as `extra=`, in its order."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the bound ids, then what the caller gave as `extra=`."""
    return {**getattr(record, CONTEXT_ATTRIBUTE, {}), **extra_fields(record)}


class KeyValueFormatter(logging.Formatter):
    """`logger: message key=value key="value with spaces"`, one line, then the indented traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of `record`; control characters in it come out as escapes."""
        facts = "".join(f" {name}={_value_text(value)}" for name, value in fields_of(record).items())
        line = f"{record.name}: {_escaped(record.getMessage())}{facts}"
        return "\n".join([line, *(f"  | {_escaped(below)}" for below in self._lines_below(record))])

    def _lines_below(self, record: logging.LogRecord) -> list[str]:
        parts = [self.formatException(record.exc_info)] if record.exc_info else []
        if record.exc_text and not record.exc_info:
            parts.append(record.exc_text)
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        return [line for part in parts for line in part.split("\n") if line]


def _value_text(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return _escaped(text if _BARE_VALUE.fullmatch(text) else json.dumps(text, ensure_ascii=False))


def _escaped(text: str) -> str:
    return _CONTROL_CHARACTERS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class SinkHandler(logging.Handler):
    """Hand the text of each record to a sink. Called from any thread; the sink must stand that too.

    A sink that fails is told on standard error by `logging` itself and never to whoever logged. What the sink
    logs in turn is dropped: it would come back here without end.
    """

    def __init__(self, sink: LogSink, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._sink = sink
        self._inside = threading.local()
        self.setFormatter(KeyValueFormatter())
        self.addFilter(ContextFilter())

    def emit(self, record: logging.LogRecord) -> None:
        """Format `record` and pass it on."""
        if getattr(self._inside, "sink", False):
            return
        self._inside.sink = True
        try:
            self._sink(record.levelno, self.format(record))
        except Exception:  # noqa: BLE001 - a log that is full or gone must not fail the work that is being logged
            self.handleError(record)
        finally:
            self._inside.sink = False


class InstalledLogs:
    """The set-up that `install` made; `remove` (or the end of a `with` block) puts everything back as it was."""

    def __init__(self, handler: logging.Handler, levels: Mapping[str, int]) -> None:
        self.handler = handler
        self._levels_before = {name: logging.getLogger(name or None).level for name in levels}
        for name, level in levels.items():
            logging.getLogger(name or None).setLevel(level)
        logging.getLogger().addHandler(handler)

    def remove(self) -> None:
        """Take the handler off and restore the levels. May be called twice."""
        logging.getLogger().removeHandler(self.handler)
        for name, level in self._levels_before.items():
            logging.getLogger(name or None).setLevel(level)
        self._levels_before = {}
        self.handler.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def install(sink: LogSink, *, level: int = logging.INFO, library_level: int = logging.WARNING) -> InstalledLogs:
    """Send the records of all loggers to `sink`.

    Parameters
    ----------
    level : from which level on our own packages are heard.
    library_level : the same for everything else. Libraries quote DICOM values below WARNING, so it never goes lower.
    """
    library_level = max(library_level, logging.WARNING)
    return InstalledLogs(SinkHandler(sink), {"": library_level, **dict.fromkeys(OUR_LOGGERS, level)})
