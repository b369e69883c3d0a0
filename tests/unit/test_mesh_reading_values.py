"""What the voxels of a series mean, however its samples are stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    PositronEmissionTomographyImageStorage,
    RLELossless,
    RTDoseStorage,
)

from fixtures.mesh_series import (
    AXIAL,
    along,
    ct_slice,
    enhanced,
    mr,
    off_place_mm,
    real_values,
    series,
    with_samples,
    without,
    written,
)
from fixtures.transfer_syntaxes import LOSSLESS_SYNTAXES, LOSSY_SYNTAXES, NEAR_LOSSLESS_ERROR, in_syntax
from pacs.demo.syntaxes import write
from pacs.mesh.errors import UnsuitablePixels
from pacs.mesh.reading.series import InstanceFile, read_series
from pacs.mesh.volume import Volume

EVEN = [0.0, 2.0, 4.0, 6.0]
SIZE = (48, 40)
# Encoders at hand that take signed samples.
SIGNED_SYNTAXES = (
    *(ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
    *(RLELossless, JPEG2000Lossless),
)


def _stack(samples: np.ndarray, bits_stored: int | None = None, **attributes: object) -> list[Dataset]:
    """Return a slice for each of `samples`, shape (slices, rows, columns)."""
    images = series(along(AXIAL, [2.0 * number for number in range(len(samples))]), **attributes)
    return [with_samples(image, layer, bits_stored) for image, layer in zip(images, samples, strict=True)]


def _noise(low: int, high: int, dtype: str, slices: int = 3) -> np.ndarray:
    """Return smooth samples with some noise between `low` and `high`, both of which occur."""
    across = np.linspace(0, 1, slices * SIZE[0] * SIZE[1]).reshape(slices, *SIZE)
    noise = np.random.default_rng(3).uniform(-0.02, 0.02, across.shape)
    samples = np.rint(low + (high - low) * np.clip(across + noise, 0, 1)).astype(dtype)
    samples.flat[0], samples.flat[-1] = low, high
    return samples


def _codes(volume: Volume) -> dict[str, dict[str, object]]:
    return {warning.code: dict(warning.values) for warning in volume.warnings}


@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES, ids=lambda syntax: syntax.name)
def test_samples_are_the_same_in_every_lossless_syntax(tmp_path: Path, syntax: UID) -> None:
    """Unsigned 12 bit samples come out bit by bit whatever the transfer syntax."""
    samples = _noise(0, 4095, "u2")
    images = _stack(samples, 12, RescaleIntercept=-1024)
    volume = read_series(written([in_syntax(image, syntax) for image in images], tmp_path))
    assert np.array_equal(volume.voxels[1:-1, 1:-1, 1:-1], samples)
    assert (volume.slope, volume.intercept, volume.unit) == (1.0, -1024.0, "HU")


@pytest.mark.parametrize("syntax", SIGNED_SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize(("low", "high", "bits"), [(-2048, 2047, 12), (-32768, 32767, 16)])
def test_signed_samples_keep_their_sign(tmp_path: Path, syntax: UID, low: int, high: int, bits: int) -> None:
    """Signed samples of 12 and 16 bits come out with their sign whatever the transfer syntax."""
    samples = _noise(low, high, "i2")
    volume = read_series(written([in_syntax(image, syntax) for image in _stack(samples, bits)], tmp_path))
    assert np.array_equal(volume.voxels[1:-1, 1:-1, 1:-1], samples)


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless, HTJ2KLossless])
def test_unsigned_16_bits_are_kept(tmp_path: Path, syntax: UID) -> None:
    """All of 16 bits is read."""
    samples = _noise(0, 65535, "u2")
    volume = read_series(written([in_syntax(image, syntax) for image in _stack(samples)], tmp_path))
    assert volume.voxels.dtype == np.uint16
    assert np.array_equal(volume.voxels[1:-1, 1:-1, 1:-1], samples)


@pytest.mark.parametrize("syntax", LOSSY_SYNTAXES, ids=lambda syntax: syntax.name)
def test_lossy_samples_are_near_and_told(tmp_path: Path, syntax: UID) -> None:
    """Lossy images are read, and the volume says that they are."""
    across = np.linspace(0, 250 if syntax == JPEGBaseline8Bit else 4000, SIZE[1])
    samples = np.broadcast_to(across, (3, *SIZE)).astype("u1" if syntax == JPEGBaseline8Bit else "u2")
    images = mr(_stack(samples, 8 if syntax == JPEGBaseline8Bit else 12))
    for image in images:
        image.LossyImageCompression = "01"
    volume = read_series(written([in_syntax(image, syntax) for image in images], tmp_path))
    assert np.abs(volume.voxels[1:-1, 1:-1, 1:-1].astype(int) - samples).max() <= max(
        NEAR_LOSSLESS_ERROR, across.max() / 40
    )
    assert "lossy_compression" in _codes(volume)


@pytest.mark.parametrize(
    ("samples", "bits", "dtype"),
    [
        (_noise(0, 255, "u1"), 8, np.int16),
        (_noise(-128, 127, "i1"), 8, np.int16),
        (_noise(0, 32767, "u2"), 15, np.int16),
        (_noise(0, 2**31, "u4"), 32, np.float32),
        (_noise(-(2**30), 2**30, "i4"), 32, np.float32),
    ],
    ids=["8 bits", "8 bits signed", "15 bits", "32 bits", "32 bits signed"],
)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_other_widths_are_read(tmp_path: Path, samples: np.ndarray, bits: int, dtype: type, syntax: UID) -> None:
    """8 bits to 15 fit 16 signed ones, 32 become floats."""
    volume = read_series(written([in_syntax(image, syntax) for image in mr(_stack(samples, bits))], tmp_path))
    assert volume.voxels.dtype == dtype
    assert np.allclose(volume.voxels[1:-1, 1:-1, 1:-1], samples, rtol=1e-6)


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_floats_are_read(tmp_path: Path, keyword: str, dtype: str) -> None:
    """Float pixel data (parametric maps) become a volume of floats; what is no number becomes the smallest value."""
    images = mr(series(along(AXIAL, EVEN)))
    samples = np.linspace(-3, 5, 12 * 15).reshape(12, 15)
    for image in images:
        without(image, "PixelData", "BitsStored", "HighBit", "PixelRepresentation")
        image.BitsAllocated = 32 if keyword == "FloatPixelData" else 64
        gaps = samples.copy()
        gaps[0, 3] = np.nan
        setattr(image, keyword, gaps.astype(dtype).tobytes())
    volume = read_series(written(images, tmp_path))
    assert volume.voxels.dtype == np.float32
    assert volume.voxels[2, 1:-1, 1:-1].ravel()[5:] == pytest.approx(samples.ravel()[5:])
    assert volume.voxels[2, 1, 4] == -3


def test_strange_bits_are_cleared(tmp_path: Path) -> None:
    """Overlays in the unused bits of samples, as old scanners stored them, don't reach the voxels."""
    samples = _noise(0, 4095, "u2")
    volume = read_series(written(_stack(samples | 0x8000, 12), tmp_path / "unsigned"))
    assert np.array_equal(volume.voxels[1:-1, 1:-1, 1:-1], samples)
    signed = _noise(-2048, 2047, "i2")
    volume = read_series(written(_stack(signed & 0x0FFF, 12), tmp_path / "signed"))
    assert np.array_equal(volume.voxels[1:-1, 1:-1, 1:-1], signed)


