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

from pacs.mesh.errors import NoPosition, UnsuitablePixels
from pacs.mesh.reading.header import DISTINGUISHING, Header, as_floats

type Vector = NDArray[np.float64]

# What rounding in decimal strings can make of the length of a direction, and of the cosine between two.
_DIRECTION_TOLERANCE: Final = 1e-2
# Where the values of a dose grid have their slope (PS3.3 C.8.8.3.4.1).
_SLOPES: Final = ("RescaleSlope", "DoseGridScaling")


@dataclass(frozen=True, slots=True)
class Rescale:
    """Real value = stored value * slope + intercept (PS3.3 C.11.1.1).

    Attributes
    ----------
    is_said : whether there is an intercept; else nobody knows which stored value is air or water.
    """

    slope: float = 1.0
    intercept: float = 0.0
    type: str = ""
    is_said: bool = False

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> Rescale:
        """Read it from attributes; what is absent, and a slope of 0, changes nothing.

        Raises
        ------
        ValueError : the value of one, which the error names, is no number.
        """
        slope = next((slope for keyword in _SLOPES if (slope := _number(texts, keyword))), 1.0)
        intercept = _number(texts, "RescaleIntercept")
        return cls(slope, intercept or 0.0, texts.get("RescaleType", ""), is_said=intercept is not None)


def _number(texts: Mapping[str, str], keyword: str) -> float | None:
    if not (text := texts.get(keyword, "")):
        return None
    numbers = as_floats(text, 1)
    if numbers is None:
        raise ValueError(keyword)
    return numbers[0]


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
        UnsuitablePixels : slope or intercept is no number.
        """
        said = _Said(header, texts, frame)
        return cls(
            header,
            frame,
            np.array(said.numbers("ImagePositionPatient", 3)),
            said.directions(),
            said.spacing(),
            _positive(texts.get("SpacingBetweenSlices", "")),
            _positive(texts.get("SliceThickness", "")),
            said.rescale(),
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
        return _name(self.header, self.frame)


def has_place(texts: Mapping[str, str]) -> bool:
    """Whether attributes say where an image lies, rightly or not."""
    return bool(texts.get("ImagePositionPatient") and texts.get("ImageOrientationPatient"))


def _name(header: Header, frame: int) -> str:
    uid = header.sop_instance_uid
    return f"frame {frame + 1} of instance {uid}" if header.frames > 1 else f"instance {uid}"


@dataclass(frozen=True, slots=True)
class _Said:
    """What attributes say of a slice, read or refused."""

    header: Header
    texts: Mapping[str, str]
    frame: int

    def numbers(self, keyword: str, count: int) -> tuple[float, ...]:
        """Return `count` numbers, or refuse what they are not."""
        numbers = as_floats(self.texts.get(keyword, ""), count)
        if numbers is None:
            raise self._nowhere(f"{keyword} must have {count} numbers, but that of {{}} is {{!r}}.", keyword)
        return numbers

    def directions(self) -> Vector:
        """Return two unit vectors, shape (2, 3)."""
        self.numbers("ImageOrientationPatient", 6)
        directions = _unit_vectors(self.texts["ImageOrientationPatient"])
        if directions is None:
            told = "ImageOrientationPatient must be two perpendicular directions, but that of {} is {!r}."
            raise self._nowhere(told, "ImageOrientationPatient")
        return directions

    def spacing(self) -> tuple[float, float]:
        """Return the distances of rows and of columns."""
        down, across = self.numbers("PixelSpacing", 2)
        if min(down, across) <= 0:
            raise self._nowhere("PixelSpacing must be above zero, but that of {} is {!r}.", "PixelSpacing")
        return down, across

    def rescale(self) -> Rescale:
        """Return what makes real values of stored ones."""
        try:
            return Rescale.of(self.texts)
        except ValueError as fault:
            keyword = str(fault)
            raise UnsuitablePixels(
                f"{keyword} must be a number, but that of {_name(self.header, self.frame)} is "
                f"{self.texts[keyword]!r}: what its values mean can't be told.",
                remedy="Ask for the series as the scanner made it.",
                sop_instance_uids=[self.header.sop_instance_uid],
            ) from fault

    def _nowhere(self, told: str, keyword: str) -> NoPosition:
        return NoPosition(
            told.format(_name(self.header, self.frame), self.texts.get(keyword, "")),
            remedy="Leave the instance out, or ask for the series as the scanner made it.",
            sop_instance_uids=[self.header.sop_instance_uid],
        )


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


def _positive(text: str) -> float | None:
    numbers = as_floats(text, 1)
    return abs(numbers[0]) or None if numbers else None
