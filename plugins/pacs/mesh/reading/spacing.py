"""Where the slices of a stack lie: evenly, sheared by a tilted gantry, unevenly; or not as a volume needs it.

Sources: PS3.3 C.7.6.2.1.1. Slices are taken where ImagePositionPatient says, never where SliceThickness or
SpacingBetweenSlices would have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pacs.mesh.errors import MissingSlice, SlicesOutOfLine
from pacs.mesh.reading.slices import Slice, Vector
from pacs.mesh.reading.stacks import Stack

# Of the usual gap: slices that are not further off their even places are taken as even.
_EVEN: Final = 0.05
# Of a pixel: slices that are not further off sideways are taken as in line.
_IN_LINE: Final = 0.5
# A gap alone among usual ones is a missing slice if it is this many times as wide.
_MISSING: Final = 1.9
_LIKE: Final = 0.1
# Missing slices are looked for between runs of usual gaps; a longer run of wide gaps is how it was scanned.
_LONGEST_HOLE_GAPS: Final = 2
# Uneven gaps are resampled to the smallest of them, but not finer than this share of the usual one.
_FINEST: Final = 1 / 8


@dataclass(frozen=True, slots=True)
class Spacing:
    """How slices follow each other.

    Attributes
    ----------
    origin_mm : shape (3,), position of the first slice.
    step_mm : shape (3,), from one slice of the volume to the next; of a tilted gantry not along the normal.
    places : shape (slices,), where each slice of the stack lies, in steps from the first: 0, 1, 2 ... if even.
    count : slices of the volume, from the first slice to the last.
    is_even : the slices of the stack are those of the volume; else it is interpolated between them.
    smallest_gap_mm, largest_gap_mm : between slices along their normal.
    tilt_degrees : between the step and the normal.
    off_mm : how far off its place the worst slice is.
    """

    origin_mm: Vector
    step_mm: Vector
    places: NDArray[np.float64]
    count: int
    is_even: bool
    smallest_gap_mm: float
    largest_gap_mm: float
    tilt_degrees: float
    off_mm: float


def spacing_of(stack: Stack) -> Spacing:
    """Say how the slices of a stack follow each other; it has at least two.

    Raises
    ------
    MissingSlice : there is a hole between two of them.
    SlicesOutOfLine : some are shifted sideways by more than half a pixel.
    """
    slices, places = stack.slices, stack.places_mm
    positions = np.stack([one.position_mm for one in slices])
    gaps = np.diff(places)
    _require_no_hole(slices, gaps)
    along = (places - places[0]) / (places[-1] - places[0])
    span = positions[-1] - positions[0]
    _require_in_line(slices, np.linalg.norm(positions - (positions[0] + np.outer(along, span)), axis=1))
    steps = len(slices) - 1
    off_mm = float(np.abs(along * steps - np.arange(steps + 1)).max() * np.linalg.norm(span) / steps)
    is_even = off_mm <= _EVEN * float(np.median(gaps)) * float(np.linalg.norm(span)) / (places[-1] - places[0])
    if not is_even:
        finest = max(float(gaps.min()), _FINEST * float(np.median(gaps)))
        steps = max(round(float(places[-1] - places[0]) / finest), steps)
    return Spacing(
        origin_mm=positions[0],
        step_mm=span / steps,
        places=along * steps,
        count=steps + 1,
        is_even=is_even,
        smallest_gap_mm=float(gaps.min()),
        largest_gap_mm=float(gaps.max()),
        tilt_degrees=_angle_degrees(span, slices[0].normal),
        off_mm=off_mm if is_even else 0.0,
    )


def _angle_degrees(first: Vector, second: Vector) -> float:
    across, along = float(np.linalg.norm(np.cross(first, second))), float(first @ second)
    return float(np.degrees(np.arctan2(across, along)))


def _require_in_line(slices: Sequence[Slice], sideways_mm: NDArray[np.float64]) -> None:
    allowed_mm = _IN_LINE * min(slices[0].spacing_mm)
    worst = int(sideways_mm.argmax())
    if sideways_mm[worst] > allowed_mm:
        raise SlicesOutOfLine(
            f"The slices must lie behind each other on one line, but {slices[worst].name} lies "
            f"{sideways_mm[worst]:.2f} mm beside it; {allowed_mm:.2f} mm, half a pixel, are allowed.",
            remedy="Export the part of the series that is one scan.",
            sop_instance_uids=[slices[worst].header.sop_instance_uid],
        )


def _require_no_hole(slices: Sequence[Slice], gaps: NDArray[np.float64]) -> None:
    holes = _holes(gaps) | _numbers_left_out(slices, gaps)
    if not holes.any():
        return
    first = int(holes.argmax())
    before, after = slices[first], slices[first + 1]
    raise MissingSlice(
        f"The slices must follow each other without a hole, but between {before.name} and {after.name} there are "
        f"{gaps[first]:.2f} mm where {np.median(gaps[~holes]) if (~holes).any() else gaps.min():.2f} mm are usual"
        f"{f', and {holes.sum()} such holes in all' if holes.sum() > 1 else ''}.",
        remedy="Send the missing slices again; what is another scan belongs into a series of its own.",
        sop_instance_uids=[before.header.sop_instance_uid, after.header.sop_instance_uid],
    )


def _holes(gaps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the few wide gaps between usual ones."""
    usual = float(np.median(gaps))
    is_usual = np.abs(gaps / usual - 1) <= _LIKE
    holes = np.zeros(len(gaps), bool)
    start = 0
    for same, run in groupby(is_usual.tolist()):
        end = start + len(list(run))
        is_short = end - start <= _LONGEST_HOLE_GAPS - (start == 0 or end == len(gaps))
        if not same and is_short and len(gaps) > end - start:
            holes[start:end] = gaps[start:end] > _MISSING * usual
        start = end
    return holes


def _numbers_left_out(slices: Sequence[Slice], gaps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the gaps that are wider just as the numbers of the slices skip some."""
    none = np.zeros(len(gaps), bool)
    numbers = [one.number for one in slices]
    if None in numbers:
        return none
    skipped = np.abs(np.diff(np.array(numbers, float)))
    if skipped.min() < 1 or skipped.min() == skipped.max():
        return none
    each = gaps / skipped
    usual = float(np.median(each))
    are_proportional = bool(np.all(np.abs(each / usual - 1) <= _LIKE))
    return skipped > skipped.min() if are_proportional else none
