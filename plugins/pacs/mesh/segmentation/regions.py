"""What DICOM SEG and RTSTRUCT have in common: named, colored regions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Region:
    """A segment of a DICOM SEG or a region of interest of an RTSTRUCT.

    Attributes
    ----------
    number : SegmentNumber or ROINumber.
    name : SegmentLabel or ROIName, for people; may be empty.
    color_rgb : as sRGB, 0 to 255 each; None when the file names none.
    """

    number: int
    name: str
    color_rgb: tuple[int, int, int] | None
