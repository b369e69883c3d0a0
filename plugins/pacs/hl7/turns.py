"""Whose turn it is: messages about the same patient are worked one after the other, in the order they came.

A work item waits for those of its own key alone, but a message may be about several patients (PID-3 repeated, MRG-1).
While messages about a patient are unsettled, `hl7_turns` names them. A new message joins the key of those it must wait
for; where they are of several keys, as when two patients with work in hand are merged, it is held back until they are
of one, and whatever is about its patients is held back behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select, text
from sqlalchemy.dialects import postgresql, sqlite

from pacs.hl7.models import Hl7Message, Hl7Turn
from pacs.work.table import items

_CHUNK = 500
_VALUES: dict[str, Any] = {"patient_key": bindparam("patient_key"), "message_id": bindparam("message_id")}
_TAKE_SQLITE = sqlite.insert(Hl7Turn).values(_VALUES).on_conflict_do_nothing()
_TAKE_POSTGRESQL = postgresql.insert(Hl7Turn).values(_VALUES).on_conflict_do_nothing()
_KEYS_IN_HAND = (
    select(Hl7Turn.patient_key, items.c.ordering_key)
    .distinct()
    .join(Hl7Message, Hl7Message.id == Hl7Turn.message_id)
    .join(items, items.c.id == Hl7Message.work_item_id)
    # A turn that a cancelled item left behind does not count.
    .where(Hl7Turn.patient_key.in_(bindparam("patient_keys", expanding=True)), text("work_items.holds_key"))
)

_HELD_BACK = (
    select(Hl7Turn.patient_key, Hl7Turn.message_id)
    .join(Hl7Message, Hl7Message.id == Hl7Turn.message_id)
    .where(
        Hl7Turn.patient_key.in_(bindparam("patient_keys", expanding=True)),
        text("direction = 'in' AND state = 'waiting' AND work_item_id IS NULL"),
    )
)


@dataclass(frozen=True)
class Candidate:
    """A message that waits for its place in the queue."""

    message_id: int
    turn_keys: frozenset[str]


def take_turns(connection: Connection, turns: Iterable[tuple[int, str]]) -> None:
    """Let later messages about these patients wait for these messages: pairs of message id and key."""
    rows = [{"patient_key": key, "message_id": message_id} for message_id, key in sorted(turns)]
    if rows:
        connection.execute(_TAKE_SQLITE if connection.dialect.name == "sqlite" else _TAKE_POSTGRESQL, rows)


def assign_keys(connection: Connection, candidates: Sequence[Candidate]) -> dict[int, str | None]:
    """Give each of `candidates`, oldest first, the key of the queue's items that it must wait for.

    Returns
    -------
    By message id, None for a message about nobody. Those that can't have one key yet are left out.
    """
    patient_keys = sorted({key for candidate in candidates for key in candidate.turn_keys})
    in_hand = _in_hand(connection, patient_keys)
    held_back = _held_back(connection, patient_keys, {candidate.message_id for candidate in candidates})
    assigned: dict[int, str | None] = {}
    for candidate in candidates:
        found = {key for turn_key in candidate.turn_keys for key in in_hand.get(turn_key, ())}
        if len(found) > 1 or not held_back.isdisjoint(candidate.turn_keys):
            held_back |= candidate.turn_keys
            continue
        key = found.pop() if found else min(candidate.turn_keys, default=None)
        assigned[candidate.message_id] = key
        if key is not None:
            for turn_key in candidate.turn_keys:
                in_hand.setdefault(turn_key, set()).add(key)
    return assigned


def _in_hand(connection: Connection, patient_keys: list[str]) -> dict[str, set[str]]:
    """Return, by patient, the keys of the unsettled items about them."""
    in_hand: dict[str, set[str]] = {}
    for start in range(0, len(patient_keys), _CHUNK):
        rows = connection.execute(_KEYS_IN_HAND, {"patient_keys": patient_keys[start : start + _CHUNK]})
        for patient_key, ordering_key in rows:
            in_hand.setdefault(patient_key, set()).add(ordering_key)
    return in_hand


def _held_back(connection: Connection, patient_keys: list[str], candidates: set[int]) -> set[str]:
    """Return the patients about whom an older message is held back that is not looked at this time."""
    held_back: set[str] = set()
    for start in range(0, len(patient_keys), _CHUNK):
        rows = connection.execute(_HELD_BACK, {"patient_keys": patient_keys[start : start + _CHUNK]})
        held_back |= {patient_key for patient_key, message_id in rows if message_id not in candidates}
    return held_back
