"""One slice: a single-frame image, or a frame of an image of several.

Sources: PS3.3 C.7.6.2 (Image Plane), C.7.6.3 (Image Pixel), C.11.1 (rescaling).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pacs.mesh.errors import NoPosition
from pacs.mesh.reading.header import DISTINGUISHING, Header, as_floats

type Vector = NDArray[np.float64]

# What rounding in decimal strings can make of the length of a direction, and of the cosine between two.
_DIRECTION_TOLERANCE: Final = 1e-2
# Where the values of a dose grid have their slope (PS3.3 C.8.8.3.4.1).
_SLOPES: Final = ("RescaleSlope", "DoseGridScaling")


@dataclass(frozen=True, slots=True)
class Rescale:
    """Real value = stored value * slope + intercept (PS3.3 C.11.1.1)."""

    slope: float = 1.0
    intercept: float = 0.0
    type: str = ""

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> Rescale:
        """Read it from attributes; what is absent or no number changes nothing."""
        slopes = [numbers[0] for keyword in _SLOPES if (numbers := as_floats(texts.get(keyword, ""), 1))]
        intercepts = as_floats(texts.get("RescaleIntercept", ""), 1) or (0.0,)
        return cls(next((slope for slope in slopes if slope), 1.0), intercepts[0], texts.get("RescaleType", ""))


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Where a slice lies and what its values mean.

    Attributes
    ----------
    frame : of the instance, counted from 0.
    position_mm : shape (3,), the center of the first pixel, LPS.
    orientation : shape (2, 3), unit vectors along a row (to the next column) and down a column.
    spacing_mm : from row to row and from column to column, as PixelSpacing has it.
    said_gap_mm, thickness_mm : SpacingBetweenSlices and SliceThickness, None where absent; slices of a series are
        never placed by them.
    distinguishing : what may tell it from another slice in the same place, by keyword.
    """

    header: Header
    frame: int
    position_mm: Vector
    orientation: NDArray[np.float64]
    spacing_mm: tuple[float, float]
    said_gap_mm: float | None
    thickness_mm: float | None
    rescale: Rescale
    distinguishing: Mapping[str, str]

    @classmethod
    def of(cls, header: Header, texts: Mapping[str, str], frame: int = 0) -> Slice:
        """Make a slice of the attributes `texts`, those of the instance or of one of its frames.

        Raises
        ------
        NoPosition : they do not say where it lies.
        """
        return cls(
            header,
            frame,
            np.array(_numbers(header, texts, "ImagePositionPatient", 3)),
            _directions(header, texts),
            _spacing(header, texts),
            _positive(texts.get("SpacingBetweenSlices", "")),
            _positive(texts.get("SliceThickness", "")),
            Rescale.of(texts),
            {keyword: texts[keyword] for keyword in DISTINGUISHING if keyword in texts},
        )

    @property
    def rows(self) -> int:
        """Height in pixels."""
        return self.header.numbers["Rows"]

    @property
    def columns(self) -> int:
        """Width in pixels."""
        return self.header.numbers["Columns"]

    @property
    def normal(self) -> Vector:
        """Shape (3,): the unit vector perpendicular to the slice, right-handed with its row and column."""
        return np.cross(self.orientation[0], self.orientation[1])

    @property
    def is_frame(self) -> bool:
        """Whether there are other frames in its instance."""
        return self.header.frames > 1

    @property
    def number(self) -> int | None:
        """InstanceNumber of a single-frame image, else the number of the frame."""
        if self.is_frame:
            return self.frame + 1
        numbers = self.header.floats("InstanceNumber", 1)
        return int(numbers[0]) if numbers else None

    @property
    def name(self) -> str:
        """How a refusal names it."""
        uid = self.header.sop_instance_uid
        return f"frame {self.frame + 1} of instance {uid}" if self.is_frame else f"instance {uid}"


def has_place(texts: Mapping[str, str]) -> bool:
    """Whether attributes say where an image lies, rightly or not."""
    return bool(texts.get("ImagePositionPatient") and texts.get("ImageOrientationPatient"))


def _numbers(header: Header, texts: Mapping[str, str], keyword: str, count: int) -> tuple[float, ...]:
    numbers = as_floats(texts.get(keyword, ""), count)
    if numbers is None:
        raise NoPosition(
            f"{keyword} must have {count} numbers, but that of instance {header.sop_instance_uid} is "
            f"{texts.get(keyword, '')!r}.",
            remedy="Leave the instance out, or ask for the series as the scanner made it.",
            sop_instance_uids=[header.sop_instance_uid],
        )
    return numbers


def _directions(header: Header, texts: Mapping[str, str]) -> Vector:
    _numbers(header, texts, "ImageOrientationPatient", 6)
    directions = _unit_vectors(texts["ImageOrientationPatient"])
    if directions is None:
        raise NoPosition(
            "ImageOrientationPatient must be two perpendicular directions, but that of instance "
            f"{header.sop_instance_uid} is {texts['ImageOrientationPatient']!r}.",
            remedy="Leave the instance out.",
            sop_instance_uids=[header.sop_instance_uid],
        )
    return directions


@lru_cache(maxsize=64)  # hundreds of slices have the same
def _unit_vectors(text: str) -> Vector | None:
    """Return two perpendicular directions, shape (2, 3); None if they are not."""
    directions = np.array(as_floats(text, 6)).reshape(2, 3)
    lengths = np.linalg.norm(directions, axis=1)
    cosine = abs(float(directions[0] @ directions[1]))
    if max(cosine, *np.abs(lengths - 1)) > _DIRECTION_TOLERANCE:
        return None
    directions /= lengths[:, None]
    directions.flags.writeable = False
    return directions


def _spacing(header: Header, texts: Mapping[str, str]) -> tuple[float, float]:
    down, across = _numbers(header, texts, "PixelSpacing", 2)
    if min(down, across) <= 0:
        raise NoPosition(
            f"PixelSpacing must be above zero, but instance {header.sop_instance_uid} has {texts['PixelSpacing']!r}.",
            sop_instance_uids=[header.sop_instance_uid],
        )
    return down, across


def _positive(text: str) -> float | None:
    numbers = as_floats(text, 1)
    return abs(numbers[0]) or None if numbers else None
