"""DICOM SEG, in and out without losing a voxel; highdicom writes them, and dcmtk's and others' habits are imitated."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import highdicom
import imagecodecs
import numpy as np
import pytest
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sr.codedict import codes
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from fixtures.mesh_series import AXIAL, OBLIQUE, SAGITTAL, TILTED, along, ct_slice, series, with_samples, written
from pacs.demo.syntaxes import write
from pacs.mesh import errors
from pacs.mesh.reading.series import InstanceFile, read_series
from pacs.mesh.segmentation import dicom_seg
from pacs.mesh.segmentation.colors import srgb_of

OFFSETS = [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]
ROWS, COLUMNS = 13, 11  # not a whole number of bytes
BINARY, FRACTIONAL = SegmentationTypeValues.BINARY, SegmentationTypeValues.FRACTIONAL
LABELMAP = SegmentationTypeValues.LABELMAP
COLORS = {1: (200, 30, 40), 2: (20, 180, 60), 3: (240, 240, 20)}


def _images(positions: Sequence[Sequence[float]], orientation: Sequence[float]) -> list[Dataset]:
    images = series(positions, orientation, PatientID="F-1", PatientName="FICTICIO^Paciente", SliceThickness=2)
    for image in images:
        with_samples(image, np.zeros((ROWS, COLUMNS), np.int16))
        for keyword in ("StudyDate", "StudyTime", "AccessionNumber", "PatientBirthDate", "PatientSex", "StudyID"):
            setattr(image, keyword, "")
        image.FrameOfReferenceUID, image.PositionReferenceIndicator = "1.2.3", ""
    return images


def _segment(number: int) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=f"Segment {number}",
        segmented_property_category=codes.SCT.Organ,
        segmented_property_type=codes.SCT.Liver,
        algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
        display_color=highdicom.color.CIELabColor.from_rgb(*COLORS[number]),
    )


def _seg(images: Sequence[Dataset], masks: np.ndarray, kind: SegmentationTypeValues, **options: object) -> Dataset:
    """Make a SEG of `masks`: shape (slices, rows, columns) of labels, or (slices, rows, columns, segments)."""
    count = masks.shape[3] if masks.ndim == 4 else 3
    return highdicom.seg.Segmentation(
        source_images=list(images),
        pixel_array=masks,
        segmentation_type=kind,
        segment_descriptions=[_segment(number) for number in range(1, count + 1)],
        series_instance_uid=generate_uid(),
        series_number=9,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="PACS Cloud",
        manufacturer_model_name="Fantasma digital",
        software_versions="1",
        device_serial_number="1",
        **options,
    )


def _labels(seed: int = 1, *, ends_are_empty: bool = False) -> np.ndarray:
    labels = np.random.default_rng(seed).integers(0, 4, (len(OFFSETS), ROWS, COLUMNS)).astype(np.uint8)
    if ends_are_empty:
        labels[3] = 0
        labels[5][labels[5] == 2] = 0
    return labels


def _file(seg: Dataset, folder: Path) -> InstanceFile:
    return InstanceFile(write(seg, folder / "seg.dcm"))


STACKS = {
    "axial": (along(AXIAL, OFFSETS), AXIAL),
    "sagittal": (along(SAGITTAL, OFFSETS), SAGITTAL),
    "oblique": (along(OBLIQUE, OFFSETS), OBLIQUE),
    "tilted gantry": ([[-9.0, -8.0, 3.0 + offset] for offset in OFFSETS], TILTED),
}


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("kind", [BINARY, LABELMAP], ids=lambda kind: kind.value)
def test_segments_come_back_voxel_by_voxel(tmp_path: Path, name: str, kind: SegmentationTypeValues) -> None:
    """Each segment comes back exactly, on the grid of its images, empty frames in between included."""
    images, labels = _images(*STACKS[name]), _labels(ends_are_empty=True)
    seg = _file(_seg(images, labels, kind), tmp_path / "seg")
    volume = read_series(written(images, tmp_path))
    for number in (1, 2, 3):
        mask = dicom_seg.mask(seg, number, volume)
        # Slices along the normal, as the volume has them, whatever the order of the images.
        assert mask.voxels.dtype == np.uint8
        assert np.array_equal(mask.voxels[1:-1, 1:-1, 1:-1], labels == number)
        assert mask.voxels.sum() == (labels == number).sum()
        assert mask.geometry.affine == pytest.approx(volume.geometry.affine, abs=1e-5)
        assert (mask.slope, mask.outside, mask.frame_of_reference_uid) == (1.0, 0.0, "1.2.3")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_bits_are_read_in_every_native_syntax(tmp_path: Path, syntax: UID) -> None:
    """Frames of single bits begin within bytes: they are read whatever the transfer syntax."""
    labels = _labels(2)
    seg = _seg(_images(*STACKS["axial"]), labels, BINARY)
    seg.file_meta.TransferSyntaxUID = syntax
    assert np.array_equal(dicom_seg.mask(_file(seg, tmp_path), 2).voxels[1:-1, 1:-1, 1:-1], labels == 2)


def _deflated(bits: np.ndarray) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(np.packbits(bits, bitorder="little").tobytes()) + packer.flush()


def _in_rle(bits: np.ndarray) -> bytes:
    """Return one segment of packed bits (PS3.5 G.5: their number, their offsets, then the bytes)."""
    packed = imagecodecs.packbits_encode(np.packbits(bits, bitorder="little").tobytes())
    return struct.pack("<2I", 1, 64).ljust(64, b"\0") + packed


def _in_jpeg_2000(bits: np.ndarray) -> bytes:
    return imagecodecs.jpeg2k_encode(bits, level=0, codecformat="j2k", bitspersample=1, reversible=True, resolutions=1)


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [("1.2.840.10008.1.2.8.1", _deflated), (RLELossless, _in_rle), (JPEG2000Lossless, _in_jpeg_2000)],
    ids=["deflated", "RLE", "JPEG 2000"],
)
def test_compressed_frames_of_bits_are_read(tmp_path: Path, syntax: str, encode: Callable[[np.ndarray], bytes]) -> None:
    """Frames of single bits are packed where bytes are compressed, and samples of one bit in JPEG 2000."""
    labels = _labels(3)
    seg = _seg(_images(*STACKS["axial"]), labels, BINARY)
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    frames = bits[: seg.NumberOfFrames * ROWS * COLUMNS].reshape(seg.NumberOfFrames, ROWS, COLUMNS)
    seg.PixelData = encapsulate([encode(frame) for frame in frames])
    seg["PixelData"].is_undefined_length = True
    # pydicom does not know all of them yet, so it is written under a name of the same length.
    seg.file_meta.TransferSyntaxUID = RLELossless if syntax == RLELossless else JPEG2000Lossless
    file = _file(seg, tmp_path)
    if syntax != RLELossless:
        name = syntax.encode().ljust(len(JPEG2000Lossless), b"\0")
        file.path.write_bytes(file.path.read_bytes().replace(JPEG2000Lossless.encode(), name))
    assert np.array_equal(dicom_seg.mask(file, 3).voxels[1:-1, 1:-1, 1:-1], labels == 3)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless])
def test_fractions_are_kept(tmp_path: Path, syntax: UID) -> None:
    """Shares of a voxel come back as they were: the real value is 0 to 1."""
    shares = np.random.default_rng(4).integers(0, 101, (len(OFFSETS), ROWS, COLUMNS, 1)) / 100
    seg = _seg(_images(*STACKS["axial"]), shares, FRACTIONAL, max_fractional_value=100, transfer_syntax_uid=syntax)
    mask = dicom_seg.mask(_file(seg, tmp_path), 1)
    assert mask.slope == 1 / 100
    assert mask.voxels[1:-1, 1:-1, 1:-1] * mask.slope == pytest.approx(shares[..., 0])


@pytest.mark.parametrize("kind", [BINARY, LABELMAP], ids=lambda kind: kind.value)
def test_segments_have_their_names_and_colors(tmp_path: Path, kind: SegmentationTypeValues) -> None:
    """Names are those of the file; CIELab becomes the sRGB that it was made of."""
    found = dicom_seg.segments(_file(_seg(_images(*STACKS["axial"]), _labels(), kind), tmp_path))
    assert [(region.number, region.name) for region in found] == [(number, f"Segment {number}") for number in (1, 2, 3)]
    for region in found:
        assert region.color_rgb is not None
        assert np.abs(np.subtract(region.color_rgb, COLORS[region.number])).max() <= 1


@pytest.mark.parametrize(
    ("words", "rgb"),
    [
        ((0, 32896, 32896), (0, 0, 0)),
        ((65535, 32896, 32896), (255, 255, 255)),
        ((34885, 53485, 50171), (255, 0, 0)),
    ],
)
def test_lab_becomes_srgb(words: tuple[int, int, int], rgb: tuple[int, int, int]) -> None:
    """Black, white and red are what the standard of sRGB says that they are in CIELab."""
    assert np.abs(np.subtract(srgb_of(words), rgb)).max() <= 1


def test_segment_in_few_frames_lies_in_its_place(tmp_path: Path) -> None:
    """Frames that are left out because they are empty leave their layers empty, and move nothing."""
    labels = np.zeros((len(OFFSETS), ROWS, COLUMNS), np.uint8)
    labels[2, 3:6, 4:7], labels[3, 3:6, 4:7], labels[6, 1, 1] = 1, 1, 2
    mask = dicom_seg.mask(_file(_seg(_images(*STACKS["tilted gantry"]), labels, BINARY), tmp_path), 1)
    assert mask.voxels.shape == (5 + 2, ROWS + 2, COLUMNS + 2)
    assert np.argwhere(mask.voxels.any(axis=(1, 2))).ravel().tolist() == [1, 2]
    first = mask.geometry.affine @ [1, 1, 1, 1]
    assert first[:3] == pytest.approx([-9.0, -8.0, 3.0 + 4.0])


def test_frames_without_a_spacing_lie_on_the_layers_of_their_images(tmp_path: Path) -> None:
    """A SEG that does not say how far apart its frames are has the layers of the series that it was made of."""
    images = _images(*STACKS["oblique"])
    labels = np.zeros((len(OFFSETS), ROWS, COLUMNS), np.uint8)
    labels[1, 2, 3], labels[4, 2, 3], labels[7, 2, 3] = 1, 1, 1
    seg = _seg(images, labels, BINARY)
    del seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices
    file = _file(seg, tmp_path / "seg")
    assert dicom_seg.mask(file, 1).voxels.shape[0] == 3 + 2
    mask = dicom_seg.mask(file, 1, read_series(written(images, tmp_path)))
    assert np.flatnonzero(mask.voxels.any(axis=(1, 2))).tolist() == [1, 4, 7]


@pytest.mark.parametrize(("frames", "said_mm"), [([1, 2, 3], 2.0), ([1, 2, 5], 2.0), ([1, 2, 3, 4], 1.0), ([3], 2.0)])
def test_thick_frames_beside_thin_images_are_no_stripes(tmp_path: Path, frames: list[int], said_mm: float) -> None:
    """Frames 2 mm apart have nothing between them, though there are images each 1 mm or a wrong spacing is said."""
    labels = np.zeros((len(OFFSETS), ROWS, COLUMNS), np.uint8)
    labels[frames, 3:9, 2:8] = 1
    seg = _seg(_images(*STACKS["axial"]), labels, BINARY)
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = said_mm
    thin = _images(along(AXIAL, [float(place) for place in range(15)]), AXIAL)
    mask = dicom_seg.mask(_file(seg, tmp_path / "seg"), 1, read_series(written(thin, tmp_path)))
    assert mask.geometry.spacing_mm[2] == pytest.approx(2.0)
    filled = np.flatnonzero(mask.voxels.any(axis=(1, 2))) - 1
    assert filled.tolist() == [frame - frames[0] for frame in frames]


def test_uneven_frames_fill_what_is_between_them(tmp_path: Path) -> None:
    """Frames of uneven gaps become even layers, each showing the nearest: the volume stays right."""
    places = [0.0, 1.0, 2.0, 3.0, 5.5, 8.0, 10.5, 13.0]
    labels = np.ones((len(places), ROWS, COLUMNS), np.uint8)
    seg = _seg(_images(along(AXIAL, places), AXIAL), labels, BINARY)
    mask = dicom_seg.mask(_file(seg, tmp_path), 1)
    assert mask.geometry.spacing_mm[2] == pytest.approx(1.0)
    assert mask.voxels[1:-1, 1:-1, 1:-1].all()
    assert mask.voxels.shape[0] == 14 + 2


@pytest.mark.parametrize("shifted", [0, 3, 7])
@pytest.mark.parametrize("stack", ["axial", "tilted gantry"])
def test_frames_beside_each_other_are_refused(tmp_path: Path, stack: str, shifted: int) -> None:
    """One grid holds frames that lie behind each other, a tilted gantry's, too; not one that was moved aside."""
    seg = _seg(_images(*STACKS[stack]), _labels(), BINARY)
    for group in seg.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0]
        wanted = np.array(STACKS[stack][0][shifted], float)
        if np.allclose(np.array(place.ImagePositionPatient, float), wanted):
            place.ImagePositionPatient = np.add(wanted, (30.0, 0.0, 0.0)).tolist()
    with pytest.raises(errors.NoSegmentation, match="behind each other"):
        dicom_seg.mask(_file(seg, tmp_path), 1)


