"""What came of each instance, written down at once: read by the parent whatever way the child ends."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from pacs.routing.senders.content import Content, Source


@dataclass(frozen=True, slots=True)
class Outcome:
    """One instance that was sent or refused.

    Attributes
    ----------
    sop_instance : as it is here; the `sent_` ones as it is at the target.
    state : "sent" or "refused".
    status, words : the peer's own.
    """

    sop_instance: str
    state: str
    sop_class: str
    sent_study: str
    sent_series: str
    sent_sop: str
    status: str
    words: str
    size_bytes: int

    @classmethod
    def sent(cls, content: Content, status: str, words: str = "") -> Outcome:
        """Note that it was accepted."""
        return cls._of(content, "sent", status, words)

    @classmethod
    def refused(cls, content: Content, status: str, words: str) -> Outcome:
        """Note that it was not."""
        return cls._of(content, "refused", status, words)

    @classmethod
    def not_made(cls, source: Source, words: str) -> Outcome:
        """Note that it could not be made ready here."""
        who = (source.sop_class, source.study, source.series, source.sop_instance)
        return cls(source.sop_instance, "refused", *who, "ours", words, 0)

    @classmethod
    def _of(cls, content: Content, state: str, status: str, words: str) -> Outcome:
        who = (content.sop_class, content.study, content.series, content.sop_instance)
        return cls(content.source.sop_instance, state, *who, status, words[:500], len(content.file))


class Journal:
    """Writes outcomes, a line each."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.count = 0

    def note(self, outcome: Outcome) -> None:
        """Write one down; it is with the kernel, so that our own end does not lose it."""
        self._file.write(json.dumps(asdict(outcome)) + "\n")
        self._file.flush()
        self.count += 1


def outcomes_after(path: Path, offset: int) -> tuple[list[Outcome], int]:
    """Return what was written since `offset`, and where to go on."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return [], offset
    whole = content[: content.rfind(b"\n") + 1]
    return [Outcome(**json.loads(line)) for line in whole.splitlines()], offset + len(whole)
