"""What was done to an instance, told without any value of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from pydicom.datadict import keyword_for_tag

from pacs.ports import Json


class Done(StrEnum):
    """What was done to an attribute."""

    REMOVED = "removed"
    EMPTIED = "emptied"
    REPLACED = "replaced by a dummy"
    PSEUDONYM = "replaced by the pseudonym"
    REMAPPED = "given another UID"
    SHIFTED = "shifted"
    CLEANED = "cleaned of words that are not allowed"
    TRACED = "emptied: it held something that was removed elsewhere"
    UNLAWFUL = "emptied: its value is none of its VR"
    BLANKED = "blanked in places"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes
    ----------
    place : tags from the top down, items counted from 1: `0040A730[2].0040A123`.
    """

    place: str
    done: Done

    @property
    def name(self) -> str:
        """The keyword of the attribute, "" for a private one."""
        tag = self.place.rpartition(".")[2]
        return keyword_for_tag(int(tag, 16)) if tag.isalnum() else ""


@dataclass
class Report:
    """What was done to many instances: for each attribute, wherever it stood, how often what."""

    instances: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    changes: Counter[tuple[str, Done]] = field(default_factory=Counter)

    def add(self, changes: Iterable[Change]) -> None:
        """Count the changes of an instance."""
        self.instances += 1
        self.changes.update((_without_numbers(change.place), change.done) for change in changes)

    def refuse(self, reason: str) -> None:
        """Count an instance that was refused."""
        self.refused[reason] += 1

    def as_json(self) -> dict[str, Json]:
        """Return it for people and programs, in the order of the tags."""
        listed = [
            {"place": place, "name": Change(place, done).name, "done": done.value, "times": times}
            for (place, done), times in sorted(self.changes.items())
        ]
        return {"instances": self.instances, "refused": dict(self.refused), "changes": listed}


def _without_numbers(place: str) -> str:
    return ".".join(step.partition("[")[0] for step in place.split(".")) if "[" in place else place
