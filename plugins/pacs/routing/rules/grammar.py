"""Reads what a condition compares with, from the text as a person wrote it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from pacs.routing.rules import readings
from pacs.routing.rules.comparisons import (
    OPERATORS,
    Absent,
    Between,
    Compared,
    Comparison,
    DayCompared,
    Matches,
    OneOf,
    Present,
    Within,
    equal_to,
)
from pacs.routing.rules.names import Kind, is_sequence, kind_of
from pacs.routing.rules.patterns import Pattern, compiled, escaped
from pacs.studies.names import fold

_COMPARED = re.compile(r"(<=|>=|!=|==|<|>|=)\s*(.*)", re.DOTALL)
_AGO = re.compile(r"(?:(\d{1,5})\s+(day|week|month|year)s?\s+ago|today|yesterday)")
_AGO_DAYS = {"day": 1.0, "week": 7.0, "month": readings.DAYS_A_YEAR / 12, "year": readings.DAYS_A_YEAR}
_DATE = re.compile(r"\d{4}-?\d{2}-?\d{2}")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
_AGE = re.compile(r"(\d{1,3})\s*(day|week|month|year)?s?")
# Signs as words: more readable, and YAML would want quotes around ">" and "*".
_WORDS = {
    "more than ": ">",
    "less than ": "<",
    "at least ": ">=",
    "at most ": "<=",
    "before ": "<",
    "after ": ">",
    "since ": ">=",
    "until ": "<=",
}
_PIECES = {"contains ": "*{}*", "begins with ": "{}*", "ends with ": "*{}"}
_YES_NO = ("yes", "no")


def parse_comparison(name: str, text: str) -> Comparison:
    """Return what a text means for values of a known name.

    Raises
    ------
    ValueError : it can't be understood; the message says what was found, what is expected, what to do.
    """
    if text == "absent":
        return Absent()
    if text == "present":
        return Present()
    if is_sequence(name):
        raise ValueError(
            f'{name} is a sequence, found "{text}"; ask for `present` or `absent`, or for {name}.Something'
        )
    if not text:
        raise ValueError("expected a value, found an empty text; write `absent` for no value")
    if len(text) > 1 and text.startswith("/") and text.endswith("/"):
        return Matches(compiled(text[1:-1]), is_folded=False)
    return _PARSERS[kind_of(name)](name, _with_sign(text))


def _with_sign(text: str) -> str:
    """Return the text with the sign that its first words stand for."""
    for words, sign in _WORDS.items():
        if text.lower().startswith(words):
            return f"{sign} {text[len(words) :].strip()}"
    return text


def _text(name: str, text: str) -> Comparison:
    sign, bound = _split(text)
    if sign == "=":
        return equal_to(bound)
    if sign:
        return Compared(readings.number, OPERATORS[sign], _number(name, bound))
    for words, pattern in _PIECES.items():
        if text.lower().startswith(words):
            return Matches(_wildcard(pattern.format(text[len(words) :].strip())), is_folded=True)
    if {"*", "?"} & set(text):
        return Matches(_wildcard(text), is_folded=True)
    return equal_to(text)


def _ordered(reading: Callable[[str], Any], written: Callable[[str, str], Any]) -> Callable[[str, str], Comparison]:
    """Return the parser of a kind of values that have an order."""

    def parse(name: str, text: str) -> Comparison:
        first, dots, last = text.partition("..")
        if dots:
            return _between(name, reading, written(name, first.strip()), written(name, last.strip()))
        sign, bound = _split(text)
        return Compared(reading, OPERATORS[sign or "="], written(name, bound))

    return parse


def _between(name: str, reading: Callable[[str], Any], first: Any, last: Any) -> Between:
    if first > last:
        raise ValueError(f"{name}: a range goes from the smaller to the larger one; exchange the two")
    return Between(reading, first, last)


def _number(name: str, text: str) -> float:
    found = readings.number(text)
    if found is None:
        raise ValueError(f'{name} is compared with a number, found "{text}"; write for example `> 20` or `10..20`')
    return found


def _day(name: str, text: str) -> Comparison:
    sign, bound = _split(text)
    if ago := _AGO.fullmatch(bound.lower()):
        days = _days_ago(ago)
        return DayCompared(OPERATORS[sign or "="], days)
    return _ordered(readings.day_of, _written_day)(name, text)


def _days_ago(ago: re.Match[str]) -> int:
    if ago[1] is None:
        return int(ago[0] == "yesterday")
    return round(int(ago[1]) * _AGO_DAYS[ago[2]])


def _written_day(name: str, text: str) -> Any:
    found = readings.day_of(text) if _DATE.fullmatch(text) else None
    if found is None:
        raise ValueError(f'{name} is a date, found "{text}"; write 2026-11-22, `> 30 days ago` or `today`')
    return found


def _clock(name: str, text: str) -> Comparison:
    first, dash, last = text.replace("..", "-").partition("-")
    if dash:
        # The last minute counts whole up to its beginning: 20:00-07:00 ends when it is seven.
        begin, end = _second(name, first.strip()), _second(name, last.strip())
        return Between(readings.second_of_day, begin, end - 1 if end else 24 * 3600 - 1, wraps=True)
    sign, bound = _split(text)
    if not sign:
        raise ValueError(f'{name} is a time of day, found "{text}"; write a range such as 20:00-07:00, or `< 07:00`')
    return Compared(readings.second_of_day, OPERATORS[sign], _second(name, bound))


def _second(name: str, text: str) -> int:
    found = _CLOCK.fullmatch(text)
    if not found or int(found[1]) > 24 or int(found[2]) > 59 or (int(found[1]) == 24 and int(found[2])):  # noqa: PLR2004
        raise ValueError(f'{name} is a time of day, found "{text}"; write hours and minutes: 07:30')
    return (int(found[1]) * 60 + int(found[2])) * 60 % (24 * 3600)


def _age(name: str, text: str) -> float:
    found = _AGE.fullmatch(text.lower())
    if not found:
        raise ValueError(f'{name} is an age, found "{text}"; write `< 18 years` or `< 6 months`')
    return int(found[1]) * _AGO_DAYS[found[2] or "year"]


def _weekday(name: str, text: str) -> Comparison:
    first, dash, last = text.partition("-")
    days = [readings.weekday(one) for one in ((first, last) if dash else (text,))]
    if None in days:
        raise ValueError(
            f'{name} is a day of the week, found "{text}"; write Mon, Tue, Wed, Thu, Fri, Sat, Sun or Mon-Fri'
        )
    begin, end = days[0] or 0, days[-1] or 0
    count = (end - begin) % 7 + 1
    return OneOf(frozenset(readings.WEEKDAYS[(begin + step) % 7] for step in range(count)))


def _address(name: str, text: str) -> Comparison:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f'{name} is a network address, found "{text}"; write 10.1.2.3 or 10.1.2.0/24') from None
    return Within((network,))


def _choice(name: str, text: str) -> Comparison:
    if text.lower() not in _YES_NO:
        raise ValueError(f'{name} is yes or no, found "{text}"')
    return equal_to(text)


def _split(text: str) -> tuple[str, str]:
    """Return the sign and what stands after it."""
    found = _COMPARED.fullmatch(text)
    if not found:
        return "", text.strip()
    if found[1] in ("!=", "=="):
        raise ValueError(
            f"`{found[1]}` is not known here; write the value alone for equal, and put it under `not:` for unlike"
        )
    if not found[2].strip():
        raise ValueError(f'nothing stands after "{found[1]}"; write for example `{found[1]} 20`')
    return found[1], found[2].strip()


def _wildcard(text: str) -> Pattern:
    parts = {"*": "(?s:.*)", "?": "(?s:.)"}
    expression = "".join(parts.get(char) or escaped(char) for char in fold(text))
    return compiled(f"^{expression}$", text)


_PARSERS: dict[Kind, Callable[[str, str], Comparison]] = {
    Kind.TEXT: _text,
    Kind.NUMBER: _ordered(readings.number, _number),
    Kind.DATE: _day,
    Kind.CLOCK: _clock,
    Kind.AGE: _ordered(readings.age_days, _age),
    Kind.WEEKDAY: _weekday,
    Kind.ADDRESS: _address,
    Kind.CHOICE: _choice,
}
