"""Regular expressions whose time grows with the text alone, whatever they are: RE2's."""

from __future__ import annotations

from typing import Protocol

import re2  # type: ignore[import-untyped]  # it carries no types

_LONGEST = 500
_MEMORY_BYTES = 1 << 20


class Pattern(Protocol):
    """A compiled expression."""

    def search(self, text: str) -> object:
        """Return None when it is nowhere in the text."""


def compiled(expression: str, shown: str = "") -> Pattern:
    """Return a compiled expression.

    Parameters
    ----------
    shown : what the person wrote, where that is not the expression.

    Raises
    ------
    ValueError : it is none, too long, or needs what would make it slow.
    """
    if len(expression) > _LONGEST * (10 if shown else 1):
        raise ValueError(f"a pattern of {len(expression)} characters; expected {_LONGEST} at most")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    try:
        pattern: Pattern = re2.compile(expression, options)
    except re2.error as error:
        words = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise ValueError(
            f'no regular expression: "{shown or expression}" ({words}); RE2 knows no look-around and no references back'
        ) from None
    return pattern


def escaped(text: str) -> str:
    """Return the expression that finds a text as it is."""
    return str(re2.escape(text))
