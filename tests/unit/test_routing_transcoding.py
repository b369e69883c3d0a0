"""Pixels in another transfer syntax: read back by other decoders, the same or as near as the quality says."""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset
from pydicom.encaps import generate_frames
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from fixtures.fictitious_studies import as_file, dicom_image
from pacs.routing.senders.faults import SendingFault
from pacs.routing.senders.transcoding import chain, first_that_holds, transcode

LOSSLESS = (JPEG2000Lossless, JPEGLSLossless, RLELossless)


def image(dtype: str, bits: int, *, color: bool = False, frames: int = 1) -> FileDataset:
    """Return an image of noise over a slope, as it would be read from a file."""
    shape = (frames, 40, 48, 3) if color else (frames, 40, 48)
    low = -(2 ** (bits - 1)) if dtype[1] == "i" else 0
    chance = np.random.default_rng(bits)
    samples = chance.integers(low, low + 2**bits, shape).astype(dtype)
    dataset = dicom_image(
        Rows=40,
        Columns=48,
        BitsAllocated=samples.itemsize * 8,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=int(dtype[1] == "i"),
    )
    _give(dataset, samples, dtype, bits, color=color, frames=frames)
    return dcmread(io.BytesIO(as_file(dataset)))


def _give(dataset: Dataset, samples: Any, dtype: str, bits: int, *, color: bool, frames: int) -> None:
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = 40, 48, samples.itemsize * 8
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, int(dtype[1] == "i")
    if color:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.PixelData = samples.tobytes()
    dataset["PixelData"].VR = "OB" if samples.itemsize == 1 else "OW"


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: uid.keyword)
@pytest.mark.parametrize(
    ("dtype", "bits", "color", "frames"),
    [("<u2", 12, False, 1), ("<i2", 16, False, 1), ("<u2", 16, False, 3), ("|u1", 8, False, 1), ("|u1", 8, True, 1)],
)
def test_lossless_image_is_the_same_when_it_is_read_back(
    syntax: Any,
    dtype: str,
    bits: int,
    color: bool,  # noqa: FBT001
    frames: int,
) -> None:
    """What pydicom decodes of the file that was made are the pixels of the original, its UIDs are the same."""
    original = image(dtype, bits, color=color, frames=frames)
    pixels, uid = original.pixel_array.copy(), original.SOPInstanceUID
    transcode(original, syntax, None)
    written = io.BytesIO()
    original.save_as(written, enforce_file_format=True)
    read = dcmread(io.BytesIO(written.getvalue()))
    assert (read.file_meta.TransferSyntaxUID, read.SOPInstanceUID) == (syntax, uid)
    assert "LossyImageCompression" not in read
    assert np.array_equal(read.pixel_array, pixels)


@pytest.mark.parametrize(
    ("syntax", "dtype", "bits", "most"),
    [
        (JPEGBaseline8Bit, "|u1", 8, 40),
        (JPEGExtended12Bit, "<u2", 12, 400),
        (JPEG2000, "<i2", 16, 2000),
        (JPEGLSNearLossless, "<u2", 12, 2),
    ],
    ids=["baseline", "extended", "j2k", "near"],
)
def test_lossy_image_says_so_and_is_another_image(syntax: Any, dtype: str, bits: int, most: int) -> None:
    """It has a UID of its own, which is the same each time, and names its source, the method and the ratio."""
    original, again = image(dtype, bits), image(dtype, bits)
    again.SOPInstanceUID = original.SOPInstanceUID
    pixels, uid = original.pixel_array.astype(int), original.SOPInstanceUID
    for one in (original, again):
        transcode(one, syntax, 90)
    assert original.LossyImageCompression == "01"
    assert float(original.LossyImageCompressionRatio) > 0
    assert original.SourceImageSequence[0].ReferencedSOPInstanceUID == uid
    assert uid != original.SOPInstanceUID == again.SOPInstanceUID == original.file_meta.MediaStorageSOPInstanceUID
    decoded = _decoded(original)
    assert np.abs(decoded.reshape(pixels.shape) - pixels).mean() <= most


def test_jpeg_lossy_takes_the_first_process_that_holds_the_image() -> None:
    """8 bits go into baseline JPEG, 12 into extended, all else into JPEG 2000."""
    syntaxes = chain(str(JPEGBaseline8Bit))
    found = [first_that_holds(image(*kind), syntaxes) for kind in (("|u1", 8), ("<u2", 12), ("<u2", 16), ("<i2", 12))]
    assert found == [JPEGBaseline8Bit, JPEGExtended12Bit, JPEG2000, JPEG2000]


def test_image_that_a_syntax_cant_hold_is_refused_with_a_cure() -> None:
    """A signed image of 16 bits is no baseline JPEG, and nothing of it is cut to fit."""
    with pytest.raises(SendingFault, match="JPEG 2000"):
        transcode(image("<i2", 16), JPEGBaseline8Bit, 90)


def test_document_is_left_alone() -> None:
    """What has no pixels keeps its transfer syntax."""
    document = image("|u1", 8)
    del document.PixelData
    before = document.file_meta.TransferSyntaxUID
    transcode(document, JPEG2000Lossless, None)
    assert document.file_meta.TransferSyntaxUID == before


def _decoded(dataset: FileDataset) -> Any:
    stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
    decoders = {
        JPEGBaseline8Bit: imagecodecs.jpeg8_decode,
        JPEGExtended12Bit: imagecodecs.jpeg8_decode,
        JPEG2000: imagecodecs.jpeg2k_decode,
        JPEGLSNearLossless: imagecodecs.jpegls_decode,
    }
    return decoders[dataset.file_meta.TransferSyntaxUID](stream).astype(int)
