"""Entries of the worklist as bytes in the database: DICOM data sets, explicit VR little endian, in UTF-8."""

from __future__ import annotations

from io import BytesIO

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

UTF_8 = "ISO_IR 192"


def encoded(dataset: Dataset) -> bytes:
    """Return `dataset` as bytes; its Specific Character Set becomes UTF-8, in which every character has a place."""
    dataset.SpecificCharacterSet = UTF_8
    target = DicomBytesIO()
    target.is_little_endian, target.is_implicit_VR = True, False
    write_dataset(target, dataset)
    return target.getvalue()


def decoded(content: bytes) -> Dataset:
    """Return the data set that `encoded` wrote."""
    return read_dataset(BytesIO(content), is_implicit_VR=False, is_little_endian=True)
