"""A second net: what was taken out of one attribute must not stand in another that stays.

Names' words, numbers and UIDs that the profile takes away are looked for in every text that stays, whatever it is of.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable

from pydicom.dataset import Dataset

from pacs.deidentify.options import Clean
from pacs.deidentify.plan import Action, Plan
from pacs.deidentify.table import confidentiality_profile
from pacs.deidentify.values import Element, raw_bytes
from pacs.deidentify.words import fold

_SHORTEST_NAME = 3
_SHORTEST_WORD = 4
_SHORTEST_PHRASE = 5
# Rows, columns, times of exposure are numbers too: only long ones are told from them.
_SHORT_NUMBER = re.compile(r"\d{3,5}")
_UID = re.compile(r"\d+(?:\.\d+){3,}")
_WORD = re.compile(r"[^\W_]+")
_TEXT_VRS = frozenset({"AE", "LO", "LT", "SH", "ST", "UC", "UR", "UT"})
_REMOVING = frozenset({Action.REMOVE, Action.EMPTY, Action.DUMMY, Action.SHIFT})
_SHORTEST_JOINED = 6
_DATE_DIGITS = 8
# Descriptions are no identifiers: HEAD of a study's description is not to be looked for in the body part.
_DESCRIPTIONS = frozenset(
    int(row.key, 16)
    for row in confidentiality_profile()
    if Clean.DESCRIPTORS in row.options and row.key.isalnum() and "x" not in row.key
)


class Traces:
    """What an instance says of people, numbers and places that must not be said.

    Attributes
    ----------
    words : folded; of names, and numbers and codes of one word.
    short_numbers : of patients and orders, too short to be told from other numbers: looked for in texts alone.
    phrases : folded; numbers and addresses of any kind, found within words too.
    uids : as they were.
    """

    def __init__(self) -> None:
        self.words: set[str] = set()
        self.short_numbers: set[str] = set()
        self.phrases: set[str] = set()
        self.uids: set[str] = set()

    def gather(self, dataset: Dataset, plan: Plan, decode: Callable[[Element], str]) -> None:
        """Note what a dataset says, without its sequences.

        Parameters
        ----------
        decode : gives the text of an element.
        """
        for element in dataset.elements():
            rule = plan.rule(element.tag)
            if rule.action is Action.UID and rule.vr == "UI":
                self.uids.update(part for part in raw_bytes(element).decode("latin-1").split("\\"))
            elif rule.action in _REMOVING and not element.tag & 0x10000:
                self._note(element, rule.vr or str(element.VR), rule.is_listed, decode)

    def is_in(self, text: str, *, is_number: bool = False) -> bool:
        """Tell whether a text, or the text of a number, holds any of it."""
        folded = text.lower() if text.isascii() else fold(text)
        words = _WORD.findall(folded)
        return (
            not self.words.isdisjoint(words)
            or (not is_number and not self.short_numbers.isdisjoint(words))
            or any(phrase in folded for phrase in self.phrases)
            or not self.uids.isdisjoint(_UID.findall(text))
        )

    def finish(self) -> None:
        """Forget what says nothing; call it once, when all is gathered."""
        self.uids = {uid.strip(" \0") for uid in self.uids} - {""}
        self.words.discard("removed")

    def _note(self, element: Element, vr: str, is_listed: bool, decode: Callable[[Element], str]) -> None:  # noqa: FBT001
        if vr == "PN":
            found = _WORD.findall(fold(decode(element)))
            self.words.update(word for word in found if len(word) >= _SHORTEST_NAME and not word.isdigit())
            self._note_joined(found)
        elif vr in ("DA", "DT"):
            for value in raw_bytes(element).decode("latin-1").split("\\"):
                self.phrases.update(_ways_to_write(value.strip(" \0")[:_DATE_DIGITS]))
        elif is_listed and vr in _TEXT_VRS and element.tag not in _DESCRIPTIONS:
            self._note_text(fold(decode(element)))

    def _note_joined(self, found: list[str]) -> None:
        """Note neighbors of a name as one word: DOEJANE."""
        for first, second in itertools.pairwise(found):
            joined = {first + second, second + first}
            self.phrases.update(phrase for phrase in joined if len(phrase) >= _SHORTEST_JOINED and not phrase.isdigit())

    def _note_text(self, text: str) -> None:
        for value in text.split("\\"):
            phrase = value.strip(" \0")
            if _SHORT_NUMBER.fullmatch(phrase):
                self.short_numbers.add(phrase)
            elif len(phrase) >= _SHORTEST_PHRASE:
                self.phrases.add(phrase)
            if len(phrase) >= _SHORTEST_WORD and phrase.isalnum() and phrase not in self.short_numbers:
                self.words.update({phrase, phrase.lstrip("0") or phrase})


def _ways_to_write(day: str) -> Iterable[str]:
    """Return how people write a date YYYYMMDD."""
    year, month, day_of_month = day[:4], day[4:6], day[6:]
    if len(day) != len("YYYYMMDD") or not day.isdigit():
        return
    yield day
    for mark in "-./ ":
        yield mark.join((year, month, day_of_month))
        yield mark.join((day_of_month, month, year))
        yield mark.join((month, day_of_month, year))
