"""Identifiers planted wherever a file can hold one: none is in what comes out, whatever the options."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from fixtures.deidentification import SECRET, as_file, instance, project
from pacs.deidentify import Report, deidentify_file
from pacs.deidentify.__main__ import main
from pacs.deidentify.options import Clean, Option, Retain
from pacs.deidentify.table import confidentiality_profile

pytestmark = pytest.mark.usefixtures("pydicom_as_before")

PLANTS = 500
_SEED = 20261122
_TEXT_LENGTHS = {"AE": 16, "SH": 16, "LO": 64, "PN": 64, "ST": 200, "LT": 200, "UT": 200, "UC": 200, "UR": 200}
# Free texts that the table does not list, and texts and codes of which only what is the patient's must go.
LONG_CODE = 0x00080119
_LONG = ("LT", "ST", "UC", "UT", "PN", "UR")
OPTIONS: list[tuple[Option, ...]] = [
    (),
    (Clean.DESCRIPTORS, Clean.STRUCTURED, Clean.GRAPHICS, Clean.PIXELS),
    (Retain.MODIFIED_DATES, Retain.PATIENT, Retain.SAFE_PRIVATE, Clean.DESCRIPTORS),
]


class Planter:
    """Makes identifiers that stand nowhere else, and remembers them."""

    def __init__(self) -> None:
        self.random = random.Random(_SEED)
        self.planted: list[str] = []

    def word(self, length: int = 12) -> str:
        """Return a new identifier of letters and digits."""
        made = (
            "ZQ"
            + "".join(self.random.choices("BCDFGHJKLMNPRSTVWX", k=length - 5))
            + f"{self.random.randrange(1000):03}"
        )
        self.planted.append(made)
        return made

    def uid(self) -> str:
        """Return a new UID that is nobody's."""
        made = f"1.3.6.1.4.1.99999.{self.random.getrandbits(100)}"
        self.planted.append(made)
        return made


def _tags(*vrs: str, listed: bool) -> list[int]:
    in_table = {
        int(row.key, 16)
        for row in confidentiality_profile()
        if row.key.isalnum() and "x" not in row.key and row.key != "private"
    }
    return [
        tag
        for tag, (vr, *_) in DicomDictionary.items()
        if vr in vrs and (tag in in_table) is listed and 0x0008 <= tag >> 16 < 0x5000
    ]


