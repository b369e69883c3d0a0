"""Where the slices of a series lie in the patient (DICOM PS3.3 C.7.6.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from pacs.demo.canvas import Grid, Point
from pacs.demo.solids import rotation_matrix


@dataclass(frozen=True)
class SliceStack:
    """Parallel slices with even gaps.

    Attributes
    ----------
    origin : center of the first slice's first pixel, in millimeters of the patient coordinate system.
    tilt_degrees : rotation of the whole stack about the patient's x axis; 0 is axial.
    """

    origin: Point
    column_spacing_mm: float
    row_spacing_mm: float
    slice_spacing_mm: float
    slice_thickness_mm: float
    tilt_degrees: float = 0.0

    @classmethod
    def of_grid(cls, grid: Grid, *, tilt_degrees: float = 0.0, slice_thickness_mm: float | None = None) -> SliceStack:
        """Describe the slices of `grid`, whose axes are those of the patient, turned by `tilt_degrees`."""
        across, down, up = grid.spacing_mm
        turned = rotation_matrix((tilt_degrees, 0, 0)) @ np.asarray(grid.first_mm)
        thickness = up if slice_thickness_mm is None else slice_thickness_mm
        return cls((float(turned[0]), float(turned[1]), float(turned[2])), across, down, up, thickness, tilt_degrees)

    def orientation(self) -> tuple[float, ...]:
        """Return ImageOrientationPatient: the directions of a row and of a column."""
        rotation = rotation_matrix((self.tilt_degrees, 0, 0))
        return tuple(_decimal(part) for part in (*rotation[:, 0], *rotation[:, 1]))

    def position(self, index: int) -> Point:
        """Return ImagePositionPatient of slice `index`, counted from 0."""
        normal = rotation_matrix((self.tilt_degrees, 0, 0))[:, 2]
        place = np.asarray(self.origin) + normal * self.slice_spacing_mm * index
        return _decimal(place[0]), _decimal(place[1]), _decimal(place[2])

    def add_to(self, dataset: Dataset, index: int) -> None:
        """Write the image plane module of slice `index` into `dataset`."""
        dataset.PixelSpacing = [_decimal(self.row_spacing_mm), _decimal(self.column_spacing_mm)]
        dataset.ImageOrientationPatient = list(self.orientation())
        dataset.ImagePositionPatient = list(self.position(index))
        dataset.SliceThickness = _decimal(self.slice_thickness_mm)
        dataset.SpacingBetweenSlices = _decimal(self.slice_spacing_mm)
        normal = rotation_matrix((self.tilt_degrees, 0, 0))[:, 2]
        dataset.SliceLocation = _decimal(float(np.dot(normal, self.position(index))))


def _decimal(value: float) -> float:
    """Round so that a decimal string (at most 16 characters) holds the number, without a negative zero."""
    return round(float(value), 6) + 0.0
