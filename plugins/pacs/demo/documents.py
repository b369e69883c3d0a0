"""Documents beside the images: structured reports and encapsulated PDF."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage, EncapsulatedPDFStorage

from pacs.demo.attributes import Series, dicom_date, dicom_time, new_instance


def text_report(
    series: Series, instance_number: int, paragraphs: Sequence[str], images: Sequence[Dataset] = ()
) -> Dataset:
    """Make a Basic Text SR (DICOM PS3.3 A.35.1) with one text item for each paragraph, about `images`."""
    dataset = new_instance(series, BasicTextSRStorage, instance_number)
    _add_content_moment(dataset, series)
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ConceptNameCodeSequence = [_code("18748-4", "LN", "Diagnostic imaging report")]
    dataset.ContentSequence = [_text_item(paragraph) for paragraph in paragraphs]
    if images:
        dataset.CurrentRequestedProcedureEvidenceSequence = [_evidence(images)]
    return dataset


def pdf_document(series: Series, instance_number: int, title: str, lines: Sequence[str]) -> Dataset:
    """Make an Encapsulated PDF (DICOM PS3.3 A.45.1) with one page of text."""
    dataset = new_instance(series, EncapsulatedPDFStorage, instance_number)
    _add_content_moment(dataset, series)
    dataset.AcquisitionDateTime = dicom_date(series.study.date) + dicom_time(series.study.time)
    dataset.ConversionType = "SYN"
    dataset.BurnedInAnnotation = "YES"
    dataset.DocumentTitle = title
    dataset.ConceptNameCodeSequence = []
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document = pdf_page([title, "", *lines])
    dataset.EncapsulatedDocumentLength = len(document)
    dataset.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    return dataset


def pdf_page(lines: Sequence[str]) -> bytes:
    """Return a PDF 1.4 file with one A4 page of text in Helvetica; the text must fit Latin-1."""
    shown = b" T* ".join(b"(" + _escaped(line) + b") Tj" for line in lines)
    content = b"BT /F1 12 Tf 16 TL 60 780 Td " + shown + b" ET"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Font << /F1 5 0 R >> >>",
    )
    document, offsets = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(document))
        document += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    entries = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    count = len(objects) + 1
    table = b"xref\n0 %d\n0000000000 65535 f \n%b" % (count, entries)
    return document + table + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (count, len(document))


def _escaped(line: str) -> bytes:
    return line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)").encode("latin-1")


def _add_content_moment(dataset: Dataset, series: Series) -> None:
    dataset.ContentDate = dicom_date(series.study.date)
    dataset.ContentTime = dicom_time(series.study.time)


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item


def _text_item(paragraph: str) -> Dataset:
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "TEXT"
    item.ConceptNameCodeSequence = [_code("121071", "DCM", "Finding")]
    item.TextValue = paragraph
    return item


def _evidence(images: Sequence[Dataset]) -> Dataset:
    """List `images`, all of one study, by series."""
    by_series: dict[str, list[Dataset]] = {}
    for image in images:
        reference = Dataset()
        reference.ReferencedSOPClassUID = image.SOPClassUID
        reference.ReferencedSOPInstanceUID = image.SOPInstanceUID
        by_series.setdefault(image.SeriesInstanceUID, []).append(reference)
    study = Dataset()
    study.StudyInstanceUID = images[0].StudyInstanceUID
    study.ReferencedSeriesSequence = []
    for series_instance_uid, references in by_series.items():
        item = Dataset()
        item.SeriesInstanceUID = series_instance_uid
        item.ReferencedSOPSequence = references
        study.ReferencedSeriesSequence.append(item)
    return study
