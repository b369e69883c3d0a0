"""Entries of the worklist as bytes: what is written quickly is what pydicom would have written."""

from __future__ import annotations

import pytest
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from fixtures.hl7_messages import CorpusMessage
from fixtures.hl7_orders import entries
from pacs.errors import PacsError
from pacs.worklist.encoding import decoded, encoded

pytest_plugins = ("fixtures.hl7_corpus",)


def _by_pydicom(dataset: Dataset) -> bytes:
    target = DicomBytesIO()
    target.is_little_endian, target.is_implicit_VR = True, False
    write_dataset(target, dataset)
    return target.getvalue()


def _item(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


ODD = {
    "nothing": {},
    "empty values": {"PatientName": None, "PatientID": "", "ReferencedStudySequence": []},
    "several values": {"PatientTelephoneNumbers": ["1", "", "333"], "OtherPatientNames": ["A^B", "山田^太郎"]},
    "name in three writings": {"PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう"},
    "numbers": {"PatientWeight": "70.50", "PatientSize": 1.8, "PregnancyStatus": 3, "SeriesNumber": "007"},
    "binary": {"PixelPaddingValue": 3, "EncapsulatedDocument": b"%PDF"},
    "long text": {"PatientComments": "ñ" * 5000, "StrainAdditionalInformation": "x" * 70_001},
    "too long for its length": {"PatientComments": "x" * 70_001},
    "items in items": {
        "RequestAttributesSequence": [
            _item(ScheduledProtocolCodeSequence=[_item(CodeValue="A"), _item()]),
            _item(StudyInstanceUID="1.2.3"),
        ]
    },
    "item with its own character set": {
        "RequestAttributesSequence": [_item(SpecificCharacterSet="ISO_IR 100", RequestedProcedureDescription="ñandú")]
    },
}


@pytest.mark.filterwarnings("ignore:The value")
@pytest.mark.parametrize("attributes", ODD.values(), ids=ODD)
def test_entry_is_encoded_as_pydicom_does(attributes: dict[str, object]) -> None:
    """Whatever an entry holds, its bytes are pydicom's, and it is read back whole."""
    dataset = _item(**attributes)
    content = encoded(dataset)
    assert content == _by_pydicom(dataset)
    assert _by_pydicom(decoded(content)) == content


def test_entries_of_every_message_of_the_corpus_are_encoded_as_pydicom_does(real_hl7: list[CorpusMessage]) -> None:
    """What senders really write is written like that, too."""
    count = 0
    for message in real_hl7:
        try:
            found = entries(message.raw)
        except PacsError:
            continue
        for entry in found:
            count += 1
            assert encoded(entry.step.dataset) == _by_pydicom(entry.step.dataset)
    assert count
