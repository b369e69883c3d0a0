"""The rules' file and history: a broken file never replaces a good one, every version can come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.broken_rules import BROKEN, KNOWN, one_rule
from pacs.errors import Conflict, NotFound
from pacs.routing.rules.book import RuleBook
from pacs.routing.rules.errors import RulesError
from pacs.routing.rules.history import difference

GOOD = one_rule()
BETTER = one_rule("Modality: MR")


class _Clock:
    """Moves on with every look, so that files are looked at each time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10.0
        return self.now


def _book(folder: Path) -> RuleBook:
    return RuleBook(folder, KNOWN, monotonic=_Clock())


def _names(book: RuleBook) -> list[str]:
    return [rule.name for rule in book.in_force().rules.rules]


def test_no_file_means_no_rules(tmp_path: Path) -> None:
    """Without a file routing does nothing, and says nothing."""
    book = _book(tmp_path / "routing")
    assert (_names(book), book.faults(), book.versions()) == ([], [], [])


def test_activation_writes_file_and_history(tmp_path: Path) -> None:
    """What is activated stands in the file, and who did it and why in the history."""
    book = _book(tmp_path / "routing")
    book.activate(GOOD.replace("\n", "\r\n"), actor="person:ana", reason="first")
    version = book.activate(BETTER, actor="person:luis", expected=1)
    assert book.file.read_text(encoding="utf-8") == BETTER
    assert [(one.number, one.actor, one.reason) for one in book.versions()] == [
        (1, "person:ana", "first"),
        (2, "person:luis", ""),
    ]
    assert book.version(1).text == GOOD
    assert (version.number, book.in_force().number) == (2, 2)


@pytest.mark.parametrize("text", [pytest.param(case[1], id=case[0]) for case in BROKEN])
def test_broken_file_never_replaces_a_good_one(text: str, tmp_path: Path) -> None:
    """Whatever the mistake, by page or by hand, the former rules stay in force and the faults are told."""
    book = _book(tmp_path)
    book.activate(GOOD, actor="person:ana")
    with pytest.raises(RulesError):
        book.activate(text, actor="person:ana")
    assert book.file.read_text(encoding="utf-8") == GOOD
    book.file.write_text(text, encoding="utf-8")
    assert _names(book) == ["A"]
    assert book.faults()
    restarted = _book(tmp_path)
    assert _names(restarted) == ["A"]
    assert restarted.faults()
    assert [one.number for one in restarted.versions()] == [1]


def test_change_by_hand_is_a_version(tmp_path: Path) -> None:
    """A file that somebody changed with an editor is read within a second and is a version of its own."""
    book = _book(tmp_path)
    book.activate(GOOD, actor="person:ana")
    book.file.write_text(BETTER.replace("name: A", "name: B"), encoding="utf-8")
    assert _names(book) == ["B"]
    assert [(one.number, one.actor) for one in book.versions()] == [(1, "person:ana"), (2, "file")]


def test_file_of_bytes_is_told(tmp_path: Path) -> None:
    """A file that is no text is a fault like any other."""
    book = _book(tmp_path)
    book.file.write_bytes(b"rules: \xff\xfe")
    assert "UTF-8" in book.faults()[0]


def test_roll_back_is_a_new_version(tmp_path: Path) -> None:
    """A former version comes back as a new one, which names the one it restores."""
    book = _book(tmp_path)
    book.activate(GOOD, actor="person:ana")
    book.activate(BETTER, actor="person:ana")
    version = book.roll_back(1, actor="person:luis", reason="too many")
    assert (version.number, version.restores, book.file.read_text(encoding="utf-8")) == (3, 1, GOOD)
    with pytest.raises(NotFound):
        book.roll_back(9, actor="person:luis")


def test_activation_over_another_ones_is_refused(tmp_path: Path) -> None:
    """Two people who edit the same version don't overwrite each other."""
    book = _book(tmp_path)
    book.activate(GOOD, actor="person:ana", expected=0)
    with pytest.raises(Conflict):
        book.activate(BETTER, actor="person:luis", expected=0)
    assert book.version(1).text == book.file.read_text(encoding="utf-8") == GOOD


def test_history_survives_a_line_cut_short(tmp_path: Path) -> None:
    """A crash in the middle of a line loses that line alone."""
    book = _book(tmp_path)
    book.activate(GOOD, actor="person:ana")
    with (tmp_path / "history" / "rules.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"number": 2, "at": "2026-')
    book.activate(BETTER, actor="person:luis")
    assert [one.number for one in book.versions()] == [1, 2]


def test_difference_shows_what_changed() -> None:
    """The difference has the lines that changed with their signs."""
    lines = [(line.sign, line.text.strip()) for line in difference(GOOD, BETTER) if line.sign in "+-"]
    assert lines == [("-", "Modality: CT"), ("+", "Modality: MR")]
    assert difference(GOOD, GOOD) == []
