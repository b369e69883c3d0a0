"""How the keys of a question match the attributes of an entry (PS3.4 C.2.2.2; for the worklist K.4.1.2 and K.6.1.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Literal

from pydicom import DataElement, Dataset
from pydicom.multival import MultiValue

from pacs.studies.names import contains_words, fold, search_key, typed_words
from pacs.worklist.attributes import values

type NameMatching = Literal["exact", "folded", "words"]

# What is in a question beside its keys, or where no entry has it: a modality's own Modality belongs into the step.
_NO_KEYS = frozenset({"SpecificCharacterSet", "QueryRetrieveLevel", "TimezoneOffsetFromUTC", "Modality"})
_START_DATE, _START_TIME = "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"
_RANGED = frozenset({"DA", "TM", "DT"})
_WITHOUT_WILDCARDS = frozenset(
    {"DA", "TM", "DT", "AS", "AT", "DS", "FD", "FL", "IS", "SL", "SS", "SV", "UI", "UL", "US", "UV"}
)
_WHOLE_TEXTS = frozenset({"LT", "ST", "UT"})
_WILD = frozenset("*?")
_FIRST_GROUP = 0x0008
_DOTS_OF_A_DATE = 2


def matches(keys: Dataset, entry: Dataset, names: NameMatching) -> bool:
    """Tell whether an entry of the worklist is one that is asked for.

    Parameters
    ----------
    keys : the question, decoded. Keys of a sequence stand in its one item; empty keys match everything.
    names : see `WorklistSettings.names`; for every key of VR PN.
    """
    return _all_match((key for key in keys if key.keyword not in _NO_KEYS), entry, names)


def _all_match(keys: Iterable[DataElement], entry: Dataset, names: NameMatching) -> bool:
    # Private keys have no keyword: nothing is known of them.
    by_keyword = {key.keyword: key for key in keys if key.keyword and key.tag.group >= _FIRST_GROUP}
    if (date := by_keyword.get(_START_DATE)) is not None and (time := by_keyword.get(_START_TIME)) is not None:
        if not _starts_within(text_of(date), text_of(time), entry):
            return False
        del by_keyword[_START_DATE], by_keyword[_START_TIME]
    return all(_matches(key, entry, names) for key in by_keyword.values())


def _matches(key: DataElement, entry: Dataset, names: NameMatching) -> bool:
    if key.VR == "SQ":
        if is_universal(key):
            return True
        # Empty keys match what an entry without the sequence lacks, too: they only ask to be answered.
        return any(_all_match(key.value[0], item, names) for item in entry.get(key.keyword) or (Dataset(),))
    asked = text_of(key)
    if not asked.strip("*") or (key.VR == "PN" and is_any_name(asked)):
        return True
    found = values(entry, key.keyword)
    return any(_compare(key.VR, asked, value, names) for value in found)


def is_universal(key: DataElement) -> bool:
    """Tell whether a sequence key asks for nothing in particular (PS3.4 C.2.2.2.6): no item, or an empty one."""
    return not key.value or not len(key.value[0])


def is_any_name(asked: str) -> bool:
    """Tell whether a name that is asked for has nothing but what parts names and stands for anything, as `*^*`."""
    return not asked.strip("*^= ")


def text_of(key: DataElement) -> str:
    """Return the key as it was sent, without padding; several values parted by a backslash."""
    value = key.value
    many = value if isinstance(value, MultiValue | list) else [value]
    return "\\".join(str(one) for one in many if one is not None).strip(" \0")


def _compare(vr: str, asked: str, value: str, names: NameMatching) -> bool:
    if vr == "PN":
        return _is_name(asked, value, names)
    if vr in _WHOLE_TEXTS:
        return _is_like(asked)(value)
    compare: Callable[[str, str], bool] = _within if vr in _RANGED else _same if vr in _WITHOUT_WILDCARDS else _like
    return any(compare(one.strip(), value) for one in asked.split("\\"))


def _same(asked: str, value: str) -> bool:
    return asked == value


def _like(asked: str, value: str) -> bool:
    return _is_like(asked)(value)


def _is_name(asked: str, value: str, names: NameMatching) -> bool:
    """Compare names: any component group of the one with any of the other (PS3.4 C.2.2.2.1)."""
    if names == "words" and (typed := typed_words(asked)):
        key = search_key(value)
        if all(pattern.strip("%") in key for pattern in contains_words(typed)):
            return True
    prepared = str if names == "exact" else fold
    found = [prepared(group).rstrip("^ ") for group in value.split("=")]
    groups = [prepared(group).rstrip("^ ") for group in asked.split("=")]
    return any(group and _is_like(group)(_with_components(one, group)) for group in groups for one in found)


def _with_components(name: str, asked: str) -> str:
    """Return a name with as many components as are asked of: empty ones at its end are left out (PS3.5 6.2.1.1)."""
    return name + "^" * (asked.count("^") - name.count("^"))


@lru_cache(maxsize=256)
def _is_like(asked: str) -> Callable[[str], bool]:
    """Return what compares with a value that may hold wildcards (PS3.4 C.2.2.2.4)."""
    if not _WILD & set(asked):
        return lambda value: value == asked
    pattern = "".join(".*" if char == "*" else "." if char == "?" else re.escape(char) for char in asked)
    whole = re.compile(pattern, re.DOTALL)
    return lambda value: whole.fullmatch(value) is not None


def _within(asked: str, value: str) -> bool:
    """Compare dates or times with one of them or a range (PS3.4 C.2.2.2.5). Older forms with . or : are understood."""
    found = _digits(value)
    if "-" not in asked:
        # 10 is the hour, 1015 the minute: as exact as the question is.
        return found.startswith(_digits(asked))
    first, last = bounds(asked)
    return (not first or found >= first) and (not last or found[: len(last)] <= last)


def bounds(asked: str) -> tuple[str, str]:
    """Return the ends of a range of dates or times as digits, "" for an open one; both the same for a single value."""
    first, separator, last = asked.partition("-")
    return _digits(first), _digits(last) if separator else _digits(first)


def _digits(value: str) -> str:
    """Return a date or time without the separators of older standards (2026.03.10, 10:15) and without fractions."""
    plain = value.strip().replace(":", "")
    return plain.replace(".", "") if plain.count(".") == _DOTS_OF_A_DATE else plain.partition(".")[0]


def _starts_within(date: str, time: str, entry: Dataset) -> bool:
    """Compare the scheduled start with both keys.

    Two ranges are one: from the first day at the first time to the last day at the last time (PS3.4 K.6.1.2.1, remark
    at Scheduled Procedure Step Start Time). A step that has a day but no time may start at any moment of that day.
    """
    found_date = "".join(values(entry, _START_DATE)[:1])
    found_time = "".join(values(entry, _START_TIME)[:1])
    if not date.strip("*"):
        return not time.strip("*") or (bool(found_time) and _within(time, found_time))
    if not found_date or not _within(date, found_date):
        return False
    if not time.strip("*") or not found_time:
        return True
    if "-" not in date or "-" not in time:
        return _within(time, found_time)
    (first_day, last_day), (first_time, last_time) = bounds(date), bounds(time)
    day, moment = _digits(found_date), _digits(found_time)
    is_after = day != first_day or moment >= first_time
    is_before = day != last_day or not last_time or moment[: len(last_time)] <= last_time
    return is_after and is_before
