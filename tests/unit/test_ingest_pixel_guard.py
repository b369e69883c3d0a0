"""Files that would end Orthanc are told from files that are merely odd."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    MPEG4HP41,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from pacs.demo.syntaxes import NATIVE_SYNTAXES, encoded, transcoded
from pacs.ingest.dicom_walk import WalkLimits
from pacs.ingest.pixel_guard import PixelLimits, find_fault

ITEM = b"\xfe\xff\x00\xe0"
JPEG = b"\xff\xd8\xff\xd9"


def image(rows: int = 16, columns: int = 16, frames: int = 1, bits: int = 8) -> Dataset:
    """Return a small gray image, Explicit VR Little Endian, with a sequence in its header."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = generate_uid()
    dataset.PatientID, dataset.PatientName = "GUARD", "NOT^FOR^LOGS"
    inner = Dataset()
    inner.CodeValue = "1"
    dataset.ProcedureCodeSequence = [inner, inner]
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, 1
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation, dataset.PhotometricInterpretation = bits - 1, 0, "MONOCHROME2"
    if frames != 1:
        dataset.NumberOfFrames = frames
    dataset.PixelData = np.arange(16 * 16 * frames, dtype="u1" if bits == 8 else "u2").tobytes()
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    return dataset


def without_pixels() -> bytes:
    """Return a file that ends with a short value, as a report does."""
    dataset = image()
    del dataset.PixelData
    return encoded(dataset)


def compressed(syntax: UID, fragments: list[bytes], **attributes: object) -> bytes:
    """Return an image file in `syntax` with the fragments given."""
    dataset = image()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = b"".join(
        ITEM + len(fragment).to_bytes(4, "little") + fragment for fragment in [b"", *fragments]
    )
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return encoded(dataset)


def rle(*offsets: int, body: int = 300) -> bytes:
    """Return an RLE fragment whose header names the offsets given."""
    return struct.pack("<16L", len(offsets), *offsets, *[0] * (15 - len(offsets))) + bytes(body)


def changed(dataset: Dataset, **attributes: object) -> bytes:
    """Return the file of `dataset` with other attributes."""
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return encoded(dataset)


def nested(depth: int, *, closed: bool = True) -> bytes:
    """Return a file with sequences in sequences, of undefined length."""
    whole = encoded(image())
    place = whole.index(b"\x10\x00\x10\x00PN")
    opening = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff" + ITEM + b"\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    return whole[:place] + opening * depth + (closing * depth if closed else b"") + whole[place:]


