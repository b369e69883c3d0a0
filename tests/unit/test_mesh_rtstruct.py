"""Regions of an RTSTRUCT, rasterised on the voxels of their series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from fixtures.mesh_series import AXIAL, OBLIQUE, SAGITTAL, TILTED, along, ct_slice, series, with_samples, written
from pacs.demo.syntaxes import write
from pacs.mesh import errors
from pacs.mesh.reading.series import InstanceFile, read_series
from pacs.mesh.segmentation import rtstruct
from pacs.mesh.segmentation.polygons import rasterised
from pacs.mesh.volume import Volume

OFFSETS = [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]
ROWS, COLUMNS = 40, 48
STACKS = {
    "axial": (along(AXIAL, OFFSETS), AXIAL),
    "sagittal": (along(SAGITTAL, OFFSETS), SAGITTAL),
    "oblique": (along(OBLIQUE, OFFSETS), OBLIQUE),
    "tilted gantry": ([[-9.0, -8.0, 3.0 + offset] for offset in OFFSETS], TILTED),
}
# Column and row of pixels, as contours in the plane of a slice.
SQUARE = [(10, 8), (30, 8), (30, 28), (10, 28)]
HOLE = [(15, 12), (25, 12), (25, 22), (15, 22)]
ISLAND = [(18, 15), (22, 15), (22, 19), (18, 19)]
# The square, in along a bridge, around the hole the other way, and out along the bridge.
KEYHOLE = [
    (10, 8),
    (30, 8),
    (30, 28),
    (10, 28),
    (10, 17),
    (15, 17),
    (15, 22),
    (25, 22),
    (25, 12),
    (15, 12),
    (15, 17),
    (10, 17),
]

type Points = Sequence[tuple[float, float]]


def _volume(folder: Path, name: str = "axial", places: Sequence[Sequence[float]] | None = None) -> Volume:
    positions, orientation = STACKS[name]
    images = [
        with_samples(one, np.zeros((ROWS, COLUMNS), np.int16)) for one in series(places or positions, orientation)
    ]
    return read_series(written(images, folder / "series"))


def _in_patient(volume: Volume, points: Points, place: float) -> list[float]:
    """Return ContourData of points (column, row) in a slice, all counted from 0 without the padding."""
    indices = np.array([(column + 1, row + 1, place + 1, 1) for column, row in points])
    return (indices @ volume.geometry.affine[:3].T).round(4).ravel().tolist()


def _contour(data: list[float], kind: str = "CLOSED_PLANAR") -> Dataset:
    contour = Dataset()
    contour.ContourGeometricType, contour.NumberOfContourPoints, contour.ContourData = kind, len(data) // 3, data
    return contour


def _structures(contours: Sequence[Dataset], **attributes: object) -> Dataset:
    structures, region, drawn = Dataset(), Dataset(), Dataset()
    structures.SOPClassUID, structures.SOPInstanceUID = RTStructureSetStorage, generate_uid()
    structures.StudyInstanceUID, structures.SeriesInstanceUID = generate_uid(), generate_uid()
    structures.Modality = "RTSTRUCT"
    region.ROINumber, region.ROIName, region.ReferencedFrameOfReferenceUID = 7, "Hígado", "1.2.3"
    drawn.ReferencedROINumber, drawn.ROIDisplayColor = 7, [200, 10, 20]
    drawn.ContourSequence = Items(contours)
    for keyword, value in attributes.items():
        setattr(region, keyword, value)
    structures.SpecificCharacterSet = "ISO_IR 192"
    structures.StructureSetROISequence, structures.ROIContourSequence = Items([region]), Items([drawn])
    structures.file_meta = FileMetaDataset()
    structures.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return structures


def _file(structures: Dataset, folder: Path) -> InstanceFile:
    return InstanceFile(write(structures, folder / "structures.dcm"))


def _even_odd(polygons: Sequence[Points]) -> np.ndarray:
    """Return which pixel centers are in an odd number of polygons, one by one, edges to the left and above included."""
    inside = np.zeros((ROWS, COLUMNS), bool)
    for row in range(ROWS):
        for column in range(COLUMNS):
            for polygon in polygons:
                for (x1, y1), (x2, y2) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
                    if min(y1, y2) <= row < max(y1, y2) and x1 + (row - y1) * (x2 - x1) / (y2 - y1) <= column:
                        inside[row, column] ^= True
    return inside


def test_polygons_are_rasterised_exactly() -> None:
    """Pixels are those whose centers are within, by a rule that is checked pixel by pixel on crooked polygons."""
    for seed in range(20):
        polygons = [np.random.default_rng(seed).uniform(-5, 50, (9, 2)) for _ in range(2)]
        points = [[(float(x), float(y)) for x, y in polygon] for polygon in polygons]
        assert np.array_equal(rasterised(polygons, ROWS, COLUMNS), _even_odd(points))


@pytest.mark.parametrize(
    ("contours", "pixels"),
    [
        ([SQUARE], 20 * 20),
        ([SQUARE, HOLE], 20 * 20 - 10 * 10),
        ([SQUARE, HOLE[::-1]], 20 * 20 - 10 * 10),
        ([HOLE, ISLAND, SQUARE], 20 * 20 - 10 * 10 + 4 * 4),
        ([KEYHOLE], 20 * 20 - 10 * 10),
        ([KEYHOLE[::-1]], 20 * 20 - 10 * 10),
        ([SQUARE, [(column + 30, row) for column, row in HOLE]], 20 * 20 + 10 * 3),
    ],
    ids=[
        "square",
        "hole",
        "hole the other way",
        "island in the hole",
        "keyhole",
        "keyhole the other way",
        "over the edge",
    ],
)
@pytest.mark.parametrize("name", STACKS)
def test_contours_fill_their_slice(tmp_path: Path, contours: list[Points], pixels: int, name: str) -> None:
    """Holes, islands and keyholes have their pixels, in whatever orientation; what lies outside the field is cut."""
    volume = _volume(tmp_path, name)
    data = [_contour(_in_patient(volume, [(x - 0.5, y - 0.5) for x, y in points], 3)) for points in contours]
    mask = rtstruct.mask(_file(_structures(data), tmp_path), 7, volume)
    assert mask.voxels.dtype == np.uint8
    assert mask.voxels.sum(axis=(1, 2)).tolist() == [0, 0, 0, 0, pixels, 0, 0, 0, 0, 0]
    assert mask.geometry is volume.geometry
    inner = mask.voxels.copy()
    inner[1:-1, 1:-1, 1:-1] = 0
    assert not inner.any()


@pytest.mark.parametrize(
    ("kind", "times", "pixels"),
    [
        ("CLOSED_PLANAR", 2, 20 * 20),
        ("CLOSED_PLANAR", 3, 20 * 20),
        ("CLOSEDPLANAR_XOR", 2, 0),
        ("CLOSEDPLANAR_XOR", 3, 20 * 20),
    ],
)
def test_contour_stored_twice_counts_once(tmp_path: Path, kind: str, times: int, pixels: int) -> None:
    """A copy takes nothing away, but where the file asks for exclusive or it does."""
    volume = _volume(tmp_path)
    once = _contour(_in_patient(volume, [(x - 0.5, y - 0.5) for x, y in SQUARE], 5))
    copies = [_contour(_in_patient(volume, [(x - 0.5, y - 0.5) for x, y in SQUARE], 3), kind) for _ in range(times)]
    mask = rtstruct.mask(_file(_structures([once, *copies]), tmp_path), 7, volume)
    assert mask.voxels[4].sum() == pixels
    assert mask.voxels[6].sum() == 20 * 20


COPIES = {
    "begins elsewhere": SQUARE[2:] + SQUARE[:2],
    "the other way": SQUARE[::-1],
    "elsewhere the other way": SQUARE[1::-1] + SQUARE[:1:-1],
    "closed": [*SQUARE, SQUARE[0]],
    "rounded": [(column + 0.002, row - 0.002) for column, row in SQUARE],
}


@pytest.mark.parametrize("off_mm", [0.0, 0.001])
@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("name", STACKS)
def test_contour_stored_twice_counts_once_however_it_is_written(
    tmp_path: Path, name: str, copy: str, off_mm: float
) -> None:
    """A copy may begin at another point, run the other way, be closed, or lie a hair beside; it takes nothing away."""
    volume = _volume(tmp_path, name)
    drawn = [_contour(_in_patient(volume, [(x - 0.5, y - 0.5) for x, y in SQUARE], place)) for place in (2, 3, 4)]
    points = [(x - 0.5, y - 0.5) for x, y in COPIES[copy]]
    drawn.append(_contour(_in_patient(volume, points, 3 + off_mm / 2)))
    mask = rtstruct.mask(_file(_structures(drawn), tmp_path), 7, volume)
    assert mask.voxels[3:6].sum(axis=(1, 2)).tolist() == [400, 400, 400]


def test_keyhole_stored_twice_counts_once(tmp_path: Path) -> None:
    """A contour that passes the same points twice is known again, too."""
    volume = _volume(tmp_path)
    points = [(x - 0.5, y - 0.5) for x, y in KEYHOLE]
    for turned in range(len(points)):
        copies = [points, (points[turned:] + points[:turned])[::-1]]
        drawn = [_contour(_in_patient(volume, one, 3)) for one in copies]
        mask = rtstruct.mask(_file(_structures(drawn), tmp_path), 7, volume)
        assert mask.voxels.sum() == 20 * 20 - 10 * 10


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "x"])
def test_coordinates_that_are_no_numbers_are_refused(tmp_path: Path, number: str) -> None:
    """What Python takes for a number is none in a contour if it is infinite or not a number."""
    volume = _volume(tmp_path)
    file = _file(_structures([_contour([900.0, *_in_patient(volume, SQUARE, 3)[1:]])]), tmp_path)
    content = file.path.read_bytes()
    file.path.write_bytes(content.replace(b"900.0", number.encode().ljust(5)))
    with pytest.raises(errors.UnsuitableContour, match="no numbers"):
        rtstruct.mask(file, 7, volume)


@pytest.mark.parametrize(
    ("places", "filled"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([1, 3, 5], [1, 2, 3, 4, 5, 6]),
        ([1, 2, 5, 6], [1, 2, 5, 6]),
        ([0, 3, 6], [0, 1, 2, 3, 4, 5, 6, 7]),
        ([2.5, 3.5, 4.5], [3, 4, 5]),
        ([2, 2.5, 3, 3.5, 4], [2, 3, 4]),
        ([4.3], [4]),
    ],
    ids=["each", "every second", "interrupted", "every third", "between slices", "finer than slices", "one"],
)
def test_slices_take_the_nearest_contours(tmp_path: Path, places: list[float], filled: list[int]) -> None:
    """Contours on every second or third slice are so many slices thick; a region that is interrupted stays so."""
    volume = _volume(tmp_path)
    data = [_contour(_in_patient(volume, SQUARE, place)) for place in places]
    mask = rtstruct.mask(_file(_structures(data), tmp_path), 7, volume)
    assert (np.flatnonzero(mask.voxels.any(axis=(1, 2))) - 1).tolist() == filled


def test_contours_fit_a_resampled_volume(tmp_path: Path) -> None:
    """On a volume with resampled uneven gaps a region keeps its extent."""
    gaps = [0.0, 1.0, 2.0, 3.0, 6.0, 9.0, 12.0, 15.0]
    volume = _volume(tmp_path, "axial", along(AXIAL, gaps))
    data = [_contour(_in_patient(volume, SQUARE, place)) for place in (3.0, 6.0, 9.0, 12.0)]
    mask = rtstruct.mask(_file(_structures(data), tmp_path), 7, volume)
    assert (np.flatnonzero(mask.voxels.any(axis=(1, 2))) - 1).tolist() == list(range(2, 14))


def test_regions_have_their_names_and_colors(tmp_path: Path) -> None:
    """Names and colors are those of the file; a region without contours has no color."""
    structures = _structures([_contour([0, 0, 3, 5, 0, 3, 0, 5, 3])])
    other = Dataset()
    other.ROINumber, other.ROIName = 8, ""
    structures.StructureSetROISequence.append(other)
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        structures.file_meta.TransferSyntaxUID = syntax
        found = rtstruct.segments(_file(structures, tmp_path))
        assert [(one.number, one.name, one.color_rgb) for one in found] == [(7, "Hígado", (200, 10, 20)), (8, "", None)]


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR", "OPEN_NONPLANAR", ""])
def test_contours_that_are_not_closed_are_refused(tmp_path: Path, kind: str) -> None:
    """Points and lines enclose nothing."""
    volume = _volume(tmp_path)
    contours = [_contour(_in_patient(volume, SQUARE, 3)), _contour(_in_patient(volume, SQUARE, 4), kind)]
    with pytest.raises(errors.UnsuitableContour, match=kind or "of no type"):
        rtstruct.mask(_file(_structures(contours), tmp_path), 7, volume)


def test_contours_of_two_points_enclose_nothing(tmp_path: Path) -> None:
    """Closed contours of one or two points, as some planning systems write them, are left out."""
    volume = _volume(tmp_path)
    drawn = [_contour(_in_patient(volume, points, 3)) for points in (SQUARE, SQUARE[:2], SQUARE[:1])]
    assert rtstruct.mask(_file(_structures(drawn), tmp_path), 7, volume).voxels.any(axis=(1, 2)).sum() == 1
    with pytest.raises(errors.EmptySegment):
        rtstruct.mask(_file(_structures(drawn[1:]), tmp_path), 7, volume)


def test_what_fits_nothing_is_refused(tmp_path: Path) -> None:
    """Contours across the slices, beside them, without a series, of another coordinate system; other instances."""
    volume = _volume(tmp_path)
    across = _contour([0, 0, 3, 10, 0, 9, 0, 10, 12])
    beside = _contour([900, 900, 3, 910, 900, 3, 900, 910, 3])
    drawn = _contour(_in_patient(volume, SQUARE, 3))
    for contours, attributes, kind in (
        ([across], {}, errors.UnsuitableContour),
        ([beside], {}, errors.EmptySegment),
        ([], {}, errors.EmptySegment),
        ([drawn], {"ROINumber": 3}, errors.UnknownSegment),
        ([drawn], {"ReferencedFrameOfReferenceUID": "1.9"}, errors.OtherFrameOfReference),
    ):
        with pytest.raises(kind):
            rtstruct.mask(_file(_structures(contours, **attributes), tmp_path), 7, volume)
    with pytest.raises(errors.NoSegmentation, match="series"):
        rtstruct.mask(_file(_structures([drawn]), tmp_path), 7)
    with pytest.raises(errors.NoSegmentation):
        rtstruct.segments(InstanceFile(write(ct_slice((0, 0, 0)), tmp_path / "ct.dcm")))
