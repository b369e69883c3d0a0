"""The characters that part a message, and escape sequences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacs.hl7.separators import STANDARD_ENCODING, Separators

STANDARD = Separators.of("|", STANDARD_ENCODING)


@pytest.mark.parametrize(
    ("encoding", "roles"),
    [
        ("^~\\&", "^~\\&"),
        ("^~\\&#", "^~\\&"),
        ("*~\\&", "*~\\&"),
        ("@#$%", "@#$%"),
        ("@#$\\&", "@#$\\"),
        ("~^\\&", "~^\\&"),
        ("^~\\}", "^~\\}"),
        ("^~&", "^~ &"),
        ("^~\\\\&", "^~\\&"),
        ("^\\~\\&", "^~\\&"),
        ("^&&^", "^  &"),
        ("^&&^##", "^  &"),
        ("^", "^   "),
        ("", "^~\\&"),
        ("HIS", "^~\\&"),
    ],
)
def test_separators_have_the_roles_of_their_places_or_of_the_standard(encoding: str, roles: str) -> None:
    """A sound MSH-2 is read by places, a damaged one by the characters themselves."""
    found = Separators.of("|", encoding)
    assert "".join(x or " " for x in (found.component, found.repetition, found.escape, found.subcomponent)) == roles


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f", "a|b^c&d~e\\f"),
        ("1\\.br\\2", "1\n2"),
        ("1\\.BR\\2", "1\n2"),
        ("1\\.sp2\\2", "1\n\n2"),
        ("1\\X0D\\2\\X0d0A\\3", "1\r2\r\n3"),
        ("OPERA\\XC7\\\\XC3\\O", "OPERAÇÃO"),
        ("Mu\\XC3B1\\oz", "Muñoz"),
        ("Mu\\XC3\\\\XB1\\oz", "Muñoz"),
        ("\\H\\bold\\N\\", "bold"),
        ("C:\\Temp\\F\\x", "C:\\Temp|x"),
        ("C:\\dir\\file", "C:\\dir\\file"),
        ("\\Zx\\\\C2842\\\\M256\\", "\\Zx\\\\C2842\\\\M256\\"),
        ("\\X0\\ \\XZZ\\ \\", "\\X0\\ \\XZZ\\ \\"),
        ("100\\P\\", "100#"),
        ("\\", "\\"),
        ("", ""),
    ],
)
def test_unescaped_decodes_what_the_standard_knows_and_keeps_the_rest(raw: str, text: str) -> None:
    """Known sequences become characters; nothing else changes."""
    assert STANDARD.unescaped(raw) == text


@given(st.text(st.characters(codec="utf-8")))
def test_escaped_text_is_one_value_and_reads_as_it_was(text: str) -> None:
    """Whatever a text holds, it comes back, and parts nothing."""
    raw = STANDARD.escaped(text)
    assert not set(raw) & set("|^~&\r\n")
    assert STANDARD.unescaped(raw) == text


def test_escaped_uses_blanks_when_the_message_has_no_escape_character() -> None:
    """Without an escape character a separator in a text would part it."""
    assert Separators.of("|", "^~&").escaped("a|b^c\rd") == "a b c d"
