"""deidentify.yaml: what it says, every mistake told with its line and its cure, and where secrets come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacs.deidentify import MissingSecret, Projects, ProjectsError, secret_of
from pacs.deidentify.masks import Rectangle
from pacs.deidentify.options import Clean, Retain

GOOD = """\
projects:
  lung-study:
    description: Lung nodules, ethics vote 12/2026
    secret: ${DEIDENTIFY_LUNG}
    retain: [patient characteristics, modified dates, safe private]
    clean: [descriptors, structured content, graphics, pixel data]
    pseudonym_prefix: LUNG-
    issuer: HOSPITAL
    shift_days: 365
    oldest_age_years: 84
    words: [Lungenscreening, low]
    masks: masks.yaml
    unmasked: declared
    keep_private:
      SIEMENS MR HEADER: [0019xx0C, "0019,xx28"]
    documents: replace
    without_patient_id: study
    set:
      ClinicalTrialProtocolID: LUNG-2026
  teaching:
    secret: ${DEIDENTIFY_TEACHING}
"""
MASKS = """\
us-header:
  when: {Modality: US, Manufacturer: "GE*", Rows: 600, Columns: 800}
  blank: [0 0 800 60, "700, 560, 100, 40"]
capture:
  when: {Rows: "*", Columns: "*", StationName: PACS-1}
  blank: nothing
"""

BAD_PROJECTS = [
    ("", 1, "the file is empty"),
    ("projects: [", 1, "no YAML"),
    ("- a", 1, "expected `projects:`, found a list"),
    ("project: {}", 1, 'unknown key "project"; did you mean "projects"?'),
    ("projects:\n  a b:\n    secret: ${X}", 2, '"a b" is no name of a project'),
    ("projects:\n  a: yes", 2, 'expected the settings of a project, found "yes"'),
    ("projects:\n  a:\n    retain: []", 2, "a project needs `secret: ${NAME}`"),
    ("projects:\n  a:\n    secret: ${X}\n  a:\n    secret: ${X}", 4, '"a" stands twice (first in line 2)'),
]
BAD_SETTINGS = [
    ("secret: hunter2-hunter2", 3, "the name of a credential or an environment variable, not the secret itself"),
    ("retian: [uids]", 4, 'unknown key "retian"; did you mean "retain"?'),
    ("retain: [uid]", 4, 'unknown "uid"; did you mean "uids"?'),
    ("retain: [full dates, modified dates]", 4, '"full dates" and "modified dates" exclude each other; remove one.'),
    ("clean: [pixels]", 4, 'unknown "pixels"; '),
    ("shift_days: 10\n    retain: [modified dates]", 4, 'expected 30 to 3650 days, found "10"'),
    ("shift_days: 90", 4, "dates move with `retain: [modified dates]` only; add it."),
    ("oldest_age_years: old", 4, 'expected 1 to 150 years, found "old"'),
    ("pseudonym_prefix: A B", 4, "can't stand before pseudonyms"),
    ("documents: drop", 4, '"drop" is none of: refuse, replace'),
    ("unmasked: never", 4, '"never" is none of: refuse, declared'),
    ("keep_private: {ACME: [0019xx0C]}", 4, "private elements stay with `retain: [safe private]` only"),
    ("retain: [safe private]\n    keep_private: {ACME: [0018xx0C]}", 5, "is no private element; write for example"),
    ("set: {PatientNam: X}", 4, '"PatientNam" is no attribute of DICOM; did you mean "PatientName"?'),
    ("set: {StudyDate: '20260101'}", 4, "StudyDate can't be set"),
    ("set: {PatientID: X}", 4, "PatientID can't be set"),
    ("masks: masks.yaml", 4, "masks are laid with `clean: [pixel data]` only; add it."),
    ("clean: [pixel data]\n    masks: ../masks.yaml", 5, "is a path; a file of masks stands beside this one"),
]
BAD_MASKS = [
    ("a: [b]", 1, "expected `when:` and `blank:`, found a list"),
    ("a: {when: {Rows: 1, Columns: 1}}", 1, 'the mask "a" needs `blank:`'),
    ("a:\n  when: {Modality: US}\n  blank: nothing", 2, "a mask needs Rows and Columns"),
    (
        "a:\n  when: {Rows: 1, Columns: 1, Station: X}\n  blank: nothing",
        2,
        'unknown key "Station"; did you mean "StationName"?',
    ),
    (
        "a:\n  when: {Rows: 1, Columns: 1}\n  blank: [0 0 10]",
        3,
        '"0 0 10" is no rectangle; write left, top, width, height',
    ),
    ("a:\n  when: {Rows: 1, Columns: 1}\n  blank: [0 0 10 0]", 3, "a rectangle of no width or height blanks nothing"),
    ("a:\n  when: {Rows: 1, Columns: 1}\n  blank: []", 3, "expected rectangles, found none; write `blank: nothing`"),
]


def _faults(folder: Path) -> list[str]:
    with pytest.raises(ProjectsError) as caught:
        Projects.load(folder / "deidentify.yaml")
    return caught.value.faults


def _written(folder: Path, text: str, masks: str = MASKS) -> Path:
    (folder / "masks.yaml").write_text(masks)
    (folder / "deidentify.yaml").write_text(text)
    return folder / "deidentify.yaml"


def test_projects_say_what_the_file_says(tmp_path: Path) -> None:
    """Every key of a project arrives in it."""
    projects = Projects.load(_written(tmp_path, GOOD))
    lung = projects.get("lung-study")
    assert projects.names() == ["lung-study", "teaching"]
    assert lung.retain == {Retain.PATIENT, Retain.MODIFIED_DATES, Retain.SAFE_PRIVATE}
    assert lung.clean == set(Clean)
    assert (lung.pseudonym_prefix, lung.issuer, lung.shift_days, lung.oldest_age_years) == (
        "LUNG-",
        "HOSPITAL",
        365,
        84,
    )
    assert "lungenscreening" in lung.words
    assert [mask.name for mask in lung.masks] == ["us-header", "capture"]
    assert lung.masks[0].rectangles == (Rectangle(0, 0, 800, 60), Rectangle(700, 560, 800, 600))
    assert lung.masks[1].rectangles == ()
    assert lung.safe_elements["SIEMENS MR HEADER", 0x0019] >= {0x0C, 0x28}
    assert (lung.unmasked, lung.documents, lung.without_patient_id) == ("declared", "replace", "study")
    assert lung.settings == {"ClinicalTrialProtocolID": "LUNG-2026"}
    teaching = projects.get("teaching")
    assert (teaching.documents, teaching.unmasked, teaching.without_patient_id) == ("refuse", "refuse", "refuse")
    assert not teaching.retain | teaching.clean


def test_no_file_is_no_project(tmp_path: Path) -> None:
    """A site without deidentify.yaml has no projects, and asking for one says so."""
    projects = Projects.load(tmp_path / "deidentify.yaml")
    assert projects.names() == []
    with pytest.raises(ProjectsError, match='there is no project "lung"; known: none'):
        projects.get("lung")


@pytest.mark.parametrize(("text", "line", "message"), BAD_PROJECTS, ids=[message for _, _, message in BAD_PROJECTS])
def test_bad_file_is_told_with_line_and_cure(tmp_path: Path, text: str, line: int, message: str) -> None:
    """A mistake in the file's form is told with its line."""
    _written(tmp_path, text)
    assert any(fault.startswith(f"deidentify.yaml, line {line}: ") and message in fault for fault in _faults(tmp_path))


