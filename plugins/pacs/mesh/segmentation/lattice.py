"""The grid of voxels that the frames of a segmentation lie on, of which many may be absent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pacs.mesh.errors import NoSegmentation
from pacs.mesh.reading.slices import Slice, Vector
from pacs.mesh.volume import Geometry

_SAME_DIRECTION: Final = 1e-3
# Of a gap: how far off its layer a frame may lie.
_OFF: Final = 0.05
_SAME_PLACE_MM: Final = 1e-3
# Of a pixel: how far aside of the line through the first and the last a frame may lie.
_ASIDE: Final = 0.5
# Uneven frames are put on layers as narrow as their smallest gap, but not narrower than this share of the usual one.
_FINEST: Final = 1 / 8
# So many places at the same distance are no chance: they are all the layers there are.
_SURELY_EVEN: Final = 4


@dataclass(frozen=True, slots=True)
class Lattice:
    """A padded grid.

    Attributes
    ----------
    shape : slices, rows, columns, the padding included.
    normal : shape (3,), of the frames.
    places_mm : shape (places,), where frames lie along it, increasing.
    layer_of_places : of each layer of the grid, padding included, the place that it shows; -1 if it shows none.
    """

    shape: tuple[int, int, int]
    geometry: Geometry
    normal: Vector
    places_mm: NDArray[np.float64]
    place_of_layers: NDArray[np.intp]

    def layers_of(self, one: Slice) -> list[int]:
        """Return the layers that show a frame."""
        place = int(np.abs(self.places_mm - one.position_mm @ self.normal).argmin())
        return np.flatnonzero(self.place_of_layers == place).tolist()


def lattice_of(slices: Sequence[Slice], reference: Geometry | None = None) -> Lattice:
    """Return the grid for frames in any order, several of which may lie in one place.

    Parameters
    ----------
    reference : of the images that they were made of, whose step is taken if the frames lie on no larger one.

    Raises
    ------
    NoSegmentation : they are not parallel, not of one pixel spacing, or shifted sideways against each other.
    """
    first = slices[0]
    for one in slices:
        turned = np.abs(one.orientation - first.orientation).max()
        if turned > _SAME_DIRECTION or not np.allclose(one.spacing_mm, first.spacing_mm, rtol=1e-3):
            raise NoSegmentation(
                f"The frames of a SEG must be parallel slices of one spacing, but {one.name} is unlike {first.name}.",
                sop_instance_uids=[one.header.sop_instance_uid],
            )
    along = np.stack([one.position_mm for one in slices]) @ first.normal
    order = np.argsort(along, kind="stable")
    is_new = np.diff(along[order], prepend=-np.inf) > _SAME_PLACE_MM
    places = along[order][is_new]
    start, end = slices[order[0]].position_mm, slices[order[-1]].position_mm
    step_mm, shown = _layers(places, _spacing_mm(first, places, reference))
    direction = (end - start) / (places[-1] - places[0]) if len(places) > 1 else first.normal
    _require_line(slices, start + (along - places[0])[:, None] * direction)
    return Lattice(
        (len(shown) + 2, first.rows + 2, first.columns + 2),
        Geometry(_affine(first, start, direction * step_mm)),
        first.normal,
        places,
        np.concatenate([[-1], shown, [-1]]),
    )


def _require_line(slices: Sequence[Slice], expected_mm: NDArray[np.float64]) -> None:
    off_mm = np.linalg.norm(np.stack([one.position_mm for one in slices]) - expected_mm, axis=1)
    worst = int(off_mm.argmax())
    if off_mm[worst] > _ASIDE * min(slices[0].spacing_mm):
        raise NoSegmentation(
            f"The frames of a SEG must lie behind each other, but {slices[worst].name} is shifted aside by "
            f"{off_mm[worst]:.1f} mm.",
            sop_instance_uids=[slices[worst].header.sop_instance_uid],
        )


def _spacing_mm(first: Slice, places: NDArray[np.float64], reference: Geometry | None) -> float:
    """Return the distance between layers.

    Of some frames at the same distance it is that, whatever anybody says: empty frames that are left out leave gaps
    here and there. Else it is the largest that file or images say and the frames lie on, so that thick slices beside
    thin images have nothing between them; else the smallest gap.
    """
    of_images = abs(float(reference.affine[:3, 2] @ first.normal)) if reference is not None else None
    if len(places) == 1:
        return first.said_gap_mm or of_images or first.thickness_mm or 1.0
    gaps = np.diff(places)
    usual = float(np.median(gaps))
    if len(places) >= _SURELY_EVEN and np.abs(gaps / usual - 1).max() <= _OFF:
        return usual
    said = [step for step in (of_images, first.said_gap_mm) if step]
    return max((step for step in said if _fits(places, step)), default=max(float(gaps.min()), usual * _FINEST))


def _fits(places: NDArray[np.float64], step_mm: float) -> bool:
    steps = (places - places[0]) / step_mm
    return bool(np.abs(steps - np.rint(steps)).max() <= _OFF and np.diff(np.rint(steps)).min() >= 1)


def _layers(places: NDArray[np.float64], step_mm: float) -> tuple[float, NDArray[np.intp]]:
    """Return the exact distance between layers, and the place that each shows; -1 where there is no frame."""
    if len(places) == 1:
        return step_mm, np.zeros(1, np.intp)
    count = max(round(float(places[-1] - places[0]) / step_mm), 1)
    step_mm = float(places[-1] - places[0]) / count
    layers = places[0] + np.arange(count + 1) * step_mm
    if _fits(places, step_mm):
        shown = np.full(count + 1, -1, np.intp)
        shown[np.rint((places - places[0]) / step_mm).astype(np.intp)] = np.arange(len(places))
        return step_mm, shown
    # Uneven: each layer shows the nearest frame.
    return step_mm, np.abs(layers[:, None] - places).argmin(axis=1)


def _affine(first: Slice, start: Vector, step_mm: Vector) -> NDArray[np.float64]:
    across, down = first.orientation[0] * first.spacing_mm[1], first.orientation[1] * first.spacing_mm[0]
    affine = np.eye(4)
    affine[:3, :3] = np.stack([across, down, step_mm], axis=1)
    affine[:3, 3] = start - affine[:3, :3].sum(axis=1)
    return affine
