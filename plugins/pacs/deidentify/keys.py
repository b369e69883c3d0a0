"""Pseudonyms, UIDs and shifts of dates, all from one secret: the same for the same, and nobody else can tell why.

HMAC-SHA-256 (RFC 2104) of what is replaced, under a key of the project, which is itself made of the secret and the
project's name. So nothing is stored, several servers agree, and two projects have nothing in common.
"""

from __future__ import annotations

import base64
import hmac
import unicodedata
from functools import lru_cache

from pydicom._uid_dict import UID_dictionary

# As base32, 16 characters: among a million patients two share a pseudonym with a chance of 4 in 10^13.
_PSEUDONYM_BYTES = 10
# RFC 9562 section 5.8, a UUID made by a rule of our own: where its version and its variant stand, and what they are.
_UUID_BYTES = 16
_UUID_FIXED_BITS = 0xF << 76 | 0x3 << 62
_UUID_VERSION_8 = 0x8 << 76 | 0x2 << 62
_MOST_KEPT_UIDS = 100_000
SHORTEST_SECRET_BYTES = 32


class Keys:
    """Everything that follows from a project's secret. Safe to use from any thread.

    Parameters
    ----------
    secret : at least `SHORTEST_SECRET_BYTES` long.
    project : its name; another name gives other pseudonyms.
    """

    def __init__(self, secret: bytes, project: str) -> None:
        self._key = _digest(secret, "project", project)
        self.uid = lru_cache(_MOST_KEPT_UIDS)(self._uid)

    def pseudonym(self, identity: tuple[str, ...]) -> str:
        """Return 16 letters and digits for a patient."""
        return base64.b32encode(self._of("patient", *identity)[:_PSEUDONYM_BYTES]).decode("ascii")

    def shift_days(self, identity: tuple[str, ...], most_days: int) -> int:
        """Return by how many days, 1 to `most_days`, a patient's dates go back."""
        return 1 + int.from_bytes(self._of("dates", *identity)[:8]) % most_days

    def _uid(self, uid: str) -> str:
        """Return what stands for a UID: below 2.25 (PS3.5 B.2), the same for the same; the standard's own stay."""
        if uid in UID_dictionary:
            return uid
        number = int.from_bytes(self._of("uid", uid)[:_UUID_BYTES])
        return f"2.25.{number & ~_UUID_FIXED_BITS | _UUID_VERSION_8}"

    def _of(self, purpose: str, *parts: str) -> bytes:
        return _digest(self._key, purpose, *parts)


def _digest(key: bytes, *parts: str) -> bytes:
    """Return the keyed hash of parts, each with its length, so that no two lists of parts are written the same."""
    encoded = (unicodedata.normalize("NFC", part).encode("utf-8", "surrogateescape") for part in parts)
    return hmac.digest(key, b"".join(len(part).to_bytes(4) + part for part in encoded), "sha256")
