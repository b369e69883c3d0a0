"""Unique identifiers that are the same in every run."""

from __future__ import annotations

import uuid

from pydicom.uid import UID

_NAMESPACE = uuid.UUID("5f1c9c43-9d1d-4c6e-8f4e-6a1f6d0c7e55")


def uid_for(*names: object) -> UID:
    """Derive a UID from `names`: the same names always give the same UID.

    It is a version 5 UUID as a decimal number under the root 2.25 (DICOM PS3.5 B.2), so nobody else's UID collides.
    """
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(map(str, names))).int}")
