"""The image that the self-test sends: a patient who does not exist, JPEG 2000, so that decoding has work to do."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from pydicom import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless

from pacs.demo.attributes import Patient, Series, Study, new_instance

ROWS = 128


def image(key: str) -> Dataset:
    """Return a small CT image in JPEG 2000 Lossless; `key` makes its patient and study its own."""
    today = datetime.now(UTC).date()
    study = Study(Patient(f"SELFTEST-{key}", "Autocomprobación^No es un paciente"), f"selftest {key}", today)
    dataset = new_instance(Series(study, "CT", 1, "Autocomprobación", "CHEST"), CTImageStorage, 1)
    _add_pixels(dataset)
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    return dataset


def _add_pixels(dataset: Dataset) -> None:
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Rows = dataset.Columns = ROWS
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelSpacing, dataset.ImageOrientationPatient = [1, 1], [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient, dataset.FrameOfReferenceUID = [0, 0, 0], dataset.StudyInstanceUID
    dataset.RescaleIntercept, dataset.RescaleSlope = "0", "1"
    rows, columns = np.mgrid[:ROWS, :ROWS]
    dataset.PixelData = ((rows * 16 + columns * 15) % 4096).astype("<u2").tobytes()
