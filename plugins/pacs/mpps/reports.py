"""A report: one N-CREATE or N-SET of a performed procedure step, from whom and with what."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset


class ReportKind(StrEnum):
    """The two services of the class (PS3.4 F.7.1)."""

    CREATE = "N-CREATE"
    SET = "N-SET"


@dataclass(frozen=True)
class Report:
    """What a modality reported.

    Attributes
    ----------
    original : the attributes as they came, explicit VR little endian in the sender's character set.
    """

    kind: ReportKind
    sop_instance_uid: str
    calling_ae_title: str
    original: bytes

    @property
    def dataset(self) -> Dataset:
        """A copy of the attributes."""
        return read(self.original)


def written(dataset: Dataset) -> bytes:
    """Return a data set as bytes, explicit VR little endian, its values untouched."""
    target = DicomBytesIO()
    target.is_little_endian, target.is_implicit_VR = True, False
    write_dataset(target, dataset)
    return target.getvalue()


def read(content: bytes) -> Dataset:
    """Return the data set that `written` wrote."""
    return read_dataset(BytesIO(content), is_implicit_VR=False, is_little_endian=True)
