"""Several scans of one direction in one series: between each other, one beyond the other, or side by side.

Each place has one slice, so they look like one stack; taken for one, two phases would be mixed slice by slice, and a
hole between two regions would be a missing slice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from pacs.mesh.reading.slices import Slice, Vector

# What a scanner counts or sets for each scan; times differ within one, too.
_TELLING: Final = (
    *("StackID", "TemporalPositionIdentifier", "TemporalPositionIndex", "NominalPercentageOfCardiacPhase"),
    *("DiffusionBValue", "EchoNumbers", "EchoTime", "InversionTime", "FlipAngle", "KVP", "ImageType", "FrameType"),
    *("ConvolutionKernel", "SliceThickness", "AcquisitionNumber", "FrameAcquisitionNumber"),
)
# What says that an image was computed of others: one alone, such as a projection, is told from slices by it.
_KINDS: Final = frozenset({"ImageType", "FrameType"})
# Fewer slices lie evenly by chance.
_SLICES_OF_A_SCAN: Final = 3
# Of the usual gap, and of a pixel, as in `spacing`.
_EVEN: Final = 0.05
_IN_LINE: Final = 0.5
# Space between two scans, in the widest gaps within one; less may be a slice or two that are missing.
_SPACE_GAPS: Final = 3.0


def scans_of(slices: Sequence[Slice]) -> tuple[str, Mapping[str, Sequence[Slice]]] | None:
    """Split slices in the order of their places by the first attribute that tells scans from each other.

    Returns
    -------
    The keyword and the slices by its value; None if it is one scan.
    """
    for keyword in _TELLING:
        parts: defaultdict[str, list[Slice]] = defaultdict(list)
        for one in slices:
            parts[one.distinguishing.get(keyword, "")].append(one)
        counts = [len(part) for part in parts.values()]
        are_many = (max if keyword in _KINDS else min)(counts) >= _SLICES_OF_A_SCAN
        if len(parts) > 1 and are_many and _are_scans(slices, parts):
            return keyword, parts
    return None


def _are_scans(slices: Sequence[Slice], parts: Mapping[str, Sequence[Slice]]) -> bool:
    """Whether each part is regular, and all together are what no single scan is."""
    normal = slices[0].normal
    positions = sorted(
        (np.stack([one.position_mm for one in part]) for part in parts.values()), key=lambda p: p[0] @ normal
    )
    places = [part @ normal for part in positions]
    if not all(map(_are_even, places)) or not all(_are_in_line(part, slices[0]) for part in positions):
        return False
    if any(after[0] < before[-1] for before, after in pairwise(places)):
        # Slices of an MR are often taken in two passes, every other one first.
        is_mr = slices[0].header.text("Modality") == "MR"
        return not (is_mr and _are_even(np.sort(np.concatenate(places))))
    widest = max(float(np.diff(one).max()) for one in places if len(one) > 1)
    is_space = any(after[0] - before[-1] > _SPACE_GAPS * widest for before, after in pairwise(places))
    return is_space or not _are_in_line(np.concatenate(positions), slices[0])


def _are_even(places: Vector) -> bool:
    if len(places) < _SLICES_OF_A_SCAN:
        return True
    line = np.linspace(places[0], places[-1], len(places))
    return bool(np.abs(places - line).max() <= _EVEN * np.median(np.diff(places)))


def _are_in_line(positions: Vector, first: Slice) -> bool:
    if len(positions) < _SLICES_OF_A_SCAN:
        return True
    places = positions @ first.normal
    along = (places - places[0]) / (places[-1] - places[0])
    sideways = positions - positions[0] - np.outer(along, positions[-1] - positions[0])
    return bool(np.linalg.norm(sideways, axis=1).max() <= _IN_LINE * min(first.spacing_mm))