@pytest.mark.parametrize(("text", "line", "message"), BAD_SETTINGS, ids=[message for _, _, message in BAD_SETTINGS])
def test_bad_setting_is_told_with_line_and_cure(tmp_path: Path, text: str, line: int, message: str) -> None:
    """A mistake in a project is told with its line, and what would be right; a secret in the file is not repeated."""
    secret = "" if text.startswith("secret") else "secret: ${X}\n    "
    _written(tmp_path, f"projects:\n  study:\n    {secret}{text}\n")
    found = _faults(tmp_path)
    assert any(fault.startswith(f"deidentify.yaml, line {line}: ") and message in fault for fault in found), found
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(("masks", "line", "message"), BAD_MASKS, ids=[message for _, _, message in BAD_MASKS])
def test_bad_mask_is_told_with_line_and_cure(tmp_path: Path, masks: str, line: int, message: str) -> None:
    """A mistake in the file of masks is told with that file's line."""
    _written(tmp_path, GOOD, masks)
    found = _faults(tmp_path)
    assert any(fault.startswith(f"masks.yaml, line {line}: ") and message in fault for fault in found), found


def test_missing_file_of_masks_is_a_fault(tmp_path: Path) -> None:
    """A project whose masks are missing is no project without masks."""
    _written(tmp_path, GOOD)
    (tmp_path / "masks.yaml").unlink()
    assert any("masks.yaml, line 1: can't be read" in fault for fault in _faults(tmp_path))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Three mistakes are three faults, in the order of their lines."""
    _written(tmp_path, "projects:\n  a:\n    secret: x\n    retain: [b]\n    clean: [c]\n")
    assert [fault.partition(":")[0][-1] for fault in _faults(tmp_path)] == ["3", "4", "5"]


def test_secret_is_a_credential_before_it_is_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credential of systemd comes first, the environment second."""
    lung = Projects.load(_written(tmp_path, GOOD)).get("lung-study")
    monkeypatch.setenv("DEIDENTIFY_LUNG", "v" * 32)
    assert secret_of(lung) == b"v" * 32
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "DEIDENTIFY_LUNG").write_text("c" * 32 + "\n")
    assert secret_of(lung, tmp_path / "credentials") == b"c" * 32
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert secret_of(lung) == b"c" * 32


@pytest.mark.parametrize(
    ("value", "message"), [("", "is neither a credential nor"), ("short", "has 5 bytes, expected 32")]
)
def test_missing_or_short_secret_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    """No secret, or one that can be guessed, is no secret; the message does not repeat it."""
    monkeypatch.setenv("DEIDENTIFY_LUNG", value)
    with pytest.raises(MissingSecret, match=message) as caught:
        secret_of(Projects.load(_written(tmp_path, GOOD)).get("lung-study"))
    assert "openssl rand -hex 32" in str(caught.value)
    assert "short" not in str(caught.value)