def test_pixels_cut_are_refused(tmp_path: Path) -> None:
    """A SEG that ends before its pixels do is refused by name."""
    seg = _seg(_images(*STACKS["axial"]), _labels(), BINARY)
    file = _file(seg, tmp_path)
    content = file.path.read_bytes()
    file.path.write_bytes(content[: content.rindex(seg.PixelData[:40]) + 50])
    with pytest.raises(errors.TruncatedInstance, match=seg.SOPInstanceUID):
        dicom_seg.mask(file, 3)


def test_what_is_no_segment_is_refused(tmp_path: Path) -> None:
    """Other numbers, empty segments, other instances and other coordinate systems are refused by name."""
    images = _images(*STACKS["axial"])
    labels = _labels()
    labels[labels == 3] = 0
    seg = _seg(images, labels, BINARY)
    file = _file(seg, tmp_path / "seg")
    with pytest.raises(errors.UnknownSegment, match=r"\[1, 2, 3\]"):
        dicom_seg.mask(file, 4)
    with pytest.raises(errors.EmptySegment):
        dicom_seg.mask(file, 3)
    with pytest.raises(errors.NoSegmentation):
        dicom_seg.segments(InstanceFile(write(ct_slice((0, 0, 0)), tmp_path / "ct.dcm")))
    for image in images:
        image.FrameOfReferenceUID = "1.2.4"
    with pytest.raises(errors.OtherFrameOfReference, match=r"1\.2\.4"):
        dicom_seg.mask(file, 1, read_series(written(images, tmp_path)))
