"""Texts of an instance in its character sets (PS3.5 section 6.1), decoded without ever failing."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataset import Dataset

from pacs.deidentify.values import Element, raw_bytes

_ESCAPE = b"\x1b"
_DEFAULT = ("iso8859",)


@dataclass(frozen=True)
class Charset:
    """The character sets of a dataset, as Python calls them."""

    encodings: tuple[str, ...] = _DEFAULT

    @classmethod
    def of(cls, dataset: Dataset) -> Charset:
        """Return those of a dataset."""
        return cls().within(dataset)

    def within(self, item: Dataset) -> Charset:
        """Return those of an item in a dataset with these."""
        if "SpecificCharacterSet" not in item:
            return self
        try:
            return Charset(tuple(convert_encodings(item.SpecificCharacterSet)))
        except (LookupError, ValueError, AttributeError, TypeError):
            return Charset()

    def text(self, element: Element) -> str:
        """Return the text of an element; what can't be decoded is Latin-1."""
        value = raw_bytes(element)
        if not element.is_raw:
            return value.decode("utf-8", "surrogateescape")
        if value.isascii() and _ESCAPE not in value:
            return value.decode("ascii")
        try:
            return decode_bytes(value, self.encodings, {0x5C, 0x5E, 0x3D, 0x0A, 0x0D})
        except (LookupError, ValueError):
            return value.decode("latin-1")

    @staticmethod
    def any_text(value: bytes) -> str:
        """Return bytes as whatever text they may hold."""
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.decode("latin-1")

    def encoded(self, text: str) -> bytes:
        """Return a text as a value of even length; what the character set has not becomes a question mark."""
        value = text.encode(self.encodings[0] if self.encodings else "ascii", "replace")
        return value + b" " * (len(value) % 2)
