"""Empty documents that stand for those of patients (table E.1-1: Encapsulated Document, D)."""

from __future__ import annotations

from pydicom.dataset import Dataset

from pacs.deidentify.refusals import REPLACED_DOCUMENTS
from pacs.deidentify.values import text

_PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>endobj
xref
0 4
0000000000 65535 f 
0000000009 00000 n 
0000000052 00000 n 
0000000101 00000 n 
trailer<</Size 4/Root 1 0 R>>
startxref
164
%%EOF
"""  # noqa: W291 -- lines of a cross-reference table have 20 bytes (ISO 32000-1, 7.5.4)
_CDA = b'<?xml version="1.0" encoding="UTF-8"?>\n<ClinicalDocument xmlns="urn:hl7-org:v3"/>\n'
_EMPTY = {"application/pdf": _PDF, "text/XML": _CDA}


def empty_document(dataset: Dataset) -> bytes:
    """Return what replaces the document of an encapsulated one, b"" for any other instance."""
    kind = REPLACED_DOCUMENTS.get(text(dataset, "SOPClassUID"))
    document = _EMPTY[kind] if kind else b""
    return document + bytes(len(document) % 2)
