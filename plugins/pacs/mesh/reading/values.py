"""What the voxels of a stack mean, and how the samples of each slice become voxels.

Samples are kept as they are stored wherever all slices mean the same by them: no second volume, no rounding. Slices of
HU that differ in their intercept are brought to one; slices that differ in their slope become floats.
Sources: PS3.3 C.11.1 (rescaling), C.8.2.1 (CT: Hounsfield units), C.7.5.1.1.2 (padding).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from pacs.mesh.errors import UnsuitablePixels
from pacs.mesh.reading.observations import BODY_HU, METAL_HU, Levels
from pacs.mesh.reading.pixel_format import PixelFormat, format_of
from pacs.mesh.reading.slices import Slice

AIR_HU: Final = -1000.0
_OUTSIDE_HU: Final = -1024.0
_NOT_MEASURED_HU: Final = -1100.0
_INT16: Final = np.iinfo(np.int16)
_CT_SOP_CLASSES: Final = frozenset(f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("2", "2.1", "2.2"))


@dataclass(frozen=True, slots=True)
class Meaning:
    """Of the voxels of a volume: real value = voxel * slope + intercept; the slope is positive."""

    dtype: np.dtype[Any]
    slope: float
    intercept: float
    unit: Literal["HU", ""]
    is_as_stored: bool

    def stored(self, real: float) -> float:
        """Return the voxel that stands for a real value."""
        return (real - self.intercept) / self.slope

    @property
    def levels(self) -> Levels | None:
        """Where metal and the body begin, if the voxels are in HU."""
        if self.unit != "HU":
            return None
        return Levels(self.stored(METAL_HU), self.stored(BODY_HU), self.stored(_NOT_MEASURED_HU))

    def outside(self, smallest: float) -> float:
        """Return what surrounds a volume whose smallest voxel is `smallest`: that, or air if it is darker."""
        if self.unit != "HU":
            return smallest
        air = float(np.rint(self.stored(_OUTSIDE_HU)))
        if self.dtype.kind in "iu":
            air = max(air, float(np.iinfo(self.dtype).min))
        return min(smallest, air)


def meaning_of(slices: Sequence[Slice]) -> Meaning:
    """Say what the voxels of a stack will mean.

    Raises
    ------
    UnsuitablePixels : the pixels are no gray values, become values by a table, or only those of some slices have an
        intercept.
    """
    forms = {format_of(one.header) for one in {id(one.header): one for one in slices}.values()}
    _require_slope(slices[0])
    rescales = {(one.rescale.slope, one.rescale.intercept) for one in slices}
    if len(rescales) > 1:
        _require_one_scale(slices)
    unit = _unit(slices)
    if all(form.is_integer for form in forms):
        (slope, intercept), *others = rescales
        dtype = _common_dtype(forms)
        if not others and dtype is not None and slope > 0:
            return Meaning(dtype, slope, intercept, unit, is_as_stored=True)
        if unit and all(slope == 1 and intercept.is_integer() for slope, intercept in rescales):
            return Meaning(np.dtype(np.int16), 1.0, 0.0, unit, is_as_stored=False)
    return Meaning(np.dtype(np.float32), 1.0, 0.0, unit, is_as_stored=False)


def _require_slope(one: Slice) -> None:
    if one.header.has_modality_lut:
        raise UnsuitablePixels(
            f"The pixels of instance {one.header.sop_instance_uid} become values by a table, not by a slope.",
            remedy="Ask for the series with RescaleSlope and RescaleIntercept.",
            sop_instance_uids=[one.header.sop_instance_uid],
        )


def _require_one_scale(slices: Sequence[Slice]) -> None:
    """Refuse slices that differ because some say what their values mean and others don't."""
    silent = [one for one in slices if not one.rescale.is_said]
    if silent and len(silent) < len(slices):
        raise UnsuitablePixels(
            f"All slices must say what their values mean, but {silent[0].name} and {len(silent) - 1} more have no "
            "RescaleIntercept and the others have one.",
            remedy="Send them again as the scanner made them.",
            sop_instance_uids=[one.header.sop_instance_uid for one in silent],
        )


