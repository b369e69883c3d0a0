"""Work items as plain values: what is put, what is claimed, what is listed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping

from pacs.errors import InvalidInput
from pacs.work.models import KEY_LENGTH
from pacs.work.states import WorkState

# What a JSON object holds.
type JsonObject = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class NewItem:
    """An item to be put.

    Parameters
    ----------
    payload : a JSON object (finite numbers, no U+0000 in texts).
    body : raw bytes kept beside it exactly as they came.
    key : items of the same key are worked one after the other, in the order they were put.
    dedupe : a second item of the queue with the same value is not put.
    priority : higher first, among items that don't wait for one another.
    not_before : when it may be worked at the earliest (aware).

    Raises
    ------
    InvalidInput : a key is too long, empty, or holds U+0000, which PostgreSQL can't store.
    """

    payload: JsonObject
    body: bytes | None = None
    key: str | None = None
    dedupe: str | None = None
    priority: int = 0
    not_before: datetime | None = None

    def __post_init__(self) -> None:
        for name, value in (("key", self.key), ("dedupe", self.dedupe)):
            if value is not None and (not 0 < len(value) <= KEY_LENGTH or "\0" in value):
                raise InvalidInput(
                    f"The {name} of a work item has {len(value)} characters.",
                    remedy=f"Expected 1 to {KEY_LENGTH}, none of them U+0000: hash what is longer.",
                )
        fault = _fault(self.payload)
        if fault:
            raise InvalidInput(
                f"The payload of a work item holds {fault}, which a JSON column can't store.",
                remedy="Put raw data into the body.",
            )


@dataclass(frozen=True)
class PutResult:
    """Which item stands for what was put. `is_new` is False when an item with the same dedupe value was there."""

    item_id: int
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class WorkItem:
    """An item as the database has it. Times are aware, in UTC.

    Attributes
    ----------
    body : None without one, and in lists (`body_bytes` tells its size there).
    attempts : tries so far, the one in work included.
    """

    id: int
    queue: str
    state: WorkState
    key: str | None
    dedupe: str | None
    priority: int
    payload: dict[str, Any]
    body: bytes | None
    body_bytes: int | None
    attempts: int
    next_try_at: datetime
    claimed_by: str | None
    lease_until: datetime | None
    cancel_requested: bool
    last_error: str | None
    progress: dict[str, Any] | None
    result: dict[str, Any] | None
    received_at: datetime
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def from_row(cls, row: RowMapping, body: bytes | None = None) -> WorkItem:
        """Read a row of `work_items`."""
        values = {name: row[name] for name in _PLAIN_COLUMNS}
        return cls(
            state=WorkState(row["state"]),
            key=row["ordering_key"],
            dedupe=row["dedupe_key"],
            priority=-row["precedence"],
            body=body,
            **values,
        )


_PLAIN_COLUMNS = (
    "id",
    "queue",
    "payload",
    "body_bytes",
    "attempts",
    "next_try_at",
    "claimed_by",
    "lease_until",
    "cancel_requested",
    "last_error",
    "progress",
    "result",
    "received_at",
    "queued_at",
    "started_at",
    "finished_at",
)


def _fault(value: object) -> str:
    """Tell what in a JSON value PostgreSQL would refuse (SQLite is less strict), "" when nothing."""
    if isinstance(value, str):
        return _text_fault(value)
    if isinstance(value, float):
        return "" if math.isfinite(value) else "a number that is not finite"
    if isinstance(value, Mapping):
        return next(filter(None, map(_fault, (*value.keys(), *value.values()))), "")
    return next(filter(None, map(_fault, value)), "") if isinstance(value, list | tuple) else ""


def _text_fault(value: str) -> str:
    if "\0" in value:
        return "the character U+0000"
    return "" if value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value) else "half a surrogate pair"
