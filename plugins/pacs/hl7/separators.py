r"""The characters that part a message, and the escape sequences that stand for them inside a text.

Source: HL7 v2.5.1 chapter 2.5.4 (delimiters) and 2.7 (escape sequences).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache

STANDARD_ENCODING = "^~\\&"
_ROLES = ("component", "repetition", "escape", "subcomponent")
_STANDARD_ROLES = dict(zip(STANDARD_ENCODING, _ROLES, strict=True))


@dataclass(frozen=True, slots=True)
class Separators:
    r"""The separators of one message; "" for one that the message does not have.

    Attributes
    ----------
    encoding : MSH-2 as it came, to be sent back as it is.
    """

    field: str
    encoding: str
    component: str
    repetition: str
    escape: str
    subcomponent: str

    @classmethod
    def of(cls, field: str, encoding: str) -> Separators:
        r"""Read MSH-1 and MSH-2.

        Each character of MSH-2 has its role by its place. Where MSH-2 is damaged (characters missing or doubled, as
        `^~&`, `^~\\&` and `^\~\&` are sent), the characters of the standard keep the role they have in the standard.
        """
        return _separators(field, encoding)

    def escaped(self, text: str) -> str:
        """Write a text so that it can stand in a field: separators and line ends become escape sequences.

        Without an escape character in the message nothing can be escaped; separators become blanks then.
        """
        return text.translate(_escapes(self))

    def unescaped(self, raw: str) -> str:
        r"""Return the text that stands in a field, component or subcomponent.

        Known sequences are decoded (\F\ \S\ \T\ \R\ \E\ \P\ \X..\ \.br\ \.sp\ \.ce\, highlighting dropped); all else,
        such as a Windows path or a sequence agreed on by others (\Z..\ \C..\ \M..\), stays as it is.
        """
        if not self.escape or self.escape not in raw:
            return raw
        return _sequences(self.escape).sub(lambda found: _decoded(self, found), raw)

    def sign(self, letter: str) -> str:
        r"""Return what a sequence of one letter stands for: the separator of F, S, T, R, E, P; nothing for H and N."""
        signs = {
            "F": self.field,
            "S": self.component or "^",
            "T": self.subcomponent or "&",
            "R": self.repetition or "~",
            "E": self.escape,
            "P": self.encoding[4:5] or "#",
        }
        return signs.get(letter, "")


@lru_cache(maxsize=256)
def _separators(field: str, encoding: str) -> Separators:
    usable = [character for character in encoding if not character.isalnum() and character != " "]
    if not usable:
        usable = list(STANDARD_ENCODING)
    roles = dict.fromkeys(_ROLES, "")
    is_sound = len(usable) >= len(_ROLES) and len(set(usable[:4])) == len(_ROLES)
    if is_sound:
        roles.update(zip(_ROLES, usable, strict=False))
    else:
        standard = {role: character for character, role in _STANDARD_ROLES.items() if character in usable}
        others = [character for character in dict.fromkeys(usable) if character not in _STANDARD_ROLES]
        free = [role for role in _ROLES if role not in standard]
        roles.update(standard, **dict(zip(free, (other for other in others if other != "#"), strict=False)))
    return Separators(field, encoding, **roles)


@cache
def _sequences(escape: str) -> re.Pattern[str]:
    mark = re.escape(escape)
    bytes_in_a_row = rf"(?P<bytes>(?:{mark}[Xx](?:[0-9A-Fa-f]{{2}})+{mark})+)"
    sign_or_command = r"(?P<sign>[FSTREPHN])|\.(?P<command>br|BR|ce|sp\d{0,3}|fi|nf)"
    return re.compile(rf"{bytes_in_a_row}|{mark}(?:{sign_or_command}){mark}")


def _decoded(separators: Separators, found: re.Match[str]) -> str:
    if digits := found["bytes"]:
        return _from_hexadecimal(re.sub(r"[^0-9A-Fa-f]", "", digits))
    if command := found["command"]:
        return _from_command(command.lower())
    return separators.sign(found["sign"])


def _from_hexadecimal(digits: str) -> str:
    """Bytes beyond ASCII are UTF-8 where they are valid as such, else Latin-1: no two-letter word is both."""
    content = bytes.fromhex(digits)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _from_command(command: str) -> str:
    if command.startswith("sp"):
        return "\n" * int(command[2:] or "1")
    return "\n" if command in {"br", "ce"} else ""


@cache
def _escapes(separators: Separators) -> dict[int, str]:
    mark = separators.escape
    letters = {
        separators.field: "F",
        separators.component: "S",
        separators.subcomponent: "T",
        separators.repetition: "R",
        separators.escape: "E",
        "\r": "X0D",
        "\n": "X0A",
    }
    return {ord(char): f"{mark}{code}{mark}" if mark else " " for char, code in letters.items() if char}
