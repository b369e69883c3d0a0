"""Tables of a mapping: words of the sender to words of DICOM, and order control codes to what is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pacs.settings_files.faults import did_you_mean
from pacs.settings_files.marked_yaml import Node
from pacs.studies.names import fold

OTHERWISE = "otherwise"
_SAME = "same"
_KEEP = "keep"


@dataclass(frozen=True)
class Table:
    """Values by the sender's word, which is compared without regard to case and accents.

    Attributes
    ----------
    otherwise : the value of every other word; None where there is none.
    keeps_others : every other word stays as it is.
    """

    values: dict[str, str]
    otherwise: str | None = None
    keeps_others: bool = False

    def look_up(self, word: str) -> str | None:
        """Return the value of `word`, None when the table does not have it."""
        found = self.values.get(fold(word.strip()), self.otherwise)
        return word if found is None and self.keeps_others else found

    def updated(self, other: Table) -> Table:
        """Return this table with the rows of another one laid over it."""
        otherwise = self.otherwise if other.otherwise is None else other.otherwise
        return Table(self.values | other.values, otherwise, other.keeps_others or self.keeps_others)


def parse_table(node: Node) -> Table:
    """Return the table of a mapping; what is wrong in it is noted as fault."""
    values: dict[str, str] = {}
    otherwise, keeps_others = None, False
    for word, value in node.entries("words and what they become").items():
        if word == _SAME:
            values |= {fold(text.text): text.text for text in value.texts("words that stay as they are")}
        elif (text := value.text('what it becomes; "" for nothing')) is None:
            continue
        elif word == OTHERWISE:
            keeps_others = text == _KEEP
            otherwise = None if keeps_others else text
        else:
            values[fold(word)] = text
    return Table(values, otherwise, keeps_others)


class Action(StrEnum):
    """What an order or an appointment asks for."""

    SCHEDULE = "schedule"  # enter it into the worklist, or change what is there; a canceled one comes back
    UPDATE = "update"  # the same, but the status stays
    ARRIVE = "arrive"
    START = "start"
    COMPLETE = "complete"
    DISCONTINUE = "discontinue"
    CANCEL = "cancel"
    HOLD = "hold"  # cancel it until it is released
    RELEASE = "release"  # no longer on hold; what was canceled otherwise stays so
    NOTE = "note"  # keep it in the journal, nothing else
    REFUSE = "refuse"  # a dead letter: a person looks at it


@dataclass(frozen=True)
class ActionTable:
    """Actions by code and, where the code alone does not say it, by status."""

    actions: dict[str, dict[str, Action]] = field(default_factory=dict)

    def action(self, code: str, status: str) -> Action:
        """Return what is to be done for ORC-1 and ORC-5 (or a trigger event and SCH-25)."""
        by_status = self.actions.get(code.upper()) or self.actions.get(OTHERWISE) or {}
        return by_status.get(status.upper()) or by_status.get(OTHERWISE) or Action.REFUSE

    def updated(self, other: ActionTable) -> ActionTable:
        """Return this table with the rows of another one laid over it."""
        merged = {code: self.actions.get(code, {}) | rows for code, rows in other.actions.items()}
        return ActionTable(self.actions | merged)


def parse_actions(node: Node) -> ActionTable:
    """Return the table of actions of a mapping; what is wrong in it is noted as fault."""
    actions: dict[str, dict[str, Action]] = {}
    for code, value in node.entries("codes and what they ask for").items():
        rows = value.entries("statuses and what they ask for") if value.is_mapping else {OTHERWISE: value}
        found = {_code(status): _action(row) for status, row in rows.items()}
        actions[_code(code)] = {status: action for status, action in found.items() if action is not None}
    return ActionTable(actions)


def _code(text: str) -> str:
    return text if text == OTHERWISE else text.upper()


def _action(node: Node) -> Action | None:
    word = node.text("one of " + ", ".join(Action))
    if word is None:
        return None
    try:
        return Action(word)
    except ValueError:
        node.fault(f'"{word}" is nothing that can be done; {did_you_mean(word, Action)}')
        return None
