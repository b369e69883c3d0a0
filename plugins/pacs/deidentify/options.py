"""The options of the Basic Application Level Confidentiality Profile, by the words that projects use.

Source: PS3.15 E.3; their codes are of PS3.16 CID 7050.
"""

from __future__ import annotations

from enum import StrEnum

BASIC_PROFILE = ("113100", "Basic Application Confidentiality Profile")


class Retain(StrEnum):
    """What is kept that the profile alone would take away."""

    SAFE_PRIVATE = "safe private"
    UIDS = "uids"
    DEVICE = "device identity"
    INSTITUTION = "institution identity"
    PATIENT = "patient characteristics"
    FULL_DATES = "full dates"
    MODIFIED_DATES = "modified dates"


class Clean(StrEnum):
    """What is looked through, so that its harmless part may stay; of pixels what else is taken away."""

    DESCRIPTORS = "descriptors"
    STRUCTURED = "structured content"
    GRAPHICS = "graphics"
    PIXELS = "pixel data"


type Option = Retain | Clean

# The options that are a column of table E.1-1, by the column's name in our file of it.
COLUMNS: dict[Option, str] = {
    Retain.SAFE_PRIVATE: "safe_private",
    Retain.UIDS: "uids",
    Retain.DEVICE: "device",
    Retain.INSTITUTION: "institution",
    Retain.PATIENT: "patient",
    Retain.FULL_DATES: "full_dates",
    Retain.MODIFIED_DATES: "modified_dates",
    Clean.DESCRIPTORS: "descriptors",
    Clean.STRUCTURED: "structured",
    Clean.GRAPHICS: "graphics",
}

CODES: dict[Option, tuple[str, str]] = {
    Clean.PIXELS: ("113101", "Clean Pixel Data Option"),
    Clean.GRAPHICS: ("113103", "Clean Graphics Option"),
    Clean.STRUCTURED: ("113104", "Clean Structured Content Option"),
    Clean.DESCRIPTORS: ("113105", "Clean Descriptors Option"),
    Retain.FULL_DATES: ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    Retain.MODIFIED_DATES: ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    Retain.PATIENT: ("113108", "Retain Patient Characteristics Option"),
    Retain.DEVICE: ("113109", "Retain Device Identity Option"),
    Retain.UIDS: ("113110", "Retain UIDs Option"),
    Retain.SAFE_PRIVATE: ("113111", "Retain Safe Private Option"),
    Retain.INSTITUTION: ("113112", "Retain Institution Identity Option"),
}
