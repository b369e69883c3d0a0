"""What to do about an alert: the runbooks of monitoring/runbooks, read for a page.

They are Markdown of one plain form: a chapter a language, in it a sentence, what it means, and numbered steps of which
each may have commands. What changes something is marked by its author (```` ```sh change ````).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pacs.errors import NotFound

_NAME = re.compile(r"[A-Za-z0-9]{1,64}")
_TITLES = {"es": "Español", "pt": "Português", "en": "English"}
_CHAPTER = re.compile(r"^## (\S+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_STEP = re.compile(
    r"^\d+\. (?P<words>[^\n]+(?:\n {3}(?!```)[^\n]+)*)\n*"
    r"(?:^ {3}```sh(?P<change> change)?\n(?P<command>.*?)\n {3}```$)?",
    re.MULTILINE | re.DOTALL,
)
_SPAN = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<strong>.+?)\*\*")


@dataclass(frozen=True)
class Span:
    """A piece of a text: "plain", "code" or "strong"."""

    kind: str
    text: str


type Words = tuple[Span, ...]


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes
    ----------
    command : lines of shell, "" where a person acts otherwise.
    changes_something : whether the command does more than look.
    """

    words: Words
    command: str
    changes_something: bool


@dataclass(frozen=True)
class Runbook:
    """A runbook in one language.

    Attributes
    ----------
    sentence : what is wrong, with "…" where the alert names a machine.
    paragraphs : what it means, and what to do first.
    """

    name: str
    sentence: str
    paragraphs: tuple[Words, ...]
    steps: tuple[Step, ...]


class Runbooks:
    """Those of a folder; any thread's.

    Parameters
    ----------
    folder : None where there are none.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def has(self, name: str) -> bool:
        """Tell whether there is a runbook of this name."""
        return self._folder is not None and bool(_NAME.fullmatch(name)) and (self._folder / f"{name}.md").is_file()

    def read(self, name: str, language: str) -> Runbook:
        """Return a runbook in a language ("es", "pt", "en"). Raises NotFound."""
        if self._folder is None or not self.has(name):
            raise NotFound(f"There is no runbook {name[:64]!r}.")
        chapters = dict(_CHAPTER.findall((self._folder / f"{name}.md").read_text(encoding="utf-8")))
        if _TITLES[language] not in chapters:
            raise NotFound(f"The runbook {name} has no chapter in {_TITLES[language]}.")
        return _read(name, chapters[_TITLES[language]])


def _read(name: str, chapter: str) -> Runbook:
    head, steps = chapter[: _begin_of_steps(chapter)], tuple(_steps(chapter))
    lines = [line for line in head.splitlines() if line]
    sentence = " ".join(line.removeprefix("> ") for line in lines if line.startswith("> "))
    return Runbook(name, sentence, tuple(_words(line) for line in lines if not line.startswith("> ")), steps)


def _begin_of_steps(chapter: str) -> int:
    first = _STEP.search(chapter)
    return first.start() if first else len(chapter)


def _steps(chapter: str) -> Iterator[Step]:
    for found in _STEP.finditer(chapter):
        lines = (found["command"] or "").splitlines()
        yield Step(
            _words(" ".join(found["words"].split())),
            "\n".join(line.removeprefix("   ") for line in lines),
            bool(found["change"]),
        )


def _words(text: str) -> Words:
    return tuple(_spans(text))


def _spans(text: str) -> Iterator[Span]:
    end = 0
    for found in _SPAN.finditer(text):
        if before := text[end : found.start()]:
            yield Span("plain", before)
        yield Span(str(found.lastgroup), found[str(found.lastgroup)])
        end = found.end()
    if rest := text[end:]:
        yield Span("plain", rest)
