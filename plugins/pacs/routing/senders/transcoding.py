"""Pixels in another transfer syntax (DICOM PS3.5 section 8.2 and annex A), by imagecodecs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import imagecodecs
import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEG2000,
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from pacs.routing.senders.faults import FaultKind, SendingFault

_LOSSY_METHODS = {
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
    JPEG2000: "ISO_15444_1",
}
_MOST_UNSIGNED_BITS = {str(JPEGBaseline8Bit): 8, str(JPEGExtended12Bit): 12}
DEFAULT_QUALITY = 90
# "JPEG lossy" is the first of these that can hold an image: of 8 bits, of 12, and of any depth and sign.
_LOSSY_CHAIN = (str(JPEGBaseline8Bit), str(JPEGExtended12Bit), str(JPEG2000))
_COLORS = 3
# UIDs of lossy copies follow from the original's, so that one that is sent again is the same.
_COPIES = uuid.UUID("6f1f1d1c-8a1f-5d0e-9a52-3d2f4b0b6d51")

type Frame = np.ndarray[Any, np.dtype[Any]]


def chain(syntax: str | None) -> tuple[str, ...]:
    """Return the transfer syntaxes that serve for one that was asked for, in order."""
    if syntax is None:
        return ()
    return _LOSSY_CHAIN if syntax == _LOSSY_CHAIN[0] else (syntax,)


def first_that_holds(dataset: FileDataset, syntaxes: Sequence[str]) -> str:
    """Return the first of `syntaxes` that can hold an image; the last one where none can."""
    bits, is_signed = int(dataset.get("BitsStored") or 8), bool(dataset.get("PixelRepresentation"))
    for syntax in syntaxes:
        most_bits = _MOST_UNSIGNED_BITS.get(syntax)
        if most_bits is None or (bits <= most_bits and not is_signed):
            return syntax
    return syntaxes[-1]


def transcode(dataset: FileDataset, syntax: str, quality: int | None) -> None:
    """Bring an image into a transfer syntax, in place. What has no pixels is left as it is.

    Raises
    ------
    SendingFault : it can't be decoded, or that syntax can't hold it.
    """
    if "PixelData" not in dataset or dataset.file_meta.TransferSyntaxUID == syntax:
        return
    uid = UID(syntax)
    try:
        if not uid.is_compressed:
            _uncompress(dataset, uid)
        else:
            _compress(dataset, uid, DEFAULT_QUALITY if quality is None else quality)
    except SendingFault:
        raise
    except Exception as error:
        raise SendingFault(
            FaultKind.OURS,
            f"An image can't be converted from {dataset.file_meta.TransferSyntaxUID.name} to {uid.name}: {error}",
            remedy="Send it without a transfer syntax of its own, or look at the image.",
        ) from error


def _uncompress(dataset: FileDataset, uid: UID) -> None:
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.decompress(generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = uid


def _compress(dataset: FileDataset, uid: UID, quality: int) -> None:
    original_bytes = len(dataset.PixelData)
    was_compressed = dataset.file_meta.TransferSyntaxUID.is_compressed
    frames = _frames(dataset)
    if was_compressed and "PlanarConfiguration" in dataset and dataset.PhotometricInterpretation.startswith("YBR_"):
        # What the decoder gave is RGB.
        dataset.PhotometricInterpretation = "RGB"
    encode = _encoder(dataset, uid, quality)
    encoded = [encode(frame) for frame in frames]
    dataset.PixelData = encapsulate(encoded)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    if dataset.SamplesPerPixel == _COLORS:
        dataset.PlanarConfiguration = 0
        dataset.PhotometricInterpretation = _photometric(dataset, uid)
    dataset.file_meta.TransferSyntaxUID = uid
    if uid in _LOSSY_METHODS:
        native_bytes = sum(frame.nbytes for frame in frames)
        _mark_lossy(dataset, uid, max(native_bytes, original_bytes) / max(1, sum(map(len, encoded))), quality)


def _frames(dataset: FileDataset) -> list[Frame]:
    """Return the frames, each (rows, columns) or (rows, columns, 3)."""
    raw = not dataset.file_meta.TransferSyntaxUID.is_compressed
    samples = pixel_array(dataset, raw=raw)
    count = int(dataset.get("NumberOfFrames") or 1)
    return list(samples) if count > 1 else [samples.reshape(samples.shape[-3:]) if samples.ndim > 3 else samples]  # noqa: PLR2004


def _photometric(dataset: Dataset, uid: UID) -> str:
    if dataset.PhotometricInterpretation != "RGB":
        return str(dataset.PhotometricInterpretation)
    if uid == JPEG2000Lossless:
        return "YBR_RCT"
    if uid == JPEG2000:
        return "YBR_ICT"
    return "YBR_FULL" if uid in {JPEGBaseline8Bit, JPEGExtended12Bit} else "RGB"


def _encoder(dataset: Dataset, uid: UID, quality: int) -> Callable[[Frame], bytes]:
    bits = int(dataset.BitsStored)
    is_rgb = dataset.PhotometricInterpretation == "RGB"
    if uid == RLELossless:
        return _rle
    if uid in {JPEG2000Lossless, JPEG2000}:
        lossless = uid == JPEG2000Lossless
        return lambda frame: _jpeg2000(frame, None if lossless else quality, is_rgb=is_rgb)
    if uid in {JPEGLSLossless, JPEGLSNearLossless}:
        near = 0 if uid == JPEGLSLossless else max(1, round((100 - quality) / 5))
        return lambda frame: _jpeg_ls(frame, near)
    if uid in {JPEGBaseline8Bit, JPEGExtended12Bit}:
        return _jpeg(uid, bits, quality, is_rgb=is_rgb, is_signed=bool(dataset.PixelRepresentation))
    raise SendingFault(
        FaultKind.OURS, f"{uid.name} is no transfer syntax that images are converted to.", remedy="Choose another one."
    )


def _jpeg2000(frame: Frame, quality: int | None, *, is_rgb: bool) -> bytes:
    options: Mapping[str, Any] = (
        {"reversible": True, "level": 0} if quality is None else {"reversible": False, "level": 30 + 0.4 * quality}
    )
    encoded = imagecodecs.jpeg2k_encode(frame, codecformat="j2k", mct=is_rgb, numthreads=1, **options)
    return _even(bytes(encoded))


def _jpeg_ls(frame: Frame, near: int) -> bytes:
    unsigned = frame.view(frame.dtype.str.replace("i", "u"))
    return _even(bytes(imagecodecs.jpegls_encode(np.ascontiguousarray(unsigned), level=near)))


def _jpeg(uid: UID, bits: int, quality: int, *, is_rgb: bool, is_signed: bool) -> Callable[[Frame], bytes]:
    most_bits = _MOST_UNSIGNED_BITS[uid]
    if bits > most_bits or is_signed:
        raise SendingFault(
            FaultKind.OURS,
            f"{uid.name} holds unsigned images of {most_bits} bits; this one has {bits} bits"
            f"{' and a sign' if is_signed else ''}.",
            remedy="Choose JPEG 2000 (1.2.840.10008.1.2.4.91), which holds them all.",
        )
    color: Mapping[str, Any] = {"colorspace": "RGB", "outcolorspace": "YCbCr", "subsampling": "444"} if is_rgb else {}
    return lambda frame: _even(
        bytes(imagecodecs.jpeg8_encode(frame, level=quality, bitspersample=most_bits if bits > 8 else None, **color))  # noqa: PLR2004
    )


def _rle(frame: Frame) -> bytes:
    """Encode by PackBits, a segment for each byte of each sample, the most significant first (PS3.5 annex G)."""
    planes = frame.reshape(*frame.shape[:2], -1)
    segments = []
    for sample in range(planes.shape[2]):
        plane = np.ascontiguousarray(planes[:, :, sample])
        as_bytes = plane.view(np.uint8).reshape(*plane.shape, -1)
        for byte in reversed(range(as_bytes.shape[2])):
            rows = (imagecodecs.packbits_encode(row.tobytes()) for row in as_bytes[:, :, byte])
            segments.append(_even(b"".join(map(bytes, rows))))
    offsets, start = [], 64
    for segment in segments:
        offsets.append(start)
        start += len(segment)
    header = np.array([len(segments), *offsets, *[0] * (15 - len(segments))], "<u4").tobytes()
    return header + b"".join(segments)


def _even(encoded: bytes) -> bytes:
    return encoded + b"\0" * (len(encoded) % 2)


def _mark_lossy(dataset: FileDataset, uid: UID, ratio: float, quality: int) -> None:
    """Say that it is compressed with loss, and another image than its source (PS3.3 section C.7.6.1.1.5)."""
    dataset.LossyImageCompression = "01"
    for keyword, value in (
        ("LossyImageCompressionRatio", f"{ratio:.2f}"),
        ("LossyImageCompressionMethod", _LOSSY_METHODS[uid]),
    ):
        found = dataset.get(keyword) or []
        dataset.__setattr__(keyword, [*([found] if isinstance(found, str | float) else found), value])
    image_type = list(dataset.get("ImageType") or ["ORIGINAL", "PRIMARY"])
    dataset.ImageType = ["DERIVED", *image_type[1:]]
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    dataset.SourceImageSequence = [reference]
    dataset.DerivationDescription = f"Lossy compression, quality {quality}"
    copy = UID(f"2.25.{uuid.uuid5(_COPIES, f'{dataset.SOPInstanceUID} {uid} {quality}').int}")
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = copy
