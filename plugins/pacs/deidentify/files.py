"""Files: read, de-identified, written under names that say nothing."""

from __future__ import annotations

import logging
import os
import warnings
from io import BytesIO
from pathlib import Path, PurePosixPath

import pydicom
from pydicom import config
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from pacs.deidentify.errors import Refused, broken
from pacs.deidentify.instance import Result, deidentify
from pacs.deidentify.project import Project
from pacs.deidentify.values import UNREADABLE, text

_PIXEL_DATA = 0x7FE00010
_UNDEFINED_LENGTH = 0xFFFFFFFF


def be_silent() -> None:
    """Let pydicom say nothing of values, for the whole process: its warnings and its log repeat them."""
    config.settings.reading_validation_mode = config.IGNORE
    config.settings.writing_validation_mode = config.IGNORE
    logger = logging.getLogger("pydicom")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    warnings.filterwarnings("ignore", module="pydicom")


def deidentify_file(source: Path, folder: Path, project: Project, secret: bytes) -> tuple[Path, Result]:
    """De-identify a file into a folder: PSEUDONYM/study/series/instance.dcm, all by their new UIDs.

    Returns
    -------
    The file, which is there whole or not at all.

    Raises
    ------
    Refused : the project can't, or the file is no DICOM. The message names no path and holds no value.
    """
    result = deidentify(read(source), project, secret)
    target = folder / file_name(result.dataset)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".part")
    try:
        pydicom.dcmwrite(unfinished, _without_copies(result.dataset), enforce_file_format=True)
        unfinished.replace(target)
    except UNREADABLE as fault:
        raise broken(fault) from None
    finally:
        unfinished.unlink(missing_ok=True)
    return target, result


def _without_copies(dataset: Dataset) -> Dataset:
    """Let pixels be written from where they are: of large images pydicom would hold two more copies."""
    element = dataset.get_item(_PIXEL_DATA) if _PIXEL_DATA in dataset else None
    if isinstance(element, RawDataElement) and element.value:
        buffered = DataElement(_PIXEL_DATA, element.VR or "OW", BytesIO(element.value))
        buffered.is_undefined_length = element.length == _UNDEFINED_LENGTH
        dataset[_PIXEL_DATA] = buffered
    return dataset


def read(source: Path | os.PathLike[str]) -> Dataset:
    """Read a DICOM file whole.

    Raises
    ------
    Refused : it is none.
    """
    try:
        return pydicom.dcmread(source)
    except InvalidDicomError:
        raise Refused("The file is no DICOM file.", remedy="Leave it out.") from None
    except UNREADABLE as fault:
        raise broken(fault) from None


def file_name(dataset: Dataset) -> PurePosixPath:
    """Return a path for an instance that was de-identified, of nothing but what it says now."""
    parts = [text(dataset, keyword) for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")]
    name = f"{text(dataset, 'SOPInstanceUID')}.dcm"
    return PurePosixPath(*(part.replace("/", "_") or "none" for part in parts), name)
