"""A question of a modality (C-FIND of the worklist): how it is read, and how an entry answers it (PS3.4 K.4.1)."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from pydicom import DataElement, Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.uid import ExplicitVRLittleEndian

from pacs.worklist.matching import is_universal

LATIN_1, UTF_8 = "ISO_IR 100", "ISO_IR 192"
_FIRST_GROUP = 0x0008
_TEXTS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_CHARACTER_SET = "SpecificCharacterSet"


def read_question(content: bytes) -> Dataset:
    """Return the identifier of a C-FIND from the DICOM file that Orthanc makes of it.

    One that does not tell its character set but is not ASCII is read as UTF-8 where it can be that, else as Latin-1.
    """
    question = dcmread(BytesIO(content), force=True)
    if not question.get(_CHARACTER_SET):
        question.SpecificCharacterSet = LATIN_1
        question.decode()
        for element in question.iterall():
            if element.VR in _TEXTS:
                element.value = _as_utf_8(element.value)
        del question.SpecificCharacterSet
    return question


def _as_utf_8(value: Any) -> Any:
    """Return text that was read as Latin-1 as the UTF-8 that it may be."""
    if isinstance(value, MultiValue):
        return [_as_utf_8(one) for one in value]
    text = str(value or "")
    try:
        return value if text.isascii() else text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def answer_to(question: Dataset, entry: Dataset) -> Dataset:
    """Return what `entry` says to the keys of `question`: each of them, empty where the entry has nothing."""
    answer = Dataset()
    for key in question:
        if key.tag.group < _FIRST_GROUP or key.tag.element == 0 or key.tag.is_private or key.keyword == _CHARACTER_SET:
            continue
        answer.add(_answered(key, entry))
    return answer


def _answered(key: DataElement, entry: Dataset) -> DataElement:
    found = entry.get(key.tag)
    if key.VR != "SQ":
        return found if found is not None else DataElement(key.tag, key.VR, None)
    if found is None:
        return DataElement(key.tag, "SQ", [])
    if is_universal(key):
        return DataElement(key.tag, "SQ", found.value)
    return DataElement(key.tag, "SQ", [answer_to(key.value[0], item) for item in found.value])


def as_file(answer: Dataset) -> bytes:
    """Return an answer as the DICOM file that Orthanc takes it as."""
    file = BytesIO()
    answer.preamble, answer.file_meta = b"\0" * 128, FileMetaDataset()
    answer.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(file, answer)
    return file.getvalue()


def is_latin_1(answer: Dataset) -> bool:
    """Tell whether every character of `answer` has a place in ISO 8859-1."""
    try:
        for element in answer.iterall():
            if element.VR in _TEXTS and element.value:
                str(element.value).encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
