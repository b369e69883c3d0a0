"""What parent and child say to each other: one JSON object per line on a socket pair of their own.

Standard output is not used for it, so whatever a library prints can't garble a message.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from pacs.ports import Json


@dataclass(frozen=True)
class Run:
    """Parent to child: do this. `log_levels` maps names of loggers ("" is the root) to levels."""

    job: int
    function: str
    arguments: dict[str, Json]
    log_levels: dict[str, int]


@dataclass(frozen=True)
class Started:
    """Child to parent: the request arrived whole; from here on the job has begun."""

    job: int


@dataclass(frozen=True)
class Advanced:
    """Child to parent: how far the job is."""

    job: int
    fraction: float
    stage: str


@dataclass(frozen=True)
class Logged:
    """Child to parent: a log record, its text already formatted."""

    logger: str
    level: int
    text: str
    created: float
    trace: str = ""
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """Child to parent: the function returned `result`."""

    job: int
    result: Json


@dataclass(frozen=True)
class Failed:
    """Child to parent: the function raised. `code`, `status`, `message`, `remedy` are set for a `PacsError` only."""

    job: int
    type_name: str
    text: str = ""
    trace: str = ""
    code: str = ""
    status: int = 0
    message: str = ""
    remedy: str = ""


type Message = Run | Started | Advanced | Logged | Done | Failed
_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in (Run, Started, Advanced, Logged, Done, Failed)}


class GarbledMessage(ValueError):
    """A line that is none of the messages."""


def encode(message: Message) -> bytes:
    """Return `message` as one line.

    Raises
    ------
    TypeError, ValueError : its content is not JSON (NaN and infinity are not either, RFC 8259 section 6).
    """
    content = {"kind": type(message).__name__, **vars(message)}
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Read one line.

    Raises
    ------
    GarbledMessage : the line is not a message.
    """
    try:
        content = json.loads(line)
        return _KINDS[content.pop("kind")](**content)
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        fault_text = f"Not a message between processes: {line[:80]!r}"
        raise GarbledMessage(fault_text) from fault
