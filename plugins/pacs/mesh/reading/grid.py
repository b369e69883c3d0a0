"""The grid of voxels that a stack is read into, and how a slice is made smaller for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacs.mesh.reading.slices import Slice
from pacs.mesh.reading.spacing import Spacing
from pacs.mesh.volume import Geometry


@dataclass(frozen=True, slots=True)
class Grid:
    """A padded grid.

    Attributes
    ----------
    shape : slices, rows, columns, the padding included.
    scale : rows and columns that become one.
    scale_slices : slices of which one is taken.
    first_slice : the first that is taken.
    slice_places : shape (slices,), where its slices without the padding lie, in steps from the first of the stack.
    """

    shape: tuple[int, int, int]
    geometry: Geometry
    scale: int
    scale_slices: int
    first_slice: int
    slice_places: NDArray[np.float64]

    def shrunk(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Return a slice, shape (rows, columns), with the mean of each block of `scale` x `scale`."""
        if self.scale == 1:
            return samples
        k, rows, columns = self.scale, self.shape[1] - 2, self.shape[2] - 2
        blocks = samples[: rows * k, : columns * k]
        is_integer = samples.dtype.kind in "iu"
        total = np.zeros((rows, columns), np.int64 if is_integer else np.float64)
        for row in range(k):
            for column in range(k):
                total += blocks[row::k, column::k]
        return (total + k * k // 2) // (k * k) if is_integer else total / (k * k)


def grid_of(first: Slice, spacing: Spacing, scale: int) -> Grid:
    """Return the grid for a stack that begins with `first`; `scale` is 1 or more."""
    across, down = first.orientation[0] * first.spacing_mm[1], first.orientation[1] * first.spacing_mm[0]
    scale = min(scale, first.rows, first.columns)
    step_mm = float(np.linalg.norm(spacing.step_mm))
    wanted = round(scale * min(first.spacing_mm) / step_mm)
    scale_slices = max(1, min(wanted, scale, spacing.count // 2))
    slices = np.arange(scale_slices // 2, spacing.count, scale_slices)
    to_center = (scale - 1) / 2
    origin = spacing.origin_mm + to_center * (across + down) + slices[0] * spacing.step_mm
    columns = np.stack([scale * across, scale * down, scale_slices * spacing.step_mm], axis=1)
    affine = np.eye(4)
    affine[:3, :3] = columns
    affine[:3, 3] = origin - columns.sum(axis=1)  # the padding is a layer before
    shape = len(slices) + 2, first.rows // scale + 2, first.columns // scale + 2
    return Grid(shape, Geometry(affine), scale, scale_slices, int(slices[0]), slices.astype(float))