def _unit(slices: Sequence[Slice]) -> Literal["HU", ""]:
    """CT images are in HU unless they say otherwise; then their values are what somebody computed of them."""
    is_ct = all(one.header.text("SOPClassUID") in _CT_SOP_CLASSES for one in slices)
    types = {one.rescale.type.upper() for one in slices}
    is_rescaled = all(one.rescale.is_said for one in slices)
    return "HU" if is_ct and is_rescaled and types <= {"", "HU"} else ""


def _common_dtype(forms: set[PixelFormat]) -> np.dtype[Any] | None:
    """Return the 16 bit integers that hold what all formats hold."""
    for name in (np.int16, np.uint16):
        bounds = np.iinfo(name)
        if all(form.lowest >= bounds.min and form.highest <= bounds.max for form in forms):
            return np.dtype(name)
    return None


def place(samples: NDArray[Any], one: Slice, form: PixelFormat, meaning: Meaning) -> NDArray[Any]:
    """Return the voxels of a slice; `samples`, shape (rows, columns), may be changed."""
    samples = _without_padding(samples, one, form, meaning)
    if meaning.is_as_stored:
        return _inverted(samples, form) if is_inverted(one, meaning) else samples
    if meaning.dtype.kind == "i":
        shifted = samples.astype(np.int64) + int(one.rescale.intercept)
        return np.clip(shifted, _INT16.min, _INT16.max).astype(np.int16)
    values = samples.astype(np.float32)
    values *= np.float32(one.rescale.slope)
    values += np.float32(one.rescale.intercept)
    return -values if is_inverted(one, meaning) else values


def is_inverted(one: Slice, meaning: Meaning) -> bool:
    """Whether bright pixels of a slice have low values; values with a unit mean what they mean, however shown."""
    return not meaning.unit and one.header.text("PhotometricInterpretation").upper() == "MONOCHROME1"


def _inverted(samples: NDArray[Any], form: PixelFormat) -> NDArray[Any]:
    """Turn dark and bright, within what the bits hold (MONOCHROME1: the lowest value is white)."""
    turned: NDArray[Any] = samples.dtype.type(form.highest + form.lowest) - samples
    return turned


def _without_padding(samples: NDArray[Any], one: Slice, form: PixelFormat, meaning: Meaning) -> NDArray[Any]:
    """Replace padding around the field that is brighter than air, which would be meshed as a wall.

    Only where a corner shows it: scanners also name values as padding that are common in the field.
    """
    is_turned = is_inverted(one, meaning)
    bounds = _padding(one, form)
    if bounds is None or not form.is_integer:
        return _without_gaps(samples, is_turned=is_turned)
    low, high = bounds
    air = (AIR_HU - one.rescale.intercept) / one.rescale.slope
    dark = air if meaning.unit else _darkest(samples, is_turned=is_turned)
    is_dark = low >= dark if is_turned else high <= dark
    corners = (samples[0, 0], samples[0, -1], samples[-1, 0], samples[-1, -1])
    if is_dark or not any(low <= corner <= high for corner in corners):
        return samples
    is_padding = (samples >= low) & (samples <= high)
    field = samples[~is_padding]
    if field.size:
        darkest = _darkest(field, is_turned=is_turned)
        samples[is_padding] = max(min(darkest, air), form.lowest) if meaning.unit else darkest
    return samples


def _darkest(samples: NDArray[Any], *, is_turned: bool) -> float:
    """Return what of stored values is the lowest, of inverted ones the highest."""
    return float(samples.max() if is_turned else samples.min())


def _padding(one: Slice, form: PixelFormat) -> tuple[int, int] | None:
    """Return the lowest and highest padding, signed as the pixels are."""
    value = one.header.numbers.get("PixelPaddingValue")
    if value is None:
        return None
    limit = one.header.numbers.get("PixelPaddingRangeLimit", value)
    if form.is_signed:
        value, limit = (number - 2**16 if number >= 2**15 else number for number in (value, limit))
    return min(value, limit), max(value, limit)


def _without_gaps(samples: NDArray[Any], *, is_turned: bool) -> NDArray[Any]:
    """Replace what is no number in floats by the darkest that is one."""
    if samples.dtype.kind != "f":
        return samples
    is_number = np.isfinite(samples)
    if not is_number.all():
        samples[~is_number] = _darkest(samples[is_number], is_turned=is_turned) if is_number.any() else 0
    return samples
