"""What the header of an instance says, as far as a volume is made of it."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, Literal

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue

from pacs.mesh.errors import UnreadableInstance
from pacs.mesh.reading.elements import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    DOUBLE_PIXEL_DATA,
    FLOAT_PIXEL_DATA,
    PIXEL_DATA,
    Elements,
    PixelPlace,
    Unusual,
    scan,
)
from pacs.mesh.reading.files import Content, InstanceFile, opened

# What tells images of one place apart, the most telling first.
DISTINGUISHING: Final = (
    *("StackID", "TemporalPositionIdentifier", "TemporalPositionIndex", "TemporalPositionTimeOffset"),
    *("NominalPercentageOfCardiacPhase", "NominalCardiacTriggerDelayTime", "TriggerTime"),
    *("DiffusionBValue", "DiffusionDirectionality", "DiffusionGradientOrientation"),
    *("EchoNumbers", "EchoTime", "EffectiveEchoTime", "InversionTime", "InversionTimes", "FlipAngle", "KVP"),
    *("ImageType", "FrameType", "ConvolutionKernel", "SliceThickness", "AcquisitionNumber", "FrameAcquisitionNumber"),
    *("FrameReferenceTime", "AcquisitionDateTime", "FrameAcquisitionDateTime", "AcquisitionTime", "ContentTime"),
    *("SeriesTime", "ImageComments"),
    *(f"DimensionIndex{place}" for place in range(1, 9)),  # a multi-frame image's own, each for itself
)
# Of these what people write freely, which may be a name: never told.
FREE_TEXTS: Final = frozenset({"ImageComments"})
_TEXTS: Final = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality"),
    *("InstanceNumber", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "PhotometricInterpretation", "LossyImageCompression"),
    *("DoseGridScaling", "SpacingBetweenSlices"),
    *(keyword for keyword in DISTINGUISHING if not keyword.startswith("DimensionIndex")),
)
_NUMBERS: Final = (
    *("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
)


def tag_of(keyword: str) -> int:
    """Return the tag of a keyword of PS3.6 as group << 16 | element."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise LookupError(keyword)
    return tag


_KEYWORDS: Final = {tag_of(keyword): keyword for keyword in (*_TEXTS, *_NUMBERS)}
# Values of these representations are binary; all others that are wanted here are text.
_BINARY: Final = {"FD": "d", "FL": "f", "UL": "I", "SL": "i", "US": "H", "SS": "h"}
_BINARY_TEXTS: Final = {tag: _BINARY[vr] for tag in _KEYWORDS if (vr := dictionary_VR(tag)) in _BINARY}
_NUMERIC: Final = frozenset(_NUMBERS)
# Pixels go through a table of their own instead of a slope: left to pydicom.
_MODALITY_LUT_SEQUENCE: Final = tag_of("ModalityLUTSequence")
_PIXEL_TAGS: Final = (FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA, PIXEL_DATA)
_UNDEFINED: Final = 0xFFFFFFFF
_DEFERRED_BYTES: Final = 4096
# What is raised at damaged data, when they are read or when a value is asked for: pydicom reads late.
_DAMAGES: Final = (
    *(InvalidDicomError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError, NotImplementedError),
    *(OSError, RecursionError, OverflowError, struct.error, zlib.error, BytesLengthException),
)
# Of the same length, so that the file meta information stays whole.
_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
_NOT_DEFLATED: Final = b"1.2.840.10008.1.2.1\0\0\0"


