"""Regions of interest of an RTSTRUCT, as masks on the voxels of the series that they were drawn on.

Sources: PS3.3 A.19 (RT Structure Set), C.8.8.5 (Structure Set: names), C.8.8.6 (ROI Contour: colors, contours).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pacs.mesh.errors import EmptySegment, NoSegmentation, OtherFrameOfReference, UnknownSegment, UnsuitableContour
from pacs.mesh.reading.files import InstanceFile
from pacs.mesh.reading.header import read_dataset, read_header, refusing_damage
from pacs.mesh.segmentation.planes import plane_of_slices
from pacs.mesh.segmentation.polygons import rasterised
from pacs.mesh.segmentation.regions import Region
from pacs.mesh.volume import Source, Volume, Voxels

_SOP_CLASS_UID: Final = "1.2.840.10008.5.1.4.1.1.481.3"
_EXCLUSIVE: Final = "CLOSEDPLANAR_XOR"
_CLOSED: Final = frozenset({"CLOSED_PLANAR", _EXCLUSIVE})
_POINTS_OF_AN_AREA: Final = 3
# Of a slice: how far the points of a contour may lie off its plane, and planes off each other to be one.
_FLAT: Final = 0.25
_SAME_PLANE: Final = 0.05
# Of a pixel: how far points of a contour and of its copy may be apart.
_SAME_POINT: Final = 0.01


@dataclass(frozen=True, slots=True)
class _Contour:
    """A closed contour.

    Attributes
    ----------
    points : shape (points, 3), LPS in mm, or in voxels: column, row and slice of the padded array.
    is_exclusive : of two that are the same, both count.
    """

    points: NDArray[np.float64]
    is_exclusive: bool

    @property
    def place(self) -> float:
        """In which slice it lies, if it is in voxels."""
        return float(self.points[:, 2].mean())


def segments(file: InstanceFile) -> tuple[Region, ...]:
    """Return the regions of an RTSTRUCT.

    Raises
    ------
    NoSegmentation : it is none.
    """
    with refusing_damage(file):
        structures = _structures(file)
        colors = {int(item.ReferencedROINumber): _color(item) for item in structures.get("ROIContourSequence") or ()}
        return tuple(
            Region(int(item.ROINumber), str(item.get("ROIName") or ""), colors.get(int(item.ROINumber)))
            for item in structures.get("StructureSetROISequence") or ()
        )


def mask(file: InstanceFile, number: int, reference: Volume | None = None) -> Volume:
    """Return a region on the voxels of `reference`: 1 where the center of a voxel is in it, else 0.

    Contours in one plane are combined by exclusive or, so that a contour in another is a hole. One that is stored twice
    counts once, wherever it begins and whichever way it runs.

    Raises
    ------
    NoSegmentation : it is no RTSTRUCT, or no series was given.
    UnknownSegment, EmptySegment : it has no region of this number, or no contours of it.
    UnsuitableContour : a contour is not closed, or not in the plane of the slices.
    OtherFrameOfReference : it was drawn in another coordinate system.
    """
    if reference is None:
        raise NoSegmentation("An RTSTRUCT has no voxels of its own.", remedy="Name the series that it was drawn on.")
    with refusing_damage(file):
        structures = _structures(file)
        _require_region(structures, number, reference)
        contours = _contours(structures, number)
    to_voxels = np.linalg.inv(reference.geometry.affine)
    placed = [replace(one, points=_in_voxels(one.points, to_voxels, number)) for one in contours]
    voxels = np.zeros(reference.voxels.shape, np.uint8)
    _fill(voxels, placed)
    if not voxels.any():
        raise EmptySegment(
            f"Region {number} holds no voxel of the series.", remedy="Choose the series that it was drawn on."
        )
    return Volume(
        voxels,
        outside=0.0,
        slope=1.0,
        intercept=0.0,
        unit="",
        geometry=reference.geometry,
        modality=str(structures.get("Modality") or "RTSTRUCT"),
        study_instance_uid=str(structures.get("StudyInstanceUID") or ""),
        series_instance_uid=str(structures.get("SeriesInstanceUID") or ""),
        frame_of_reference_uid=reference.frame_of_reference_uid,
        sources=(Source(_SOP_CLASS_UID, str(structures.SOPInstanceUID)),),
    )


def _structures(file: InstanceFile) -> Dataset:
    header = read_header(file)
    if header.text("SOPClassUID") != _SOP_CLASS_UID:
        raise NoSegmentation(
            f"An RTSTRUCT was expected, but instance {header.sop_instance_uid} has the SOP class "
            f"{header.text('SOPClassUID')}.",
            sop_instance_uids=[header.sop_instance_uid],
        )
    return read_dataset(header)


def _color(item: Dataset) -> tuple[int, int, int] | None:
    color = item.get("ROIDisplayColor")
    if color is None or len(color) != 3:  # noqa: PLR2004 - red, green and blue
        return None
    red, green, blue = (min(max(int(part), 0), 255) for part in color)
    return red, green, blue


def _require_region(structures: Dataset, number: int, reference: Volume) -> None:
    regions = {int(item.ROINumber): item for item in structures.get("StructureSetROISequence") or ()}
    if number not in regions:
        raise UnknownSegment(
            f"The RTSTRUCT has no region {number}, but {sorted(regions)}.", remedy="Choose one of them."
        )
    frame = str(regions[number].get("ReferencedFrameOfReferenceUID") or "")
    if frame and reference.frame_of_reference_uid and frame != reference.frame_of_reference_uid:
        raise OtherFrameOfReference(
            f"Region {number} was drawn in the frame of reference {frame}, but the series has "
            f"{reference.frame_of_reference_uid}.",
            remedy="Choose the series that it was drawn on.",
            sop_instance_uids=[str(structures.SOPInstanceUID)],
        )


def _contours(structures: Dataset, number: int) -> list[_Contour]:
    """Return the contours of a region, LPS in mm."""
    of_region = [item for item in structures.get("ROIContourSequence") or () if int(item.ReferencedROINumber) == number]
    items = [contour for item in of_region for contour in item.get("ContourSequence") or ()]
    contours = [_Contour(_points(item, number), item.ContourGeometricType == _EXCLUSIVE) for item in items]
    # What has fewer points, as some planning systems write it, encloses nothing.
    contours = [one for one in contours if len(one.points) >= _POINTS_OF_AN_AREA]
    if not contours:
        raise EmptySegment(f"Region {number} has no contour that encloses anything.", remedy="Choose another.")
    return contours


def _points(contour: Dataset, number: int) -> NDArray[np.float64]:
    kind = str(contour.get("ContourGeometricType") or "")
    element = contour.get_item("ContourData")
    text = element.value if element is not None else b""
    # Not by pydicom, which would make an object of each number.
    parts = text.strip(b" \0").split(b"\\") if isinstance(text, bytes) else list(text or ())
    if kind not in _CLOSED or len(parts) % 3:
        raise UnsuitableContour(
            f"A region must be made of closed contours (CLOSED_PLANAR) of points in space, but region {number} "
            f"has one that is {kind or 'of no type'} with {len(parts)} numbers.",
            remedy="Choose another region.",
        )
    told = f"A contour of region {number} has coordinates that are no numbers."
    try:
        points = np.array([float(part) for part in parts]).reshape(-1, 3)
    except ValueError as fault:
        raise UnsuitableContour(told) from fault
    if not np.isfinite(points).all():
        raise UnsuitableContour(told)
    return points


def _in_voxels(points: NDArray[np.float64], to_voxels: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """Return points as column, row and slice of the padded array."""
    placed: NDArray[np.float64] = points @ to_voxels[:3, :3].T + to_voxels[:3, 3]
    off = float(np.ptp(placed[:, 2]))
    if off > _FLAT:
        raise UnsuitableContour(
            f"The contours must lie in the slices, but one of region {number} goes through {off:.1f} of them.",
            remedy="Choose the series that it was drawn on.",
        )
    return placed


def _fill(voxels: Voxels, contours: Sequence[_Contour]) -> None:
    """Fill the slices of a padded array; the padding stays empty."""
    planes: list[list[_Contour]] = []
    for contour in sorted(contours, key=lambda one: one.place):
        if planes and contour.place - planes[-1][0].place <= _SAME_PLANE:
            planes[-1].append(contour)
        else:
            planes.append([contour])
    slices, rows, columns = voxels.shape
    plane_of = plane_of_slices(np.array([plane[0].place for plane in planes]), slices)
    for plane in sorted(set(plane_of.tolist()) - {-1}):
        voxels[plane_of == plane] = rasterised(_without_copies(planes[plane]), rows, columns)
    for border in (voxels[0], voxels[-1], voxels[:, 0], voxels[:, -1], voxels[:, :, 0], voxels[:, :, -1]):
        border[...] = 0


def _without_copies(contours: Sequence[_Contour]) -> list[NDArray[np.float64]]:
    """Return the polygons of a plane, column and row, each once.

    A copy would empty what it was copied from; only where exclusive or is asked for is that meant.
    """
    polygons = [contour.points[:, :2] for contour in contours if contour.is_exclusive]
    alike: dict[int, list[NDArray[np.float64]]] = {}
    for contour in contours:
        polygon = _unclosed(contour.points[:, :2])
        others = alike.setdefault(len(polygon), [])
        if not contour.is_exclusive and not any(_is_copy(polygon, other) for other in others):
            others.append(polygon)
    return polygons + [polygon for others in alike.values() for polygon in others]


def _unclosed(polygon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a polygon without its last point where that is the first again."""
    return polygon[:-1] if np.abs(polygon[0] - polygon[-1]).max() <= _SAME_POINT else polygon


def _is_copy(polygon: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether two polygons of as many points have the same, from whichever on and either way round."""
    beginnings = np.flatnonzero(np.abs(other - polygon[0]).max(axis=1) <= _SAME_POINT)
    turned = [np.roll(other, -beginning, axis=0) for beginning in beginnings]
    backwards = [np.roll(one[::-1], 1, axis=0) for one in turned]
    return any(np.abs(polygon - one).max() <= _SAME_POINT for one in turned + backwards)
