"""Mapping files: what they can say, and that every mistake is told with its line and its cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.hl7_orders import entries, flat, order, readings
from pacs.hl7.orders import Action, MappingError, MappingLibrary, NoMapping
from pacs.hl7.orders.mapping import parse_mapping

OURS = Path(__file__).parents[2] / "plugins" / "pacs" / "hl7" / "mappings"
DEFAULT = parse_mapping((OURS / "default.yaml").read_text(encoding="utf-8"), "default", None)

BAD_FILES = [
    ("", 1, "the file is empty; write `extends: default`"),
    ("order: [", 2, "no YAML"),
    ("order:\n  A: b: c", 2, "no YAML"),
    ("- a\n- b", 1, "expected the sections of a mapping, found a list"),
    ("ordr:\n  Modality: OBR-24", 1, 'unknown section "ordr"; did you mean "order"?'),
    ("extends: other", 1, 'can only extend "default", found "other"'),
    ("order:\n  Modalty: OBR-24", 2, '"Modalty" is no attribute of DICOM; did you mean "Modality"?'),
    ("order:\n  Modality: OBR24", 2, '"OBR24" is no place in a message; write for example OBR-18'),
    ("order:\n  Modality:", 2, "expected a source such as OBR-18, or a list of them, found nothing"),
    ("order:\n  Modality: OBR-0", 2, "positions start at 1"),
    ("order:\n  Modality:\n    - OBR-24\n    - obr-24", 4, '"obr-24" is no place in a message'),
    ("order:\n  Modality: {form: OBR-24}", 2, 'unknown key "form"; did you mean "from"?'),
    ("order:\n  Modality: {table: modality}", 2, "Modality has no `from:`"),
    ("order:\n  Modality: {from: OBR-24, table: modalty}", 2, 'no table "modalty"; did you mean "modality"?'),
    ("order:\n  Modality: {from: OBR-24, if_bad: cut}", 2, '"cut" is none of: refuse, shorten, leave out'),
    ("order:\n  Modality: {from: OBR-24, as: CWE}", 2, "Modality has VR CS, which is not read `as: CWE`"),
    ("order:\n  Modality: {family: PID-5}", 2, "Modality is no person's name"),
    ("order:\n  RequestedProcedureCodeSequence: {from: OBR-44}", 2, "is a sequence; say `as:`"),
    ("order:\n  RequestedProcedureCodeSequence: {from: OBR-44, as: CE}", 2, '"CE" is none of: XPN'),
    ("order:\n  Modality: OBR-24\n  Modality: IPC-5", 3, '"Modality" stands twice (first in line 2)'),
    ("order:\n  Modality: OBX-5 where OBX-3", 2, "is no condition; write `OBX-3.2 is Weight`"),
    (
        "order:\n  Modality: OBX-5 where OBR-3 is A",
        2,
        "a condition looks at the segment that is read (OBX), not at OBR",
    ),
    ("order:\n  PatientID: PID-2", 2, "PatientID is not filled by a row; set `prefer:` or `only:` under `identity:`"),
    ("order:\n  ScheduledProcedureStepStatus: ORC-5", 2, "it follows from `order_control:`"),
    ("order:\n  InstitutionName: ConfidentialityCode", 2, '"ConfidentialityCode" needs a row for ConfidentialityCode'),
    ("order:\n  AccessionNumber: none", 1, "order: nothing fills AccessionNumber"),
    ("patient:\n  PatientName: {familiy: PID-5}", 2, 'unknown key "familiy"; did you mean "family"?'),
    ("patient:\n  PatientName: {family: PID-5, sufix: PID-5.4}", 2, 'did you mean "suffix"?'),
    ("identity:\n  prefered: [A]", 2, 'unknown key "prefered"; did you mean "prefer"?'),
    ("identity:\n  fields: PID-5", 2, 'patients\' numbers stand in PID-2, PID-3, PID-4, found "PID-5"'),
    ("order_control:\n  NW: shedule", 2, '"shedule" is nothing that can be done; did you mean "schedule"?'),
    ("order_control:\n  NW: [schedule]", 2, "expected one of schedule"),
    ("tables:\n  sex:\n    V: {M: F}", 3, "expected what it becomes"),
    ("ignore:\n  - OBR-24 = LAB", 2, "is no condition"),
]


def _faults(text: str) -> list[str]:
    """Return what is told of a file that extends the default, unless it is about the beginning itself."""
    whole = text if text.startswith(("extends", "- ")) or not text else f"{text}\nextends: default"
    try:
        parse_mapping(whole, "site", DEFAULT)
    except MappingError as error:
        return error.faults
    return []


@pytest.mark.parametrize(("text", "line", "told"), BAD_FILES)
def test_bad_mapping_tells_line_and_cure(text: str, line: int, told: str) -> None:
    """A mistake is told with the file, the line, what was found and what to write instead."""
    faults = _faults(text)
    assert any(fault.startswith(f"site.yaml, line {line}: ") and told in fault for fault in faults), faults


def test_bad_mapping_tells_all_mistakes_together() -> None:
    """Three mistakes are three lines, in the order of the file."""
    faults = _faults("order:\n  Modalty: OBR-24\n  InstitutionName: ORC17\norder_control:\n  NW: enter")
    assert [fault.split(":")[0] for fault in faults] == [f"site.yaml, line {line}" for line in (2, 3, 5)]


def test_words_of_a_mapping_stay_letters() -> None:
    """NO is no boolean, 08 no number: what YAML would make of them is not what a sender means."""
    text = "extends: default\ntables:\n  t: {NO: YES, 08: 010, on: ~}\n"
    with pytest.raises(MappingError, match="line 3: expected what it becomes"):
        parse_mapping(text, "site", DEFAULT)
    table = parse_mapping(text.replace(", on: ~", ""), "site", DEFAULT).tables["t"]
    assert (table.look_up("no"), table.look_up("08"), table.look_up("8")) == ("YES", "010", None)


def test_mapping_without_extends_is_complete_or_refused() -> None:
    """A file that starts from nothing must say everything that names an entry."""
    with pytest.raises(MappingError) as told:
        parse_mapping("order:\n  AccessionNumber: OBR-18", "site", DEFAULT)
    assert len(told.value.faults) == 11


def _write(folder: Path, name: str, *lines: str) -> None:
    (folder / f"{name}.yaml").write_text("\n".join(("extends: default", *lines)), encoding="utf-8")


def test_peer_mapping_says_only_what_is_different(tmp_path: Path) -> None:
    """A row, a word of a table, an action of a code are replaced; all others stay."""
    _write(
        tmp_path,
        "his",
        "order:",
        "  AccessionNumber: [OBR-3, OBR-18]",
        "  InstitutionName: none",
        "tables:",
        "  modality: {CR: DX}",
        "order_control:",
        "  NW: {CM: note}",
    )
    (entry,) = entries(order(), folder=tmp_path, mapping="his")
    values = flat(entry.step.dataset)
    assert (values["AccessionNumber"], values["Modality"], values["RequestedProcedureID"]) == ("F57", "DX", "RP57")
    assert "InstitutionName" not in values
    actions = [readings(order(ORC_5=status), folder=tmp_path, mapping="his")[0].action for status in ("SC", "CM")]
    assert actions == [Action.SCHEDULE, Action.NOTE]
    (other,) = entries(order(), folder=tmp_path)
    assert flat(other.step.dataset)["AccessionNumber"] == "ACC57"


def test_site_default_holds_for_every_peer(tmp_path: Path) -> None:
    """default.yaml in the site's folder is laid over ours, and the peers' files over both."""
    _write(tmp_path, "default", "tables:", "  modality: {CR: DX}")
    _write(tmp_path, "his", "order:", "  AccessionNumber: OBR-2")
    (plain,) = entries(order(), folder=tmp_path)
    (own,) = entries(order(), folder=tmp_path, mapping="his")
    assert flat(plain.step.dataset)["Modality"] == flat(own.step.dataset)["Modality"] == "DX"
    assert flat(own.step.dataset)["AccessionNumber"] == "P57"


class Clock:
    """A clock that a test moves."""

    seconds = 0.0

    def __call__(self) -> float:
        """Return the time, a second and a bit later each time."""
        self.seconds += 1.5
        return self.seconds


def _accession_path(library: MappingLibrary, name: str = "his") -> str:
    return library.mapping(name).order["AccessionNumber"].sources[0].text


def test_library_reads_a_changed_file_again(tmp_path: Path) -> None:
    """A change is in use with the next message, also a change of what a file extends."""
    _write(tmp_path, "his", "order:", "  AccessionNumber: OBR-2")
    library = MappingLibrary(tmp_path, clock=Clock())
    assert _accession_path(library) == "OBR-2"
    _write(tmp_path, "his", "order:", "  AccessionNumber: OBR-20  ")
    assert _accession_path(library) == "OBR-20"
    _write(tmp_path, "his")
    _write(tmp_path, "default", "order:", "  AccessionNumber: OBR-21")
    assert _accession_path(library) == "OBR-21"
    assert library.names() == ["default", "his"]


def test_library_keeps_the_good_mapping_when_the_file_turns_bad(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake is logged once with its line, and messages are read as before, until the file is good again."""
    _write(tmp_path, "his", "order:", "  AccessionNumber: OBR-2")
    library = MappingLibrary(tmp_path, clock=Clock())
    assert _accession_path(library) == "OBR-2"
    _write(tmp_path, "his", "order:", "  AccesionNumber: OBR-3")
    assert [_accession_path(library) for _ in range(3)] == ["OBR-2"] * 3
    assert library.faults() == [
        'his.yaml, line 3: "AccesionNumber" is no attribute of DICOM; did you mean "AccessionNumber"?'
    ]
    assert len(caplog.records) == 1
    _write(tmp_path, "his", "order:", "  AccessionNumber: OBR-3")
    assert (_accession_path(library), library.faults()) == ("OBR-3", [])
    (tmp_path / "his.yaml").unlink()
    assert _accession_path(library) == "OBR-3"


def test_library_refuses_to_guess_without_a_good_mapping(tmp_path: Path) -> None:
    """A sender whose mapping is missing or was never good gets none, not the default."""
    _write(tmp_path, "bad", "order:", "  Modalty: OBR-2")
    (tmp_path / "latin.yaml").write_bytes("extends: default # á".encode("latin-1"))
    library = MappingLibrary(tmp_path)
    for name, told in (("bad", "line 3"), ("none", "Put none.yaml there"), ("latin", "UTF-8")):
        with pytest.raises(NoMapping, match=told):
            library.mapping(name)
    with pytest.raises(MappingError) as faults:
        library.check(["bad", "none", ""])
    assert len(faults.value.faults) == 2


def test_example_mappings_are_good() -> None:
    """What is shipped as example can be used as it is."""
    examples = sorted((OURS / "examples").glob("*.yaml"))
    assert examples
    for example in examples:
        parse_mapping(example.read_text(encoding="utf-8"), example.stem, DEFAULT)
