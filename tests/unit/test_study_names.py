"""`pacs.studies.names`: who types what finds whom."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacs.studies.names import contains_words, fold, search_key, typed_words, words


def _finds(typed: str, name: str) -> bool:
    """Compare as the database does: LIKE '% word%' for each typed word."""
    key = search_key(name)
    return all(pattern.strip("%") in key for pattern in contains_words(typed_words(typed)))


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("munoz", "MUÑOZ^JOSÉ"),
        ("Muñoz", "MUNOZ^JOSE"),
        ("jose munoz", "Muñoz García^José María"),
        ("mar gar", "Muñoz García^José María"),
        ("munoz, jose", "Muñoz^José"),
        ("Muñoz^José", "MUNOZ^JOSE"),
        ("joao", "Conceição^João"),
        ("conceicao", "Conceição^João"),
        ("cruz maria", "de la Cruz^María"),
        ("maria de la cruz", "de la Cruz^María"),
        ("o'higgins", "O'Higgins^Bernardo"),
        ("ohiggins", "O'Higgins^Bernardo"),
        ("higgins", "O’Higgins^Bernardo"),
        ("garcia lopez", "García-López^Ana"),
        ("garcialopez", "García-López^Ana"),
        ("garcia-lo", "García-López^Ana"),
        ("strasse", "Straße^Jürgen"),
        ("jurgen", "Straße^Jürgen"),
        ("lukasz", "Łukaszewicz^Łukasz"),
        ("oyvind soren", "Sørensen^Øyvind"),
        ("thor", "Þórsson^Æsa"),
        ("aesa", "Þórsson^Æsa"),
        ("isik", "Işık^Ayşe"),
        ("ayse", "IŞIK^AYŞE"),
        ("yamada", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("山田", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("山田太郎", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ヤマダ", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ﾔﾏﾀﾞ", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("王小東", "Wang^XiaoDong=王^小東="),
        ("홍길동", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("吉洞 hong", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("люкс", "Люксембургъ"),
        ("κωστας", "Παπαδόπουλος^Κώστας"),
        ("शर्मा", "शर्मा^राम"),
        ("MUNOZ", "ＭＵＮＯＺ^Ana"),
        ("12345678-9", "12.345.678-9"),
        ("123456789", "12.345.678-9"),
        ("", "Muñoz^José"),
        ("***", "Muñoz^José"),
        ("mun*", "Muñoz^José"),
    ],
)
def test_name_is_found_by(typed: str, name: str) -> None:
    """Neither accents, case, order, punctuation nor the script of a component group keep a name from being found."""
    assert _finds(typed, name)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("noz", "Muñoz^José"),
        ("jose pedro", "Muñoz^José"),
        ("munozjose", "Muñoz^José"),
        ("cruz", "Veracruz^María"),
        ("100%", "Muñoz^José"),
    ],
)
def test_name_is_not_found_by(typed: str, name: str) -> None:
    """Words are found by their beginning, all of them must be there, and no character is a wildcard."""
    assert not _finds(typed, name)


@pytest.mark.parametrize("special", ["%", "_", "\\", "'", '"', "*", "?", "|", "\0", "\n"])
def test_words_hold_nothing_special_to_like(special: str) -> None:
    """What is special in a pattern or a statement never becomes part of a word."""
    assert words(f"ab{special}cd") == ["ab", "cd"]


def test_empty_name_has_empty_key() -> None:
    """A study without a name has nothing to be found by."""
    assert search_key("") == search_key("^^^^=^=") == ""


def test_typed_words_are_limited() -> None:
    """A pasted page of text does not become a query of thousands of conditions."""
    assert len(typed_words(" ".join(f"w{number}" for number in range(1000)))) == 12


@given(st.text(max_size=40))
def test_fold_is_stable(text: str) -> None:
    """Folding what is folded changes nothing: stored and typed words meet."""
    assert fold(fold(text)) == fold(text)


@given(st.text(max_size=40))
def test_every_name_is_found_by_itself(text: str) -> None:
    """Whatever the script, typing the name as it is written finds it, composed or decomposed."""
    assert _finds(text, text)
    assert _finds(unicodedata.normalize("NFD", text), text)
