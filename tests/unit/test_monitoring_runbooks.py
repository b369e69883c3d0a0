"""Runbooks as a page reads them: nothing that their authors wrote is lost, and no other file is given."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from fixtures.monitoring_content import CHECKOUT, LANGUAGES, MONITORING, ROLE, alerts, chapters, steps
from pacs.errors import NotFound
from pacs.monitoring.runbooks import Runbook, Runbooks, Words

RUNBOOKS = Runbooks(MONITORING / "runbooks")


def text_of(words: Words) -> str:
    """Return the text without its marks."""
    return "".join(span.text for span in words)


def letters(text: str) -> str:
    """Return what is read: no marks, numbers of steps, or spaces."""
    return re.sub(r"```sh( change)?\n|```|^\d+\. |^> |\*\*|`|\s", "", text, flags=re.MULTILINE)


def written(runbook: Runbook) -> str:
    """Return all that a runbook says."""
    parts = [runbook.sentence, *map(text_of, runbook.paragraphs)]
    parts += [part for step in runbook.steps for part in (text_of(step.words), step.command)]
    return letters("\n".join(parts))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", sorted(alerts()))
def test_page_has_all_that_was_written(name: str, language: str) -> None:
    """Sentence, meaning, steps, commands and what changes something: as in the file, in each language."""
    chapter, runbook = chapters(name)[language], RUNBOOKS.read(name, language)
    assert written(runbook) == letters(chapter)
    assert [(step.command, step.changes_something) for step in runbook.steps if step.command] == [
        (step.command, step.changes_something) for step in steps(chapter)
    ]
    assert all(len(step.words) > 0 for step in runbook.steps)
    assert any(span.kind == "strong" for words in runbook.paragraphs for span in words)


@pytest.mark.parametrize(
    "name", ["", "Nobody", "../README", "ArchiveDown.md", "../../etc/passwd", "a/b", "ArchiveDown\n", "x" * 100]
)
def test_no_other_file_is_a_runbook(name: str) -> None:
    """Names come from a browser."""
    assert not RUNBOOKS.has(name)
    with pytest.raises(NotFound):
        RUNBOOKS.read(name, "en")


def test_there_are_none_without_a_folder(tmp_path: Path) -> None:
    """Where no monitoring is set up the page offers none."""
    assert not Runbooks(None).has("ArchiveDown")
    assert not Runbooks(tmp_path / "none").has("ArchiveDown")


def test_missing_chapter_is_told(tmp_path: Path) -> None:
    """A runbook without the reader's language is no empty page."""
    (tmp_path / "Half.md").write_text("# Half\n\n## English\n> It is so.\n", encoding="utf-8")
    assert Runbooks(tmp_path).read("Half", "en").sentence == "It is so."
    with pytest.raises(NotFound, match="Português"):
        Runbooks(tmp_path).read("Half", "pt")


def test_what_runbooks_name_is_there() -> None:
    """Variables of the role, playbooks (of an encrypted vault), and the section of the text that is on the server."""
    text = "".join(path.read_text(encoding="utf-8") for path in MONITORING.glob("runbooks/*.md"))
    variables = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    assert set(re.findall(r"`(monitoring_\w+)`", text)) <= set(variables)
    playbooks = re.findall(r"ansible-playbook (\S+) ?(--ask-vault-pass)?", text)
    assert [name for name, asks in playbooks if not asks or not (CHECKOUT / name).is_file()] == []
    sections = re.findall(r"`/etc/pacs/backup/RESTORE.md`, .(.+?)[»\"]", text)
    restore = (CHECKOUT / "backup/RESTORE.md").read_text(encoding="utf-8")
    assert len(sections) == len(LANGUAGES)
    assert [name for name in sections if f"\n## {name}\n" not in restore] == []