def _plant(dataset: Dataset, tag: int, planter: Planter) -> None:
    vr = DicomDictionary[tag][0]
    dataset[tag] = DataElement(
        tag, vr, planter.uid() if vr == "UI" else planter.word(_TEXT_LENGTHS.get(vr, 16) // 2 or 8)
    )


def planted_instance(planter: Planter) -> Dataset:
    """Return an instance with an identifier in every kind of place."""
    dataset = instance()
    for keyword in ("PatientName", "PatientID", "AccessionNumber", "ReferringPhysicianName", "InstitutionName"):
        setattr(dataset, keyword, planter.word())
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = (planter.uid() for _ in range(3))
    listed = _tags("AE", "LO", "SH", "ST", "LT", "UT", "UC", "UR", "PN", "UI", listed=True)
    unlisted = _tags(*_LONG, listed=False)
    for tag in planter.random.sample([tag for tag in listed if tag not in dataset], 210):
        _plant(dataset, tag, planter)
    for tag in planter.random.sample([tag for tag in unlisted if tag != LONG_CODE], 60):
        _plant(dataset, tag, planter)
    dataset.ReferencedSeriesSequence = [_nested(planter, listed, depth) for depth in (1, 2, 3, 4)]
    _plant_private(dataset, planter)
    _plant_what_is_the_patients(dataset)
    for group in (0x5000, 0x6000, 0x6002):
        dataset.add_new((group, 0x0022), "LO", planter.word())
        dataset.add_new((group, 0x3000), "OB", planter.word().encode())
    return dataset


def _nested(planter: Planter, tags: list[int], depth: int) -> Dataset:
    item = Dataset()
    for tag in planter.random.sample(tags, 30):
        _plant(item, tag, planter)
    for _ in range(depth):
        outer = Dataset()
        outer.ReferencedInstanceSequence = [item]
        item = outer
    return item


def _plant_private(dataset: Dataset, planter: Planter) -> None:
    for group in range(0x0009, 0x0029, 2):
        block = dataset.private_block(group, planter.word(), create=True)
        block.add_new(0x01, "LO", planter.word())
        block.add_new(0x02, "OB", planter.word().encode())
        block.add_new(0x03, "SQ", [instance(PatientComments=planter.word())])
    safe = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    safe.add_new(0x0C, "IS", "800")
    safe.add_new(0x99, "LO", planter.word())


def _plant_what_is_the_patients(dataset: Dataset) -> None:
    """Write what says who it is once more, into attributes that stay."""
    dataset.ManufacturerModelName = f"Scanner of {dataset.PatientName}"
    dataset.SoftwareVersions = [str(dataset.PatientID), "1.0"]
    dataset.ConvolutionKernel = str(dataset.AccessionNumber)
    dataset.BodyPartExamined = str(dataset.PatientID).upper()[:16]
    dataset.SequenceName = str(dataset.ReferringPhysicianName)[:16]
    dataset.ScanOptions = str(dataset.AccessionNumber).upper()[:16]


def planted_file(path: Path, planter: Planter) -> Path:
    """Write it with identifiers in the preamble, the file meta information and the name of the file."""
    dataset = planted_instance(planter)
    dataset.preamble = planter.word(40).encode().ljust(128, b" ")
    meta = dataset.file_meta
    meta.SourceApplicationEntityTitle = planter.word()
    meta.SendingApplicationEntityTitle = planter.word()
    meta.ImplementationVersionName = planter.word()
    meta.PrivateInformationCreatorUID = planter.uid()
    meta.PrivateInformation = planter.word().encode()
    while len(planter.planted) < PLANTS:
        dataset.add_new(0x00080000 + 0x1001000 + 2 * len(planter.planted), "LO", planter.word())
    file = path / f"{planter.word()}.dcm"
    file.write_bytes(as_file(dataset))
    return file


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "basic profile alone")
def test_no_planted_identifier_comes_out(tmp_path: Path, options: tuple[Option, ...]) -> None:
    """Of 500 identifiers in tags, sequences, private tags, UIDs, names, preamble and file meta none comes out."""
    planter = Planter()
    source = planted_file(tmp_path, planter)
    assert len(planter.planted) >= PLANTS
    held = source.read_bytes()
    assert sum(one.encode() in held or one in source.name for one in planter.planted) == len(planter.planted)
    target, result = deidentify_file(source, tmp_path / "out", project(*options), SECRET)
    report = Report()
    report.add(result.changes)
    told = json.dumps([asdict(change) for change in result.changes]) + json.dumps(report.as_json()) + str(target)
    given = target.read_bytes().upper()
    assert [one for one in planter.planted if one.upper().encode() in given or one in told] == []
    pydicom.dcmread(target)


def test_command_tells_nothing_either(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    """Neither what the command prints nor any name of a file holds an identifier, of what it refuses too."""
    planter = Planter()
    (tmp_path / "in").mkdir()
    planted_file(tmp_path / "in", planter)
    (tmp_path / "in" / f"{planter.word()}.txt").write_text(planter.word())
    (tmp_path / "deidentify.yaml").write_text("projects:\n  study:\n    secret: ${STUDY_SECRET}\n")
    monkeypatch.setenv("STUDY_SECRET", SECRET.decode())
    arguments = [str(tmp_path / "in"), str(tmp_path / "out"), "--project", "study"]
    assert main([*arguments, "--projects", str(tmp_path / "deidentify.yaml")]) == 1
    told = "".join(capsys.readouterr()) + "".join(str(path) for path in (tmp_path / "out").rglob("*"))
    assert [one for one in planter.planted if one in told] == []
    assert "file 2 is refused: The file is no DICOM file." in told or "file 1 is refused" in told
