"""Who and what a rehearsal is about: a patient who never lived, an order, an image of nothing."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from pacs.hl7.charsets import encode
from pacs.monitoring.identity import PATIENT_PREFIX

AUTHORITY = "REHEARSAL"
# Letters that go wrong when anything on the way mistakes the character set; Latin-1 has them all.
GIVEN = "ÑANDÚ ÉÇÃO"
BIRTH_DATE, SEX = "19700101", "O"
ORDER_TYPES = ("ORM^O01", "OMI^O23")
_SIDE_PIXELS = 64


@dataclass(frozen=True)
class Play:
    """What is played, and what it is called wherever it shows.

    Attributes
    ----------
    prefix : of the numbers of its patients, which nobody has by chance.
    letters : of the numbers of its orders.
    """

    prefix: str
    family: str
    procedure: str
    letters: str

    @property
    def name(self) -> str:
        """The patients' name (VR PN)."""
        return f"{self.family}^{GIVEN}"

    def has(self, patient_id: str) -> bool:
        """Tell whether a number is that of a patient of this play."""
        return re.fullmatch(rf"{self.prefix}[0-9A-F]{{12}}", patient_id) is not None


REHEARSAL = Play("REHEARSAL-", "REHEARSAL", "Go-live rehearsal", "RH")
GOLDEN_SIGNAL = Play(PATIENT_PREFIX, "PROBE", "Golden signal", "PB")
PLAYS = (REHEARSAL, GOLDEN_SIGNAL)


def is_played(patient_id: str) -> bool:
    """Tell whether a number is that of a patient who is nobody."""
    return any(play.has(patient_id) for play in PLAYS)


@dataclass(frozen=True, kw_only=True)
class Fiction:
    """What one modality is rehearsed with.

    Attributes
    ----------
    number : what all its identifiers are made of, 12 hexadecimal digits that nobody can have by chance.
    start : when the step is to be done, in the hospital's time.
    application, facility : MSH-3 and MSH-4, as the sender writes them.
    authority : who gave the patient's number, one that the sender's mapping trusts.
    charset : HL7's name of the one that the sender writes in.
    """

    number: str
    ae_title: str
    modality: str
    start: datetime
    application: str
    facility: str
    authority: str
    charset: str
    play: Play = REHEARSAL

    @staticmethod
    def new_number() -> str:
        """Return a number that was never used."""
        return secrets.token_hex(6).upper()

    @property
    def patient_id(self) -> str:
        """The patient's number, by which every trace is found again."""
        return f"{self.play.prefix}{self.number}"

    @property
    def control_id(self) -> str:
        """MSH-10 of the order."""
        return f"{self.play.letters}{self.number}"

    @property
    def accession_number(self) -> str:
        """Accession number, 14 characters."""
        return f"{self.play.letters}{self.number}"

    @property
    def study_instance_uid(self) -> UID:
        """UID of the study, always the same for a number."""
        return generate_uid(prefix="2.25.", entropy_srcs=[self.play.family.lower(), self.number])

    def order(self, message_type: str) -> bytes:
        """Return the order as a hospital's system would send it, in its character set."""
        is_omi = message_type == "OMI^O23"
        when, now = f"{self.start:%Y%m%d%H%M%S}", f"{datetime.now().astimezone():%Y%m%d%H%M%S%z}"
        accession = self.accession_number
        numbers = f"P{self.number}^{self.application or 'HIS'}|F{self.number}^PACS"
        procedure = f"{self.play.letters}^{self.play.procedure}^L"
        header = f"MSH|^~\\&|{self.application}|{self.facility}|PACS||{now}||{message_type}|{self.control_id}|T"
        request = f"OBR|1|{numbers}|{procedure}|R|{when}||||||||||||{accession}|{accession}|{accession}"
        segments = [
            f"{header}|{'2.5.1' if is_omi else '2.3.1'}|||AL|NE||{self.charset}",
            f"PID|1||{self.patient_id}^^^{self.authority}^PI||{self.play.name}||{BIRTH_DATE}|{SEX}",
            "PV1|1|O",
            f"ORC|NW|{numbers}||SC||1^^^{when}^^R||{now}",
            *([f"TQ1|1||||||{when}||R"] if is_omi else []),
            f"{request}||||{self.modality}|||1^^^{when}^^R",
            self._control(procedure) if is_omi else f"ZDS|{self.study_instance_uid}^^Application^DICOM",
        ]
        return encode("".join(f"{segment}\r" for segment in segments), self.charset)

    def _control(self, procedure: str) -> str:
        """Return the IPC segment, which alone can name a station (IHE RAD-4)."""
        accession, where = self.accession_number, f"{self.modality}|{procedure}|||{self.ae_title}"
        return f"IPC|{accession}|{accession}|{self.study_instance_uid}|{accession}|{where}"

    def image(self, entry: Dataset) -> Dataset:
        """Return an image for an entry of the worklist, as a modality makes it: what the entry says is taken over."""
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SpecificCharacterSet = entry.get("SpecificCharacterSet", "ISO_IR 100")
        image.SOPClassUID, image.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid(prefix=None)
        for keyword in ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"):
            setattr(image, keyword, entry.get(keyword, ""))
        image.StudyInstanceUID = entry.StudyInstanceUID
        image.AccessionNumber = entry.get("AccessionNumber", "")
        image.StudyDate, image.StudyTime = f"{self.start:%Y%m%d}", f"{self.start:%H%M%S}"
        image.StudyID, image.ReferringPhysicianName = "", ""
        image.StudyDescription = image.SeriesDescription = self.play.procedure
        image.SeriesInstanceUID, image.Modality = generate_uid(prefix=None), self.modality
        image.SeriesNumber = image.InstanceNumber = 1
        image.ConversionType = "SYN"
        _draw(image)
        return image


def _draw(image: Dataset) -> None:
    """Give an image its pixels: a wedge from black to white."""
    wedge = np.tile(np.linspace(0, 255, _SIDE_PIXELS, dtype=np.uint8), (_SIDE_PIXELS, 1))
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows = image.Columns = _SIDE_PIXELS
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation = 7, 0
    image.PixelData = wedge.tobytes()