@dataclass(frozen=True, slots=True)
class Header:
    """The header of one instance.

    Attributes
    ----------
    size : of the instance in bytes, inflated.
    inflated_from : where its deflated data begin, None if they are not deflated.
    texts : what is text in DICOM, values joined by backslashes; by keyword, absent ones left out.
    numbers : what is US or SS, as the unsigned number.
    has_modality_lut : pixels become values by a table and not by a slope.
    """

    file: InstanceFile
    size: int
    transfer_syntax_uid: str
    inflated_from: int | None
    pixels: PixelPlace | None
    texts: Mapping[str, str]
    numbers: Mapping[str, int]
    has_modality_lut: bool = False

    def text(self, keyword: str) -> str:
        """Return a value as text, empty when it is absent."""
        return self.texts.get(keyword, "")

    def floats(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return `count` finite numbers; None when they are absent or not as many."""
        return as_floats(self.text(keyword), count)

    @property
    def sop_instance_uid(self) -> str:
        """The instance."""
        return self.text("SOPInstanceUID")

    @property
    def frames(self) -> int:
        """How many frames it has, 1 for an image without NumberOfFrames."""
        numbers = self.floats("NumberOfFrames", 1)
        return max(int(numbers[0]), 1) if numbers else 1


def as_floats(text: str, count: int) -> tuple[float, ...] | None:
    """Read `count` finite numbers from DS or IS text; None when they are not that."""
    parts = text.split("\\")
    if len(parts) != count:
        return None
    try:
        numbers = tuple(map(float, parts))
    except ValueError:
        return None
    return numbers if all(abs(number) < float("inf") for number in numbers) else None


def read_header(file: InstanceFile) -> Header:
    """Read the header of an instance.

    Raises
    ------
    UnreadableInstance : it is no DICOM file, or damaged before its pixels.
    """
    with opened(file) as content:
        try:
            elements = scan(content, _WANTED)
            return _of_elements(file, content.size, elements)
        except Unusual:
            return _by_pydicom(file, content)


_WANTED: Final = frozenset({*_KEYWORDS, _MODALITY_LUT_SEQUENCE})


def _of_elements(file: InstanceFile, size: int, elements: Elements) -> Header:
    order: Literal["big", "little"] = "big" if elements.is_big_endian else "little"
    texts: dict[str, str] = {}
    numbers: dict[str, int] = {}
    for tag, value in elements.values.items():
        keyword = _KEYWORDS.get(tag)
        if keyword is not None and keyword in _NUMERIC:
            if value:
                numbers[keyword] = int.from_bytes(value[:2], order)
        elif keyword is not None and (text := _text(tag, value, order)):
            texts[keyword] = text
    is_deflated = elements.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
    return Header(
        file,
        size,
        elements.transfer_syntax_uid,
        elements.dataset_start if is_deflated else None,
        elements.pixels,
        texts,
        numbers,
        has_modality_lut=_MODALITY_LUT_SEQUENCE in elements.values,
    )


def _text(tag: int, value: bytes, order: Literal["big", "little"]) -> str:
    form = _BINARY_TEXTS.get(tag)
    if form is None:
        return value.decode("latin-1").strip(" \0")
    size = struct.calcsize(form)
    numbers = struct.unpack(
        f"{'>' if order == 'big' else '<'}{len(value) // size}{form}", value[: len(value) // size * size]
    )
    return "\\".join(map(str, numbers))


def _by_pydicom(file: InstanceFile, content: Content) -> Header:
    """Read what is unusual: sequences of unknown representation, wrong representations, no preamble."""
    dataset = _parsed(file, content.read(0, content.size))
    with refusing_damage(file):
        texts = {keyword: text for keyword in _TEXTS if (text := text_of(dataset, keyword))}
        numbers = {keyword: number for keyword in _NUMBERS if (number := _number(dataset.get(keyword))) is not None}
        syntax, pixels = str(dataset.file_meta.get("TransferSyntaxUID", "")), _pixels_of(dataset)
    if not texts.get("SOPInstanceUID"):
        raise UnreadableInstance(f"A file is no DICOM instance, or damaged ({file.path.name}).")
    has_table = "ModalityLUTSequence" in dataset
    return Header(file, content.size, syntax, None, pixels, texts, numbers, has_modality_lut=has_table)


def read_dataset(header: Header) -> Dataset:
    """Read all of an instance that comes before its pixels, sequences too.

    Raises
    ------
    UnreadableInstance : it is damaged.
    """
    end = header.size if header.pixels is None else header.pixels.start
    with opened(header.file, inflated_from=header.inflated_from) as content:
        head = content.read(0, end)
    if header.inflated_from is not None:
        head = head.replace(_DEFLATED, _NOT_DEFLATED, 1)
    return _parsed(header.file, head, without_pixels=True)


def _parsed(file: InstanceFile, content: bytes, *, without_pixels: bool = False) -> Dataset:
    with warnings.catch_warnings(), refusing_damage(file):
        warnings.simplefilter("ignore")
        return pydicom.dcmread(
            BytesIO(content), defer_size=_DEFERRED_BYTES, stop_before_pixels=without_pixels, force=True
        )


@contextmanager
def refusing_damage(file: InstanceFile) -> Iterator[None]:
    """Refuse an instance in whose data pydicom, or whoever reads its elements, meets what can't be.

    Raises
    ------
    UnreadableInstance : something was raised that damaged data are the reason of.
    """
    try:
        yield
    except _DAMAGES as fault:
        message = f"A file is no DICOM instance, or damaged ({file.path.name}: {type(fault).__name__})."
        raise UnreadableInstance(message) from fault


def text_of(dataset: Dataset, keyword: str) -> str:
    """Return a value as DICOM writes text, values joined by backslashes; empty when it is absent."""
    value = dataset.get(keyword)
    if value is None:
        return ""
    return "\\".join(map(str, value)) if isinstance(value, MultiValue | list | tuple) else str(value)


def _number(value: Any) -> int | None:
    return value & 0xFFFF if isinstance(value, int) else None


def _pixels_of(dataset: Dataset) -> PixelPlace | None:
    for tag in _PIXEL_TAGS:
        if tag in dataset:
            element = dataset.get_item(tag, keep_deferred=True)
            start = getattr(element, "value_tell", None)
            if start is None:
                return None
            length = getattr(element, "length", _UNDEFINED)
            return PixelPlace(tag, start, None if length == _UNDEFINED else length)
    return None
