"""A volume of voxels in the patient, ready to be meshed.

Sources: PS3.3 C.7.6.2 (Image Plane), C.7.6.2.1.1 (the mapping from pixels to the patient), C.11.1 (rescaling).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

type Voxels = np.ndarray[tuple[int, int, int], np.dtype[Any]]
# What a warning tells in figures and terms, never anything of the patient.
type WarningValue = float | int | str


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the voxels of a padded array lie in the patient.

    Attributes
    ----------
    affine : shape (4, 4), float64; maps (column, row, slice, 1) of the padded array, counted from 0 at the padding, to
        millimeters in LPS. Columns need not be perpendicular: slices of a tilted gantry are sheared against each other.
    """

    affine: NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbors along a row, down a column and from slice to slice."""
        across, down, up = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(across), float(down), float(up)

    @property
    def voxel_volume_mm3(self) -> float:
        """What one voxel fills."""
        return abs(float(np.linalg.det(self.affine[:3, :3])))

    @property
    def handedness(self) -> Literal[1, -1]:
        """1 if (column, row, slice) is a right-handed system, -1 if surfaces made of the array come out inside out."""
        return 1 if np.linalg.det(self.affine[:3, :3]) > 0 else -1


@dataclass(frozen=True, slots=True)
class Source:
    """An instance that a volume was made of."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class VolumeWarning:
    """Something that whoever gets the model should know.

    Attributes
    ----------
    code : slice_gap, tilt, uneven_gaps_resampled, duplicates_dropped, images_left_out, kernel, metal,
        truncated_field_of_view, lossy_compression, inverted, slices_shifted.
    values : its figures, by names with their units.
    """

    code: str
    values: Mapping[str, WarningValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Volume:
    """Voxels with what they mean.

    Attributes
    ----------
    voxels : shape (slices + 2, rows + 2, columns + 2), C order; int16, uint16 or float32, of a mask uint8.
        One layer of `outside` is around them, so that every surface in them is closed.
    outside : what surrounds the field, as a voxel: not more than the smallest voxel, of a CT not more than air.
    slope, intercept : real value = voxel * slope + intercept; the slope is positive.
        In voxels of integers a surface is looked for half a voxel value above the value asked for.
        Of a mask the real value is the share of a voxel that belongs to it, 0 to 1: its surface is at 0.5.
    unit : of the real values.
    sources : in the order of the slices as they were read, duplicates left out.
    """

    voxels: Voxels
    outside: float
    slope: float
    intercept: float
    unit: Literal["HU", ""]
    geometry: Geometry
    modality: str
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    sources: tuple[Source, ...]
    warnings: tuple[VolumeWarning, ...] = ()

    def stored(self, real: float) -> float:
        """Return the voxel value that stands for a real value."""
        return (real - self.intercept) / self.slope