@pytest.mark.parametrize("vr", ["OB", "OW"])
def test_bytes_in_big_endian_words_are_read(tmp_path: Path, vr: str) -> None:
    """8 bit samples lie two in a word, if the pixels are words."""
    samples = _noise(0, 255, "u1")
    images = mr(_stack(samples, 8))
    for image in images:
        image.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        image["PixelData"].VR = vr
        if vr == "OW":
            image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
            image["PixelData"].VR = vr
    assert np.array_equal(read_series(written(images, tmp_path)).voxels[1:-1, 1:-1, 1:-1], samples)


def test_samples_at_the_top_of_their_words_are_moved_down(tmp_path: Path) -> None:
    """HighBit says where a sample lies in its word."""
    samples = _noise(0, 4095, "u2")
    images = _stack(samples << 4, 12)
    for image in images:
        image.HighBit = 15
    assert np.array_equal(read_series(written(images, tmp_path)).voxels[1:-1, 1:-1, 1:-1], samples)


def test_mixed_signs_and_intercepts_become_one(tmp_path: Path) -> None:
    """A CT whose slices are stored differently is one volume in HU."""
    hu = _noise(-1000, 3000, "i2", slices=4)
    images = series(along(AXIAL, EVEN))
    with_samples(images[0], hu[0])
    with_samples(images[1], (hu[1] + 1024).astype("u2"), 12)
    with_samples(images[2], (hu[2] + 1000).astype("u2"), 16)
    with_samples(images[3], hu[3], 16)
    images[1].RescaleIntercept, images[2].RescaleIntercept = -1024, -1000
    volume = read_series(written(images, tmp_path))
    assert (volume.voxels.dtype, volume.slope, volume.intercept, volume.unit) == (np.int16, 1.0, 0.0, "HU")
    assert np.array_equal(volume.voxels[1:-1, 1:-1, 1:-1], hu)


