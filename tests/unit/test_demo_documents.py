"""Reports, PDF, segmentations, video and broken files, as the tests of other parts use them."""

from __future__ import annotations

import subprocess
from io import BytesIO

import highdicom
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.errors import InvalidDicomError
from pydicom.uid import MPEG4HP41

from fixtures.broken_files import broken_files
from fixtures.segmentations import hounsfield, segmentation
from fixtures.transfer_syntaxes import dcmtk_dump
from fixtures.videos import h264_instance, moving_bars
from pacs.demo.attributes import CharacterSet, Patient, Series, Study
from pacs.demo.documents import pdf_document, pdf_page, text_report
from pacs.demo.studies import ct_series
from pacs.demo.syntaxes import encoded

_STUDY = Study(Patient(name="Muñoz Ejemplo^Íñigo", character_set=CharacterSet.UTF_8), key="documents")


def test_text_report_comes_back_with_its_text_and_evidence() -> None:
    """A Basic Text SR keeps its paragraphs, accents included, and names the images that it is about."""
    images = ct_series(_STUDY, slices=2, size=16)
    made = text_report(Series(_STUDY, "SR", 7), 1, ["Hígado sin lesiones.", "Riñones normales."], images)
    read = dcmread(BytesIO(encoded(made)))
    assert [item.TextValue for item in read.ContentSequence] == ["Hígado sin lesiones.", "Riñones normales."]
    (study,) = read.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    referenced = [item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence]
    assert referenced == [image.SOPInstanceUID for image in images]
    assert "Hígado" in dcmtk_dump(made)


def test_pdf_document_holds_a_pdf_that_tells_its_length() -> None:
    """The PDF comes back byte for byte; padding is not part of it."""
    made = pdf_document(Series(_STUDY, "DOC", 8), 1, "Informe (ficticio)", ["Línea 1", "Línea 2"])
    read = dcmread(BytesIO(encoded(made)))
    document = read.EncapsulatedDocument[: read.EncapsulatedDocumentLength]
    assert document == pdf_page(["Informe (ficticio)", "", "Línea 1", "Línea 2"])
    assert read.MIMETypeOfEncapsulatedDocument == "application/pdf"


def test_pdf_page_has_a_true_cross_reference_table() -> None:
    """Each entry of the table, and the trailer, points at what it says: readers need no repair."""
    document = pdf_page(["Hola"])
    start = int(document.rsplit(b"startxref\n", 1)[1].split()[0])
    assert document[start:].startswith(b"xref\n0 7\n")
    entries = document[start:].split(b"\n")[3:9]
    for number, entry in enumerate(entries, start=1):
        assert document[int(entry[:10]) :].startswith(b"%d 0 obj" % number)


def test_segmentation_references_its_series_and_comes_back() -> None:
    """Two segments come back voxel for voxel, in the frame of reference of the series."""
    images = ct_series(_STUDY, slices=4, size=32)
    volume = hounsfield(images)
    masks = np.stack((volume > 300, (volume > 0) & (volume < 300)))
    read = highdicom.seg.segread(BytesIO(encoded(segmentation(images, masks, ["Hueso", "Blando"]))))
    assert read.FrameOfReferenceUID == images[0].FrameOfReferenceUID
    assert read.StudyInstanceUID == images[0].StudyInstanceUID
    uids = [image.SOPInstanceUID for image in images]
    back = read.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    assert np.array_equal(np.moveaxis(back, -1, 0).astype(bool), masks)


def test_video_holds_h264_that_a_player_decodes() -> None:
    """The one fragment is an H.264 stream of as many frames as the instance tells."""
    read = dcmread(BytesIO(encoded(h264_instance(Series(_STUDY, "XC", 9), 1, moving_bars(12)))))
    assert read.file_meta.TransferSyntaxUID == MPEG4HP41
    (stream,) = generate_frames(read.PixelData, number_of_frames=1)
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=codec_name,profile,nb_read_frames"]
    found = subprocess.run([*command, "-of", "csv=p=0", "-"], input=stream, capture_output=True, check=True)
    assert found.stdout.decode().strip().split(",") == ["h264", "High", "12"]
    assert read.NumberOfFrames == 12


@pytest.mark.parametrize("kind", broken_files())
def test_broken_file_is_not_a_whole_image(kind: str) -> None:
    """No broken file reads as an image with all of its pixels."""
    try:
        read = dcmread(BytesIO(broken_files()[kind]))
        whole = len(read.get("PixelData", b"")) == 32 * 32 * 2 and read.get("PatientID") == "DEMO-0000"
    except (InvalidDicomError, EOFError, ValueError, KeyError, AttributeError, NotImplementedError):
        whole = False
    assert not whole
