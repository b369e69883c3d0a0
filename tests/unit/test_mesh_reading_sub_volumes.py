"""Series that hold several volumes, and slices that are there twice."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from fixtures.mesh_series import AXIAL, SAGITTAL, along, enhanced, off_place_mm, series, with_samples, written
from pacs.mesh.errors import SamePlaceTwice, SeveralVolumes, UnknownSubVolume
from pacs.mesh.reading.series import estimate, read_series, sub_volumes

EVEN = [0.0, 2.0, 4.0, 6.0, 8.0]


def _phases(count: int, **attributes: list[object]) -> list[Dataset]:
    """Return the same places `count` times, other pixels each time; `attributes` are one for each phase."""
    images = []
    for phase in range(count):
        own = {keyword: values[phase] for keyword, values in attributes.items()}
        for number, image in enumerate(series(along(AXIAL, EVEN), **own)):
            image.InstanceNumber = phase * len(EVEN) + number + 1
            images.append(with_samples(image, np.full((6, 5), 100 * phase + number, np.int16)))
    return images


def test_phases_are_told_apart(tmp_path: Path) -> None:
    """A series of phases is refused with their names, and each can be read by its name."""
    files = written(_phases(12, TemporalPositionIdentifier=list(range(1, 13))), tmp_path)
    found = sub_volumes(files)
    assert [one.name for one in found] == [str(number) for number in range(1, 13)]
    assert [one.description.rsplit(" ", 1)[1] for one in found] == [str(number) for number in range(1, 13)]
    assert {one.count for one in found} == {len(EVEN)}
    with pytest.raises(SeveralVolumes, match="12 volumes"):
        read_series(files)
    with pytest.raises(SeveralVolumes):
        estimate(files)
    for phase in (0, 7):
        volume = read_series(files, str(phase + 1))
        assert volume.voxels[1:-1, 1, 1].tolist() == [100 * phase + number for number in range(len(EVEN))]
        assert len(volume.sources) == len(EVEN)


@pytest.mark.parametrize(
    "attributes",
    [
        {"EchoTime": ["2.3", "4.6"]},
        {"DiffusionBValue": [0.0, 1000.0]},
        {"AcquisitionNumber": [1, 2]},
        {"ImageType": [["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]]},
        {"AcquisitionTime": ["101500", "101530"]},
        {"KVP": [80, 140]},
        {},
    ],
    ids=lambda attributes: next(iter(attributes), "order"),
)
def test_two_volumes_are_told_apart_by_whatever_differs(tmp_path: Path, attributes: dict[str, list[object]]) -> None:
    """Echoes, b-values, acquisitions, magnitude and phase, times, tube voltages; in the end the order of the images."""
    files = written(_phases(2, **attributes), tmp_path)
    assert len(sub_volumes(files)) == 2
    for phase in (0, 1):
        voxels = read_series(files, str(phase + 1)).voxels
        assert voxels[1:-1, 1, 1].tolist() == [100 * phase + number for number in range(len(EVEN))]


def test_volumes_that_differ_in_two_ways_are_told_apart(tmp_path: Path) -> None:
    """Two echoes, magnitude and phase of each."""
    images = _phases(4, EchoTime=["2", "2", "4", "4"], ImageType=[["A", "B", "M"], ["A", "B", "P"]] * 2)
    found = sub_volumes(written(images, tmp_path))
    assert len(found) == 4
    assert found[0].description == "axial, 5 slices of 5 x 6, EchoTime 2, ImageType A\\B\\M"


def test_acquisitions_that_overlap_are_told_apart(tmp_path: Path) -> None:
    """Two scans that share a few places are two volumes."""
    first = series(along(AXIAL, [0.0, 2.0, 4.0, 6.0]), AcquisitionNumber=1)
    second = series(along(AXIAL, [4.0, 6.0, 8.0, 10.0, 12.0]), AcquisitionNumber=2)
    for image in second:
        image.PixelData = bytes(len(image.PixelData))
    assert [one.count for one in sub_volumes(written(first + second, tmp_path))] == [4, 5]


def test_orientations_are_told_apart(tmp_path: Path) -> None:
    """A series with axial and sagittal slices holds two volumes, each in its place."""
    images = [*series(along(AXIAL, EVEN)), *series(along(SAGITTAL, EVEN[:4]), SAGITTAL)]
    files = written(images, tmp_path)
    assert [one.description for one in sub_volumes(files)] == [
        "sagittal, 4 slices of 15 x 12",
        "axial, 5 slices of 15 x 12",
    ]
    assert all(off_place_mm(read_series(files, name)) <= 0.01 for name in ("1", "2"))


def test_names_do_not_depend_on_the_order_of_the_files(tmp_path: Path) -> None:
    """A name means the same volume whenever and in whatever order the files come."""
    images = [*series(along(AXIAL, EVEN), FrameOfReferenceUID="1.2"), *series(along(AXIAL, EVEN[:4]))]
    files = written([*images, *series(along(SAGITTAL, EVEN[:3]), SAGITTAL)], tmp_path)
    expected = sub_volumes(files)
    assert [one.count for one in expected] == [3, 5, 4]
    for seed in range(5):
        assert sub_volumes([files[index] for index in np.random.default_rng(seed).permutation(len(files))]) == expected


def test_sizes_in_the_same_places_are_told_apart(tmp_path: Path) -> None:
    """A scan that was reconstructed twice, in another size, holds two volumes."""
    images = series(along(AXIAL, EVEN))
    others = [with_samples(image, np.zeros((24, 30), np.int16)) for image in series(along(AXIAL, EVEN))]
    assert len(sub_volumes(written(images + others, tmp_path))) == 2


def test_frames_of_other_times_are_told_apart(tmp_path: Path) -> None:
    """Frames of an enhanced image belong to the volume of their time."""
    image = enhanced([*along(AXIAL, EVEN), *along(AXIAL, EVEN)])
    image.PixelData = b"".join(number.to_bytes(2, "little") * 12 * 15 for number in range(10))
    for number, groups in enumerate(image.PerFrameFunctionalGroupsSequence):
        groups.FrameContentSequence[0].TemporalPositionIndex = 1 + number // len(EVEN)
        groups.FrameContentSequence[0].DimensionIndexValues = [1 + number % len(EVEN), 1 + number // len(EVEN)]
    files = written([image], tmp_path)
    assert [one.description for one in sub_volumes(files)] == [
        f"axial, 5 slices of 15 x 12, TemporalPositionIndex {time}" for time in (1, 2)
    ]
    assert read_series(files, "2").voxels[1:-1, 1, 1].tolist() == [5, 6, 7, 8, 9]


def test_unknown_name_is_refused_with_those_that_are(tmp_path: Path) -> None:
    """A name that is not there is refused, and the message says which are."""
    files = written(series(along(AXIAL, EVEN)), tmp_path)
    assert read_series(files, "1").voxels.shape[0] == 7
    with pytest.raises(UnknownSubVolume, match=r"'2'.*1: axial"):
        read_series(files, "2")


def test_duplicates_are_dropped(tmp_path: Path) -> None:
    """Slices that were sent twice, with the same UID or another, count once; the volume says so."""
    images = series(along(AXIAL, EVEN))
    copies = [deepcopy(images[1]), deepcopy(images[3])]
    copies[1].SOPInstanceUID = generate_uid()
    copies[1].ContentTime = "120000"
    volume = read_series(written(images + copies, tmp_path))
    assert off_place_mm(volume) <= 0.01
    assert {warning.code: warning.values for warning in volume.warnings}["duplicates_dropped"] == {"count": 2}
    assert len(volume.sources) == len(EVEN)


def test_series_that_was_sent_twice_is_one_volume(tmp_path: Path) -> None:
    """All slices again under other UIDs are duplicates, not a second phase."""
    images = series(along(AXIAL, EVEN))
    copies = deepcopy(images)
    for image in copies:
        image.SOPInstanceUID = generate_uid()
    assert len(sub_volumes(written(images + copies, tmp_path))) == 1


def test_same_pixels_of_other_phases_are_no_duplicates(tmp_path: Path) -> None:
    """Slices of different phases may look the same: they stay."""
    images = _phases(2, TemporalPositionIdentifier=[1, 2])
    for image in images:
        image.PixelData = bytes(len(image.PixelData))
    assert [one.count for one in sub_volumes(written(images, tmp_path))] == [5, 5]


def test_order_is_no_reason_when_places_are_missing(tmp_path: Path) -> None:
    """Without any attribute, images in one place are told apart by their order only if each place has as many."""
    with pytest.raises(SamePlaceTwice):
        sub_volumes(written(_phases(2)[:-2], tmp_path))