@pytest.mark.parametrize("syntax", NATIVE_SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("frames", [1, 3])
def test_find_fault_finds_none_when_an_uncompressed_image_is_whole(syntax: UID, bits: int, frames: int) -> None:
    """Whole images of every uncompressed syntax may be stored."""
    assert find_fault(encoded(transcoded(image(bits=bits, frames=frames), syntax))) is None


@pytest.mark.parametrize("syntax", [RLELossless, JPEGBaseline8Bit], ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("frames", [1, 3])
def test_find_fault_finds_none_when_a_compressed_image_is_whole(syntax: UID, frames: int) -> None:
    """Whole compressed images may be stored."""
    assert find_fault(encoded(transcoded(image(frames=frames), syntax))) is None


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"no DICOM",
        bytes(128) + b"DICM",
        b"PK\x03\x04",
        changed(image(), PixelData=bytes(100)),  # cut short: shown gray, no danger
        changed(image(), SamplesPerPixel=4, PhotometricInterpretation="FOO"),
        changed(image(), NumberOfFrames=0),
        compressed(MPEG4HP41, [b"movies"], NumberOfFrames=5000),
        compressed(JPEGBaseline8Bit, [JPEG, JPEG]),  # one frame in two fragments
        compressed(JPEGBaseline8Bit, []),
        nested(20),
        without_pixels(),
    ],
)
def test_find_fault_finds_none_when_a_file_is_only_odd(file: bytes) -> None:
    """An archive keeps what a modality sends; what is no DICOM is Orthanc's to refuse."""
    assert find_fault(file) is None


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (encoded(image())[132:], "DICM that a DICOM file begins with are missing"),
        (nested(60), "nested more than 40 deep"),
        (nested(100_000, closed=False), "nested more than 40 deep"),
        (encoded(image())[:-10], "are left"),
        (encoded(image())[:-258] + b"\xf0\xff\xff\xff", "are left"),
        (changed(image(), NumberOfFrames=2), "2 frames of 256 bytes are declared, 256 bytes are there"),
        (changed(image(), NumberOfFrames=2_147_483_647), "frames of 256 bytes"),
        (changed(image(), NumberOfFrames=-1), "-1 frames"),
        (changed(image(), Rows=0, Columns=0), "0 rows and 0 columns"),
        (changed(image(), Rows=65535, Columns=65535), "a frame of 4294836225 bytes"),
        (compressed(JPEGBaseline8Bit, [JPEG], Rows=65535, Columns=65535), "decodes to"),
        (compressed(JPEGBaseline8Bit, [JPEG], NumberOfFrames=2), "2 frames are declared in 1 fragments"),
        (compressed(MPEG4HP41, [b"movies"], NumberOfFrames=2_000_000_000), "1000000 are allowed"),
        (compressed(RLELossless, []), "no fragment"),
        (compressed(RLELossless, [b""]), "fewer than its header"),
        (compressed(RLELossless, [rle(64, 100)]), "2 segments, the image needs 1"),
        (compressed(RLELossless, [rle()]), "0 segments"),
        (compressed(RLELossless, [rle(64, 100), rle(64)], BitsAllocated=16), "1 segments, the image needs 2"),
        (compressed(RLELossless, [rle(32)]), "out of order"),
        (compressed(RLELossless, [rle(64, 5000)], BitsAllocated=16), "out of bounds"),
        (compressed(RLELossless, [rle(64, 64)], BitsAllocated=16), "out of order"),
    ],
)
def test_find_fault_tells_what_is_wrong_when_a_file_is_dangerous(file: bytes, words: str) -> None:
    """The sentence names the fault and nothing of the patient."""
    fault = find_fault(file)
    assert fault is not None
    assert words in fault
    assert "NOT" not in fault


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("undefined", [True, False])
def test_find_fault_counts_depth_when_sequences_have_either_kind_of_length(syntax: UID, *, undefined: bool) -> None:
    """A defined length hides no depth, in any encoding, private and unknown tags included."""
    dataset = image()
    inner = Dataset()
    inner.PatientID = "x"
    for _ in range(10):
        outer = Dataset()
        outer.RequestAttributesSequence = [inner]
        outer["RequestAttributesSequence"].is_undefined_length = undefined
        inner = outer
    dataset.RequestAttributesSequence = [inner]
    file = encoded(transcoded(dataset, syntax))
    assert find_fault(file) is None
    assert find_fault(file, PixelLimits(walk=WalkLimits(depth=10))) is not None


def test_find_fault_refuses_a_deflated_file_when_it_is_a_bomb() -> None:
    """A deflated data set is inflated no further than the limit."""
    whole = encoded(transcoded(image(), DeflatedExplicitVRLittleEndian))
    meta = whole[: whole.index(b"1.2.840.10008.1.2.1.99") + 22]
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflater.compress(bytes(50_000_000)) + deflater.flush()
    fault = find_fault(meta + body, PixelLimits(walk=WalkLimits(deflated_bytes=1_000_000)))
    assert fault is not None
    assert "inflates to more than" in fault


def test_find_fault_survives_when_bytes_of_a_file_are_changed() -> None:
    """Whatever a damaged file says, the answer is a sentence or None, never an exception."""
    random = np.random.default_rng(5)
    for whole in (
        encoded(image()),
        nested(5),
        compressed(RLELossless, [rle(64)]),
        compressed(JPEGBaseline8Bit, [JPEG]),
    ):
        for _ in range(300):
            body = bytearray(whole)
            for place in random.integers(132, len(body), 3):
                body[place] = int(random.integers(0, 256))
            find_fault(bytes(body))
