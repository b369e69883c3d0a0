"""Files of settings that people write: text with its line, and every fault of a file told at once."""

from __future__ import annotations

import pytest

from pacs.settings_files.faults import Faults, FileError, did_you_mean
from pacs.settings_files.marked_yaml import Node, read_marked


class ListError(FileError):
    """A list can't be used."""

    code = "list"
    subject = "list"


def _read(text: str) -> tuple[Node | None, Faults]:
    faults = Faults()
    return read_marked(text, "list.yaml", faults, when_empty="write one line"), faults


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "list.yaml, line 1: the file is empty; write one line."),
        ("# only a remark", "list.yaml, line 1: the file is empty; write one line."),
        ("a: 1\n\tb: 2", "list.yaml, line 2: no YAML: found character '\\t' that cannot start any token"),
        ("[" * 5000, "list.yaml, line 1: no YAML: "),
        ("a" * 1_000_001, "list.yaml, line 1: longer than 1000000 characters"),
    ],
)
def test_reading_tells_the_line_of_what_is_no_file(text: str, told: str) -> None:
    """What can't be read at all is a fault with its place, never an exception of the parser."""
    root, faults = _read(text)
    assert root is None
    with pytest.raises(ListError) as error:
        faults.raise_if_any(ListError)
    assert error.value.faults[0].startswith(told)


def test_values_stay_the_text_that_was_written() -> None:
    """NO is no boolean and 08 no number, and each value knows its line."""
    root, faults = _read("on: NO\nnumber: 08\nlist:\n  - 1_000\n  - 2026-11-22\n")
    assert root is not None
    entries = root.entries("words")
    assert [(key, entries[key].text("a word"), entries[key].place.line) for key in ("on", "number")] == [
        ("on", "NO", 1),
        ("number", "08", 2),
    ]
    assert [(item.text, item.place.line) for item in entries["list"].texts("words")] == [
        ("1_000", 4),
        ("2026-11-22", 5),
    ]
    faults.raise_if_any(ListError)


def test_faults_are_told_together_in_the_order_of_the_lines() -> None:
    """A person corrects a file once: every mistake has its line, what was expected and what was found."""
    root, faults = _read("a: 1\nb: [1, {c: 2}]\na: 3\nd:\n")
    assert root is not None
    entries = root.entries("words")
    entries["d"].text("a word")
    entries["b"].texts("words")
    with pytest.raises(ListError, match=r"3 mistake\(s\) in the list") as error:
        faults.raise_if_any(ListError)
    assert error.value.faults == [
        "list.yaml, line 2: expected words, found lines of `key: value`.",
        'list.yaml, line 3: "a" stands twice (first in line 1); remove one.',
        "list.yaml, line 4: expected a word, found nothing.",
    ]


def test_unknown_word_is_answered_with_the_nearest_known() -> None:
    """The cure names the word that was meant, or all that there are."""
    assert did_you_mean("modalty", ["modality", "date"]) == 'did you mean "modality"?'
    assert did_you_mean("xyz", ["modality", "date"]) == "known here: date, modality."
