"""The names that conditions use: DICOM keywords with their value representation, and words of our own.

The same names stand in the plain form and in expressions (CEL).
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

from pydicom.datadict import dictionary_VR, keyword_dict, tag_for_keyword

from pacs.settings_files.faults import did_you_mean

_NUMBERS = frozenset({"DS", "IS", "FL", "FD", "SL", "SS", "SV", "UL", "US", "UV"})
# What is compared would have to be read from the whole file, and is no text.
_BULK = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN", "OB or OW", "US or SS or OW", "US or OW"})
_LONGEST_PATH = 5
# What a person would enter for a name of ours, or of an older form.
_OFTEN_MEANT = {
    "aet": "sender",
    "callingaetitle": "sender",
    "source": "sender",
    "ip": "sender_address",
    "hour": "time",
    "day": "weekday",
    "bodypart": "body_part",
    "label": "labels",
    "size": "size_mib",
    "age": "age_years",
    "order": "worklist",
    "images": "instances",
}


class Kind(StrEnum):
    """How values of a name are compared."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    CLOCK = "time of day"
    AGE = "age"
    WEEKDAY = "weekday"
    ADDRESS = "network address"
    CHOICE = "yes or no"


class Own(StrEnum):
    """Names of ours, which no DICOM attribute has. Facts of the study, of how it came, and of the moment."""

    SENDER = "sender"
    SENDER_ADDRESS = "sender_address"
    CALLED = "called"
    TIME = "time"
    WEEKDAY = "weekday"
    DATE = "date"
    WORKLIST = "worklist"
    ORDER_PRIORITY = "order_priority"
    ORDER_LOCATION = "order_location"
    ORDER_STATION = "order_station"
    BODY_PART = "body_part"
    AGE_YEARS = "age_years"
    SIZE_MIB = "size_mib"
    SERIES = "series"
    INSTANCES = "instances"
    LABELS = "labels"


KINDS: dict[Own, Kind] = {
    Own.TIME: Kind.CLOCK,
    Own.DATE: Kind.DATE,
    Own.WEEKDAY: Kind.WEEKDAY,
    Own.SENDER_ADDRESS: Kind.ADDRESS,
    Own.WORKLIST: Kind.CHOICE,
    Own.AGE_YEARS: Kind.NUMBER,
    Own.SIZE_MIB: Kind.NUMBER,
    Own.SERIES: Kind.NUMBER,
    Own.INSTANCES: Kind.NUMBER,
}
_OF_VR = {"DA": Kind.DATE, "DT": Kind.DATE, "TM": Kind.CLOCK, "AS": Kind.AGE}


@lru_cache(maxsize=4096)
def kind_of(name: str) -> Kind:
    """Return how values of a known name are compared."""
    if name in Own:
        return KINDS.get(Own(name), Kind.TEXT)
    vr = dictionary_VR(name.rpartition(".")[2])
    return Kind.NUMBER if vr in _NUMBERS else _OF_VR.get(vr, Kind.TEXT)


@lru_cache(maxsize=4096)
def fault_of(name: str) -> str:
    """Return what is wrong with a name and what to do, "" for a known one.

    A name of ours, a DICOM keyword, or a path into sequences: ProcedureCodeSequence.CodeValue.
    """
    if name in Own:
        return ""
    steps = name.split(".")
    if len(steps) > _LONGEST_PATH:
        return f'"{name}" goes through more than {_LONGEST_PATH - 1} sequences.'
    for step in steps:
        if tag_for_keyword(step) is None:
            return _unknown(step)
    for step in steps[:-1]:
        if dictionary_VR(step) != "SQ":
            return f"{step} is no sequence: nothing stands in it; write {step} alone."
    if dictionary_VR(steps[-1]) in _BULK:
        return f"{steps[-1]} holds no text or number, so it can't be compared."
    return ""


def is_sequence(name: str) -> bool:
    """Tell whether a known name is a sequence, of which only presence can be asked."""
    return name not in Own and dictionary_VR(name.rpartition(".")[2]) == "SQ"


def own_names() -> list[str]:
    """Return our own names, for messages and pages."""
    return [name.value for name in Own]


def _unknown(word: str) -> str:
    meant = _OFTEN_MEANT.get(word.lower().replace("_", "").replace(" ", ""))
    if meant:
        return f'unknown name "{word}"; did you mean "{meant}"?'
    by_small_letters = _small_letters().get(word.lower().replace(" ", ""))
    if by_small_letters:
        return f'unknown name "{word}"; did you mean "{by_small_letters}"? Small and capital letters count.'
    cure = did_you_mean(word, (*own_names(), *keyword_dict))
    return f'unknown name "{word}"; {cure or "write a DICOM keyword, or one of: " + ", ".join(own_names()) + "."}'


@lru_cache(maxsize=1)
def _small_letters() -> dict[str, str]:
    return {keyword.lower(): keyword for keyword in keyword_dict}
