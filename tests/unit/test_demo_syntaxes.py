"""Pixels of every kind in every transfer syntax come back as they were."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from fixtures.transfer_syntaxes import (
    LOSSLESS_SYNTAXES,
    NEAR_LOSSLESS_ERROR,
    dcmtk_dump,
    dcmtk_pixels,
    in_syntax,
)
from pacs.demo.attributes import Series, Study
from pacs.demo.instances import capture
from pacs.demo.pixels import Photometric
from pacs.demo.studies import ct_series
from pacs.demo.syntaxes import NATIVE_SYNTAXES, encoded, transcoded

_SERIES = Series(Study(key="syntaxes"), "OT")


@pytest.fixture(scope="module")
def ct() -> Dataset:
    """Return one small CT slice of 12 bit."""
    return ct_series(slices=1, size=64)[0]


@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES, ids=lambda syntax: syntax.name)
def test_lossless_syntax_keeps_every_pixel_and_identity(ct: Dataset, syntax: UID) -> None:
    """A slice in a lossless transfer syntax, written and read, has the same pixels, UIDs and patient."""
    read = dcmread(BytesIO(encoded(in_syntax(ct, syntax))))
    assert read.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(read.pixel_array, ct.pixel_array)
    assert read.SOPInstanceUID == read.file_meta.MediaStorageSOPInstanceUID == ct.SOPInstanceUID
    assert read.PatientName == ct.PatientName


@pytest.mark.parametrize("syntax", [*NATIVE_SYNTAXES, RLELossless], ids=lambda syntax: syntax.name)
def test_dcmtk_reads_what_is_written(ct: Dataset, syntax: UID) -> None:
    """A second implementation reads the files and finds the same geometry and window."""
    dump = dcmtk_dump(in_syntax(ct, syntax))
    assert "MONOCHROME2" in dump
    assert f"[{ct.ImagePositionPatient[0]}\\" in dump


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1, JPEGLSLossless], ids=lambda syntax: syntax.name)
def test_dcmtk_decodes_the_same_pixels(ct: Dataset, syntax: UID) -> None:
    """A second decoder comes to the same pixels."""
    assert np.array_equal(dcmtk_pixels(in_syntax(ct, syntax)), ct.pixel_array)


@pytest.mark.parametrize(
    ("syntax", "mean_error"), [(JPEGExtended12Bit, 8.0), (JPEG2000, 12.0), (JPEGLSNearLossless, NEAR_LOSSLESS_ERROR)]
)
def test_lossy_syntax_stays_near(ct: Dataset, syntax: UID, mean_error: float) -> None:
    """A lossy transfer syntax changes pixels, but little."""
    read = dcmread(BytesIO(encoded(in_syntax(ct, syntax))))
    difference = np.abs(_hounsfield(read) - _hounsfield(ct))
    assert 0 < difference.mean() < mean_error
    if syntax == JPEGLSNearLossless:
        assert difference.max() <= NEAR_LOSSLESS_ERROR


def test_jpeg_baseline_keeps_colors_near_and_says_that_it_is_lossy() -> None:
    """A color picture becomes YBR_FULL_422 at about the same colors, and is marked as lossy."""
    pixels = _colors()
    read = dcmread(BytesIO(encoded(transcoded(_capture(pixels, Photometric.RGB), JPEGBaseline8Bit))))
    assert read.PhotometricInterpretation == "YBR_FULL_422"
    assert read.LossyImageCompression == "01"
    assert np.abs(read.pixel_array.astype(int) - pixels).mean() < 6


def test_unknown_syntax_is_refused(ct: Dataset) -> None:
    """A transfer syntax without an encoder is named in the error."""
    with pytest.raises(ValueError, match="MPEG2"):
        transcoded(ct, MPEG2MPML)


@pytest.mark.parametrize("frames", [None, 3], ids=["single", "multi"])
@pytest.mark.parametrize(
    ("dtype", "bits_stored"),
    [("u1", 8), ("u2", 12), ("u2", 16), ("i2", 12), ("i2", 16)],
    ids=str,
)
def test_gray_pixels_come_back(dtype: str, bits_stored: int, frames: int | None) -> None:
    """Gray of 8, 12 and 16 bit, signed and unsigned, one frame and many, comes back in all its range."""
    pixels = _gray(np.dtype(dtype), bits_stored, frames)
    read = dcmread(BytesIO(encoded(_capture(pixels, Photometric.MONOCHROME2, bits_stored))))
    assert np.array_equal(read.pixel_array, pixels)
    assert (read.BitsStored, read.HighBit, read.PixelRepresentation) == (bits_stored, bits_stored - 1, dtype[0] == "i")
    assert ("NumberOfFrames" in read) == (frames is not None)


def test_gray_pixels_out_of_range_are_refused() -> None:
    """Values that do not fit the bits stored are no image."""
    with pytest.raises(ValueError, match="do not fit into 12 bits"):
        _capture(np.full((4, 4), 4096, np.uint16), Photometric.MONOCHROME2, 12)


@pytest.mark.parametrize("photometric", [Photometric.RGB, Photometric.YBR_FULL, Photometric.YBR_FULL_422])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless], ids=["native", "RLE"])
def test_color_pixels_come_back(photometric: Photometric, syntax: UID) -> None:
    """Colors come back: RGB exactly, YBR within rounding (and, where subsampled, on smooth pictures)."""
    if (photometric, syntax) == (Photometric.YBR_FULL_422, RLELossless):
        pytest.skip("RLE has no subsampled form")
    pixels = _colors()
    read = dcmread(BytesIO(encoded(transcoded(_capture(pixels, photometric), syntax))))
    assert read.PhotometricInterpretation == photometric
    error = np.abs(read.pixel_array.astype(int) - pixels)
    assert error.max() <= {Photometric.RGB: 0, Photometric.YBR_FULL: 2, Photometric.YBR_FULL_422: 8}[photometric]


def test_palette_colors_come_back() -> None:
    """Indices into a palette come back as the palette's colors."""
    palette = np.stack([np.arange(256), 255 - np.arange(256), np.arange(256) // 2], axis=1).astype(np.uint8)
    indices = _gray(np.dtype("u1"), 8, None).astype(np.uint8)
    made = capture(_SERIES, 9, indices, photometric=Photometric.PALETTE_COLOR, palette=palette)
    read = dcmread(BytesIO(encoded(made)))
    colors = apply_color_lut(read.pixel_array, read) // 257
    assert np.array_equal(colors, palette[indices])


def _hounsfield(image: Dataset) -> NDArray[np.int64]:
    """Return what the pixels mean: dcmtk stores Hounsfield units themselves in its lossy JPEG."""
    return image.pixel_array.astype(int) * int(image.RescaleSlope) + int(image.RescaleIntercept)


def _capture(pixels: NDArray[np.integer], photometric: Photometric, bits_stored: int | None = None) -> Dataset:
    return capture(_SERIES, 1, pixels, photometric=photometric, bits_stored=bits_stored)


def _gray(dtype: np.dtype, bits_stored: int, frames: int | None) -> NDArray[np.integer]:
    """Return a ramp over all of the range."""
    low = -(2 ** (bits_stored - 1)) if dtype.kind == "i" else 0
    high = low + 2**bits_stored - 1
    shape = (20, 30) if frames is None else (frames, 20, 30)
    return np.linspace(low, high, int(np.prod(shape))).astype(dtype).reshape(shape)


def _colors() -> NDArray[np.uint8]:
    """Return smooth colors, shape (32, 48, 3)."""
    y, x = np.mgrid[0:32, 0:48]
    return np.stack((x * 5, y * 7, 255 - x * 2 - y * 3), axis=-1).astype(np.uint8)
