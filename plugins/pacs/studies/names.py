"""Words of names and texts, folded so that what people type finds them: without accents, in any order, by beginnings.

Both sides of a comparison go through `words`: what is stored (as one `search_key`) and what is typed.
"""

from __future__ import annotations

import re
import unicodedata

# Letters that Unicode does not take apart into a base letter and a mark.
_LETTERS = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "ŋ": "n", "ı": "i", "ĸ": "k", "ə": "e"}
    | {"æ": "ae", "œ": "oe", "þ": "th"}
)
# The phonetic group of a Japanese name is written in either syllabary.
_KATAKANA = {code: code - 0x60 for code in range(0x30A1, 0x30F7)}
_MOST_WORDS = 12
_PERSON_NAME_GROUPS = "="
# Within a chunk of these, words are also found when written as one: O'Higgins, García-López, 14-0023.
_CHUNK_BREAK = re.compile(r"[\s^=,;\\]+")


def fold(text: str) -> str:
    """Return `text` in small letters without accents, ready to be compared: MUÑOZ and Muñoz are munoz.

    Compatibility forms become plain (full-width letters, ligatures), katakana become hiragana.
    """
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    # Marks of combining class 0 are vowels of Indic scripts, not accents.
    bare = "".join(char for char in plain if not unicodedata.combining(char))
    return unicodedata.normalize("NFC", bare.translate(_LETTERS).translate(_KATAKANA))


def words(text: str) -> list[str]:
    """Return the folded words of `text`, in their order: letters, digits and marks, parted by all else."""
    kept = "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in fold(text))
    return kept.split()


def typed_words(text: str) -> list[str]:
    """Return the words that someone typed to search with, each once; beyond a dozen they are left out."""
    return list(dict.fromkeys(words(text)))[:_MOST_WORDS]


def search_key(*texts: str) -> str:
    """Return all ways in which words of `texts` may begin, each after a blank: " munoz jose o higgins ohiggins".

    Of a person's name (VR PN, DICOM PS3.5 section 6.2.1) every component group counts: alphabetic, ideographic,
    phonetic. Names in Chinese, Japanese and Korean script are also found when typed without a blank.
    """
    found = [word for text in texts for word in _ways_to_write(text)]
    return "".join(f" {word}" for word in dict.fromkeys(found))


def contains_words(typed: list[str]) -> list[str]:
    """Return LIKE patterns, all of which a `search_key` meets when every typed word begins one of its words.

    Words hold no character that is special in a pattern, so nothing is escaped.
    """
    return [f"% {word}%" for word in typed]


def _ways_to_write(text: str) -> list[str]:
    ways: list[str] = []
    for group in text.split(_PERSON_NAME_GROUPS):
        group_words = words(group)
        ways += group_words
        ways += filter(None, ("".join(words(chunk)) for chunk in _CHUNK_BREAK.split(group)))
        if group_words and all(_is_east_asian(word) for word in group_words):
            ways.append("".join(group_words))
    return ways


def _is_east_asian(word: str) -> bool:
    """Tell whether a word is in a script that is written without blanks between words or names."""
    return all("\u2e80" <= char <= "\ud7ff" or "\uf900" <= char <= "\ufaff" or char >= "\U00020000" for char in word)