def test_slope_of_each_slice_is_applied(tmp_path: Path) -> None:
    """PET slices have a slope of their own each: the values are right in all of them, not only in the first."""
    samples = _noise(0, 32767, "i2", slices=4)
    images = _stack(samples, SOPClassUID=PositronEmissionTomographyImageStorage, Modality="PT")
    slopes = [0.5, 0.731256, 1.25, 3.0]
    for image, slope in zip(images, slopes, strict=True):
        image.RescaleSlope = slope
    volume = read_series(written(images, tmp_path))
    assert (volume.voxels.dtype, volume.unit) == (np.float32, "")
    assert np.allclose(real_values(volume), samples * np.array(slopes)[:, None, None], rtol=1e-6)


def test_one_slope_stays_beside_the_samples(tmp_path: Path) -> None:
    """With one slope for all, the samples stay as they are and no precision is lost."""
    volume = read_series(written(_stack(_noise(0, 4095, "u2"), 12, RescaleSlope=0.1, RescaleIntercept=-5), tmp_path))
    assert (volume.voxels.dtype, volume.slope, volume.intercept) == (np.int16, 0.1, -5.0)
    assert volume.stored(-5) == 0


@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES, ids=lambda syntax: syntax.name)
def test_padding_brighter_than_air_is_no_wall(tmp_path: Path, syntax: UID) -> None:
    """Padding around a round field that is stored as a huge value is air, else it would be meshed."""
    samples = np.full((3, *SIZE), 24, "u2")
    samples[:, 4:-4, 4:-4] = 1064
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    is_outside = np.hypot(rows - 23.5, columns - 19.5) > 21
    samples[:, is_outside] = 63536
    images = _stack(samples, 16, RescaleIntercept=-1024, PixelPaddingValue=63536)
    volume = read_series(written([in_syntax(image, syntax) for image in images], tmp_path))
    assert set(np.unique(real_values(volume)).tolist()) == {-1000.0, 40.0}


def test_padding_that_is_water_stays(tmp_path: Path) -> None:
    """A value that a header calls padding stays where it is when it is not around the field."""
    samples = np.full((3, *SIZE), -1000, "i2")
    samples[:, 4:-4, 4:-4] = 0
    volume = read_series(written(_stack(samples, PixelPaddingValue=0), tmp_path))
    assert np.array_equal(volume.voxels[1:-1, 1:-1, 1:-1], samples)


def test_padding_darker_than_air_stays(tmp_path: Path) -> None:
    """Padding below air makes no surface and is left as it is."""
    samples = np.full((3, *SIZE), -2000, "i2")
    samples[:, 4:-4, 4:-4] = 40
    volume = read_series(written(_stack(samples, PixelPaddingValue=-2000), tmp_path))
    assert np.array_equal(volume.voxels[1:-1, 1:-1, 1:-1], samples)
    assert volume.outside == -2000


