"""What the headers of a stack are a reason to warn of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pacs.mesh.reading.selection import Selection
from pacs.mesh.reading.spacing import Spacing
from pacs.mesh.reading.stacks import Stack
from pacs.mesh.reading.values import Meaning, is_inverted
from pacs.mesh.volume import VolumeWarning

# Between slices further apart than this small parts are lost, and steps are seen.
_WIDE_GAP_MM: Final = 1.5
_TILT_DEGREES: Final = 0.5
_SIDEWAYS_MM: Final = 0.01
# Kernels that sharpen: they overshoot at edges, so that bone becomes thicker and noise becomes islands.
# Siemens B60 to B90 (and Br, Hr, U, V), GE's names, Philips' and Canon's letters.
_SHARP: Final = re.compile(
    r"^(?:[BHIJQTUV][A-Z]?(?:[6-9]\d)[A-Z]?|BONE\w*|EDGE|LUNG|DETAIL|ULTRA|Y[A-E]|[DEL]|FC(?:3\d|5[0-9]|8\d))\b",
    re.IGNORECASE,
)
# Kernels that smooth away thin bone.
_SOFT: Final = re.compile(r"^(?:[BHIJQTU][A-Z]?(?:[12]\d)[A-Z]?|SOFT|SMOOTH|A|FC0[0-5])\b", re.IGNORECASE)


def header_warnings(selection: Selection, stack: Stack, spacing: Spacing, meaning: Meaning) -> Iterator[VolumeWarning]:
    """Give the warnings that don't depend on the pixels."""
    yield from _of_spacing(spacing)
    if duplicates := selection.duplicates + stack.duplicates:
        yield VolumeWarning("duplicates_dropped", {"count": duplicates})
    if selection.left_out:
        yield VolumeWarning("images_left_out", {"count": selection.left_out})
    yield from _of_image(stack, meaning)


def _of_spacing(spacing: Spacing) -> Iterator[VolumeWarning]:
    if spacing.largest_gap_mm > _WIDE_GAP_MM:
        yield VolumeWarning("slice_gap", {"gap_mm": round(spacing.largest_gap_mm, 3)})
    if spacing.tilt_degrees > _TILT_DEGREES:
        yield VolumeWarning("tilt", {"degrees": round(spacing.tilt_degrees, 2)})
    if not spacing.is_even:
        gaps = {"smallest_mm": round(spacing.smallest_gap_mm, 3), "largest_mm": round(spacing.largest_gap_mm, 3)}
        yield VolumeWarning("uneven_gaps_resampled", {**gaps, "slices": spacing.count})
    elif spacing.off_mm > _SIDEWAYS_MM:
        yield VolumeWarning("slices_shifted", {"off_mm": round(spacing.off_mm, 3)})


def _of_image(stack: Stack, meaning: Meaning) -> Iterator[VolumeWarning]:
    first = stack.slices[0]
    kernel = first.distinguishing.get("ConvolutionKernel", "").split("\\")[0]
    if meaning.unit == "HU" and (_SHARP.match(kernel) or _SOFT.match(kernel)):
        yield VolumeWarning("kernel", {"kernel": kernel, "is": "sharp" if _SHARP.match(kernel) else "soft"})
    if any(one.header.text("LossyImageCompression") == "01" for one in stack.slices):
        yield VolumeWarning("lossy_compression")
    if any(is_inverted(one, meaning) for one in stack.slices):
        yield VolumeWarning("inverted")
