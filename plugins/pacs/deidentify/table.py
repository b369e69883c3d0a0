"""The standard's own lists, as files that a reader can hold beside the standard.

`confidentiality_profile.csv` is PS3.15 table E.1-1, `structured_content.csv` table E.3.4-1, `safe_private.csv` table
E.3.10-1. A column that is empty has no say; the column `edition` names the edition that a row was taken from.
`additional_attributes.csv` is of our own, as the table's note 1 asks for.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pacs.deidentify.options import COLUMNS, Option

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    """A row of a table: what the profile does, and what options do instead.

    Attributes
    ----------
    key : of table E.1-1 eight digits of the tag, where x is any digit, or `private`; of E.3.4-1 the code.
    basic : the column of the profile, with its own letters: X, Z, D, U, or a choice of them such as X/Z.
    options : K (keep) or C (clean), where an option says something.
    """

    key: str
    name: str
    basic: str
    options: Mapping[Option, str]


@cache
def confidentiality_profile() -> tuple[Row, ...]:
    """Return table E.1-1."""
    return tuple(_row(line, line["tag"]) for line in _lines("confidentiality_profile.csv"))


@cache
def additional_attributes() -> tuple[Row, ...]:
    """Return what table E.1-1 does not list and is treated as if it did, for the reason that the file gives."""
    return tuple(_row(line, line["tag"]) for line in _lines("additional_attributes.csv"))


@cache
def structured_content() -> Mapping[tuple[str, str, str], Row]:
    """Return table E.3.4-1: rows by code value, coding scheme and value type."""
    return {
        (line["code"], line["scheme"], line["value_type"]): _row(line, line["code"])
        for line in _lines("structured_content.csv")
    }


@cache
def safe_private() -> Mapping[tuple[str, int], frozenset[int]]:
    """Return table E.3.10-1: the last two digits of safe elements by creator and group."""
    found: dict[tuple[str, int], set[int]] = {}
    for line in _lines("safe_private.csv"):
        found.setdefault((line["creator"], int(line["group"], 16)), set()).add(int(line["element"], 16))
    return {block: frozenset(elements) for block, elements in found.items()}


def _row(line: Mapping[str, str], key: str) -> Row:
    options = {option: line[column] for option, column in COLUMNS.items() if line.get(column)}
    return Row(key, line["name"], line["basic"], options)


def _lines(name: str) -> Iterator[dict[str, str]]:
    with (_HERE / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
