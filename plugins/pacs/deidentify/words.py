"""Texts of which only allowed words stay (PS3.15 E.3.5 note 2): what is not known to be harmless goes.

Nothing is guessed: a word is allowed when it stands in `words.txt` or in the project, and is no part of anybody's name
in the same instance. Numbers go, but for a few digits with a unit of technique: 5mm, 120kV.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path

_PIECE = re.compile(r"[^\W\d_]+\d?(?![\w])|\d{1,3}(?:[.,]\d{1,2})?[^\W\d_]+(?![\w])|[\w]+|[-+/&]")
_MEASURE = re.compile(r"\d{1,3}(?:[.,]\d{1,2})?(?:mm|cm|kv|kvp|ma|mas|ms|min|s|t|hz|mhz|deg|d|x|%)")
_JOINTS = frozenset("-+/&")
# What says nothing when it stands alone.
_FILLERS = _JOINTS | frozenset(
    "a al and con de del do da e el en for in la no of on or per sem sin the to with without y".split()  # noqa: SIM905 -- a line
)


def fold(text: str) -> str:
    """Return a text without regard to case and accents."""
    return "".join(char for char in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(char))


@cache
def common_words() -> frozenset[str]:
    """Return the words that come with the program, folded: anatomy and technique in English, Spanish, Portuguese."""
    lines = (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(fold(word) for line in lines if not line.startswith("#") for word in line.split())


def allowed_words(own: Iterable[str]) -> frozenset[str]:
    """Return the common words and a project's own."""
    return common_words() | {fold(word) for text in own for word in text.split()}


def only_allowed(text: str, allowed: Collection[str], forbidden: Collection[str]) -> str:
    """Return the allowed pieces of a text, in their order; "" when none is left.

    Parameters
    ----------
    allowed, forbidden : folded words; what is forbidden is not allowed, whatever else says so.
    """
    kept: list[str] = []
    for piece in _PIECE.findall(text):
        folded = fold(piece)
        if piece in _JOINTS:
            if kept and kept[-1] not in _JOINTS:
                kept.append(piece)
        elif folded not in forbidden and (folded in allowed or _MEASURE.fullmatch(folded)):
            kept.append(piece)
    while kept and fold(kept[-1]) in _FILLERS:
        kept.pop()
    return " ".join(kept)