@pytest.mark.parametrize("dtype", ["u2", "i2"])
def test_monochrome1_is_turned(tmp_path: Path, dtype: str) -> None:
    """Where low is white the volume is turned, so that bright is high, and says so; HU stay HU."""
    samples = _noise(0, 2047, dtype)
    images = _stack(samples, 12, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(read_series(written(images, tmp_path / "ct")).voxels[1:-1, 1:-1, 1:-1], samples)
    volume = read_series(written(mr(images), tmp_path / "mr"))
    assert np.array_equal(volume.voxels[1:-1, 1:-1, 1:-1], (4095 if dtype == "u2" else -1) - samples.astype(int))
    assert "inverted" in _codes(volume)


@pytest.mark.parametrize("padding", [0, 700, 4095])
def test_padding_of_inverted_images_is_dark(tmp_path: Path, padding: int) -> None:
    """Where low is white, padding around the field, stored as white or as black, is not brighter than the field."""
    samples = np.full((3, *SIZE), 3000, "u2")
    samples[:, 12:-12, 12:-12] = 500
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    is_outside = np.hypot(rows - 23.5, columns - 19.5) > 21
    samples[:, is_outside] = padding
    images = _stack(samples, 12, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=padding)
    inner = read_series(written(mr(images), tmp_path)).voxels[1:-1, 1:-1, 1:-1]
    assert set(np.unique(inner[:, is_outside]).tolist()) == {0 if padding == 4095 else 4095 - 3000}
    assert (inner == 4095 - 500).sum() == (samples == 500).sum()


@pytest.mark.parametrize(("shown", "dark"), [("MONOCHROME2", -3), ("MONOCHROME1", -5)])
def test_floats_that_are_no_numbers_are_dark(tmp_path: Path, shown: str, dark: float) -> None:
    """What was not measured becomes the darkest value, also where low is white."""
    images = mr(series(along(AXIAL, EVEN), PhotometricInterpretation=shown))
    samples = np.linspace(-3, 5, 12 * 15).reshape(12, 15)
    samples[0, 3] = np.nan
    for image in images:
        without(image, "PixelData", "BitsStored", "HighBit", "PixelRepresentation")
        image.BitsAllocated, image.FloatPixelData = 32, samples.astype("<f4").tobytes()
    assert read_series(written(images, tmp_path)).voxels[2, 1, 4] == dark


@pytest.mark.parametrize(
    ("attributes", "unit"),
    [({}, "HU"), ({"RescaleType": "HU"}, "HU"), ({"RescaleType": "US"}, ""), ({"RescaleType": "PCT"}, "")],
)
def test_unit_is_what_the_ct_says(tmp_path: Path, attributes: dict[str, object], unit: str) -> None:
    """A CT is in HU unless it says that its values are something else."""
    assert read_series(written(series(along(AXIAL, EVEN), **attributes), tmp_path)).unit == unit


def test_frames_without_an_intercept_are_in_no_unit(tmp_path: Path) -> None:
    """An enhanced CT that does not say what its values mean is not taken for HU."""
    image = enhanced(along(AXIAL, EVEN))
    for groups in image.PerFrameFunctionalGroupsSequence:
        without(groups, "PixelValueTransformationSequence")
    assert read_series(written([image], tmp_path)).unit == ""


def test_enhanced_images_of_one_frame_each_are_a_volume(tmp_path: Path) -> None:
    """A scan that was sent as many enhanced images of one frame has its places and its unit like one of many."""
    images = [enhanced([position]) for position in along(AXIAL, EVEN)]
    for image in images:
        image.SeriesInstanceUID = images[0].SeriesInstanceUID
    volume = read_series(written(images, tmp_path))
    assert (volume.unit, len(volume.sources)) == ("HU", len(EVEN))
    assert off_place_mm(volume) <= 0.01


@pytest.mark.parametrize(
    "attributes",
    [
        {"SpecificCharacterSet": "ISO_IR 999", "ImageComments": "x"},
        {"SpecificCharacterSet": ["", "ISO 2022 IR 13", "NONSENSE"]},
        {"PhotometricInterpretation": "monochrome2"},
        {"RescaleSlope": "1.0 ", "RescaleIntercept": " 0"},
        {"RescaleSlope": 0},
        {"NumberOfFrames": 1},
        {"InstanceNumber": None},
        {"SliceThickness": None},
        {"PixelData": None},
    ],
    ids=" ".join,
)
@pytest.mark.filterwarnings("ignore")
def test_what_scanners_write_strangely_is_read(tmp_path: Path, attributes: dict[str, object]) -> None:
    """Unknown character sets, small letters, spaces, a slope of 0, absent numbers, bytes too many: all is as usual."""
    images = series(along(AXIAL, EVEN))
    for image in images:
        for keyword, value in attributes.items():
            setattr(image, keyword, value if keyword != "PixelData" else image.PixelData + bytes(10))
    volume = read_series(written(images, tmp_path))
    assert volume.unit == "HU"
    assert off_place_mm(volume) <= 0.01


def test_dose_grid_is_a_volume(tmp_path: Path) -> None:
    """The frames of a dose lie at their offsets, its 32 bit values have their scaling."""
    image = enhanced(along(AXIAL, EVEN))
    without(image, "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
    image.SOPClassUID, image.Modality, image.DoseGridScaling = RTDoseStorage, "RTDOSE", 1e-4
    image.ImagePositionPatient, image.ImageOrientationPatient = [-9, -8, 3], list(AXIAL)
    image.PixelSpacing, image.GridFrameOffsetVector = [1.5, 1.25], EVEN
    samples = _noise(0, 700000, "u4", slices=4)
    volume = read_series([InstanceFile(write(with_samples(image, samples), tmp_path / "dose.dcm"))])
    assert volume.geometry.affine[:3, 2] == pytest.approx([0, 0, 2])
    assert np.allclose(real_values(volume), samples * 1e-4, rtol=1e-6)


def test_values_by_a_table_are_refused(tmp_path: Path) -> None:
    """A modality LUT is no slope: it is refused instead of taken for one."""
    images = series(along(AXIAL, EVEN))
    for image in images:
        table = Dataset()
        table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [4, 0, 16], "HU", bytes(8)
        image.ModalityLUTSequence = [table]
    with pytest.raises(UnsuitablePixels, match="table"):
        read_series(written(images, tmp_path))


def test_file_within_a_file_is_read(tmp_path: Path) -> None:
    """An instance may begin anywhere in a file, as storages that pack them have it."""
    files = written(series(along(AXIAL, EVEN)), tmp_path)
    packed = tmp_path / "packed"
    packed.write_bytes(b"x" * 100 + b"".join(file.path.read_bytes() for file in files))
    starts = np.cumsum([100, *(file.path.stat().st_size for file in files)]).tolist()
    assert off_place_mm(read_series([InstanceFile(packed, start) for start in starts[:-1]])) <= 0.01


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless, DeflatedExplicitVRLittleEndian])
def test_compressed_frames_of_one_image_are_read(tmp_path: Path, syntax: UID) -> None:
    """Compressed frames are found by their items."""
    image = in_syntax(enhanced(along(AXIAL, EVEN)), syntax)
    assert off_place_mm(read_series(written([image], tmp_path))) <= 0.01


def test_long_headers_are_read(tmp_path: Path) -> None:
    """Headers with long private elements and nested sequences before the pixels are read like others."""
    images = series(along(AXIAL, EVEN))
    for image in images:
        block = image.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        block.add_new(0x10, "OB", bytes(200_000))
        inner, outer = ct_slice((0, 0, 0)), Dataset()
        outer.ReferencedImageSequence = [inner]
        image.ReferencedSeriesSequence = [outer]
        image["ReferencedSeriesSequence"].is_undefined_length = True
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian):
        files = written([in_syntax(image, syntax) for image in images], tmp_path / syntax)
        assert off_place_mm(read_series(files)) <= 0.01
