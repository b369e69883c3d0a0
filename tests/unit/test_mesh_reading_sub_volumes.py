"""Series that hold several volumes, and slices that are there twice."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from fixtures.mesh_series import AXIAL, SAGITTAL, along, enhanced, off_place_mm, series, with_samples, written
from pacs.mesh.errors import MeshError, MissingSlice, SamePlaceTwice, SeveralVolumes, UnknownSubVolume
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


def test_comments_are_not_told(tmp_path: Path) -> None:
    """Somebody may have written a name there: volumes are told apart by it, but no message repeats it."""
    comments: list[object] = ["Muster^Erika prone", "Muster^Erika supine"]
    files = written(_phases(2, ImageComments=comments), tmp_path)
    found = sub_volumes(files)
    assert [volume.count for volume in found] == [len(EVEN), len(EVEN)]
    assert all(volume.description.endswith(", ImageComments") for volume in found)
    for name in (None, "9"):
        with pytest.raises(MeshError) as refused:
            read_series(files, name)
        assert "Muster" not in str(refused.value)


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


def _scan(number: int, places: list[list[float]], **attributes: object) -> list[Dataset]:
    images = series(places, AcquisitionNumber=number, **attributes)
    for image in images:
        image.FrameOfReferenceUID = "1.2.3"
    return images


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([0.0, 2.0, 4.0, 6.0, 8.0], [1.0, 3.0, 5.0, 7.0, 9.0]),
        ([0.0, 2.0, 4.0, 6.0, 8.0], [5.5, 7.5, 9.5, 11.5]),
        ([0.0, 2.0, 4.0, 6.0, 8.0], [0.5, 5.5, 10.5]),
        ([0.0, 2.0, 4.0, 6.0, 8.0], [60.0, 62.0, 64.0, 66.0]),
        ([0.0, 2.0, 4.0, 6.0, 8.0], [-30.0, -25.0, -20.0]),
    ],
    ids=["every other slice", "overlapping", "another gap", "another region", "a region before, another gap"],
)
def test_scans_are_not_mixed(tmp_path: Path, first: list[float], second: list[float]) -> None:
    """Two scans with slices between each other, or with space between them, are two volumes, each in its place."""
    files = written(_scan(1, along(AXIAL, first)) + _scan(2, along(AXIAL, second)), tmp_path)
    found = sub_volumes(files)
    assert sorted(one.count for one in found) == sorted([len(first), len(second)])
    assert {one.description.rpartition(", ")[2] for one in found} == {"AcquisitionNumber 1", "AcquisitionNumber 2"}
    assert all(off_place_mm(read_series(files, one.name)) <= 0.01 for one in found)


def test_blocks_side_by_side_are_told_apart(tmp_path: Path) -> None:
    """Blocks of slices, as of a spine, that are shifted against each other are a volume each."""
    blocks = [[[0.0, 20.0 * block, 12.0 * block + 2.0 * number] for number in range(4)] for block in range(3)]
    files = written([image for number, block in enumerate(blocks) for image in _scan(number, block)], tmp_path)
    assert [one.count for one in sub_volumes(files)] == [4, 4, 4]


@pytest.mark.parametrize(
    ("first", "second", "attributes"),
    [
        ([0.0, 4.0, 8.0, 12.0], [2.0, 6.0, 10.0], {"Modality": "MR"}),
        ([0.0, 2.0, 4.0, 6.0], [8.0, 10.0, 12.0], {}),
        ([0.0, 2.0, 4.0, 6.0], [10.0, 15.0, 20.0, 25.0], {}),
    ],
    ids=["an MR in two passes", "one step after the other", "thin slices, then thick ones"],
)
def test_one_scan_in_steps_stays_one(
    tmp_path: Path, first: list[float], second: list[float], attributes: dict[str, object]
) -> None:
    """Passes of an MR, and steps of a CT that follow each other, are one volume."""
    images = _scan(1, along(AXIAL, first), **attributes) + _scan(2, along(AXIAL, second), **attributes)
    files = written(images, tmp_path)
    assert [one.count for one in sub_volumes(files)] == [len(images)]
    assert off_place_mm(read_series(files)) <= 0.01


@pytest.mark.parametrize("place", [5.3, 90.0], ids=["between slices", "beyond them"])
def test_image_computed_of_the_others_is_no_slice(tmp_path: Path, place: float) -> None:
    """A projection that lies between the slices, or far from them, is left out, and the volume says so."""
    images = series(along(AXIAL, EVEN))
    (projection,) = series(along(AXIAL, [place]), ImageType=["DERIVED", "PRIMARY", "PROJECTION IMAGE"])
    volume = read_series(written([*images, projection], tmp_path))
    assert off_place_mm(volume) <= 0.01
    assert {warning.code: warning.values for warning in volume.warnings}["images_left_out"] == {"count": 1}


@pytest.mark.parametrize("others", [[2], [3, 4], [0, 1, 2, 3], [0, 1, 2, 3, 4]], ids=str)
def test_slices_of_another_kind_in_their_places_stay(tmp_path: Path, others: list[int]) -> None:
    """Slices that were computed anew, each in its way, and stand where the others leave room belong to them."""
    images = series(along(AXIAL, EVEN))
    for number in others:
        images[number].ImageType = ["DERIVED", "PRIMARY", f"AXIAL{number}"]
    assert [one.count for one in sub_volumes(written(images, tmp_path))] == [len(EVEN)]


def test_slice_between_two_steps_is_missed(tmp_path: Path) -> None:
    """Where a scan goes on with another number, a slice that is missing there is refused, not taken for an end."""
    images = _scan(1, along(AXIAL, [0.0, 2.0, 4.0, 6.0])) + _scan(2, along(AXIAL, [10.0, 12.0, 14.0, 16.0]))
    with pytest.raises(MissingSlice):
        read_series(written(images, tmp_path))


def test_slices_without_a_frame_of_reference_belong_to_the_others(tmp_path: Path) -> None:
    """Where some headers lost it, the series stays one volume; and the model knows it."""
    images = series(along(AXIAL, EVEN))
    for image in images[::2]:
        del image.FrameOfReferenceUID
    volume = read_series(written(images, tmp_path))
    assert off_place_mm(volume) <= 0.01
    assert volume.frame_of_reference_uid == "1.2.3"


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
