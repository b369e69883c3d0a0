"""Messages handled as processing does it, on SQLite and PostgreSQL: what they do to the worklist, and what never."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fixtures.hl7_messages import CorpusMessage, answered
from fixtures.hl7_orders import OBR, ORC, PID, ZDS, Desk, flat, message, order
from fixtures.study_rows import store_rows, study_row
from pacs.database import Database
from pacs.hl7.errors import Hl7Error
from pacs.hl7.orders import OrdersSettings, UnusableMessage
from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import ChangeKind

# A date in the order of another country; numbers that no modality could use; an appointment that nothing names.
REFUSED = {
    "0003_ORM_O01.hl7": "ORC^1^7^1^4",
    "0004_ORM_O01.hl7": "ORC^1^7^1^4",
    "0005_OMG_O19.hl7": "OBR^1^20",
    "0006_OMI_O23.hl7": "IPC^1^4",
    "0007_OMI_O23.hl7": "OBR^1^20",
    "0011_SIU_S12.hl7": "AIS^1",
}

pytest_plugins = ("fixtures.postgresql", "fixtures.databases", "fixtures.hl7_corpus")

LATER = "20260310083100"
LATEST = "20260310083200"
BARE = {"OBR_18": "", "OBR_19": "", "OBR_20": "", "ZDS_1": ""}


@pytest.fixture
def desk(database: Database) -> Desk:
    """Return an empty worklist with the handlers before it."""
    return Desk(database)


def _sent(text: str, at: str) -> str:
    return text.replace("20260310083000", at)


def _what(result: Any) -> list[str]:
    return [entry["what"] for entry in result.details["entries"]]


def test_order_is_entered_once(desk: Desk) -> None:
    """The same order twice is one entry, and the second changes nothing."""
    assert _what(desk.take(order())) == ["new"]
    assert _what(desk.take(_sent(order(), LATER))) == ["unchanged"]
    assert desk.row("ACC57").status == StepStatus.SCHEDULED
    assert desk.row("ACC57").patient_name == "MUÑOZ IBÁÑEZ^JOSÉ MARÍA"


STATUSES = [
    ("CA", "CA", StepStatus.CANCELED),
    ("DC", "", StepStatus.DISCONTINUED),
    ("SC", "IP", StepStatus.STARTED),
    ("SC", "CM", StepStatus.COMPLETED),
    ("XO", "CM", StepStatus.COMPLETED),
    ("HD", "", StepStatus.CANCELED),
    ("UA", "", StepStatus.SCHEDULED),
    ("XO", "SC", StepStatus.SCHEDULED),
]


@pytest.mark.parametrize(("control", "order_status", "status"), STATUSES)
def test_order_control_changes_the_status(desk: Desk, control: str, order_status: str, status: StepStatus) -> None:
    """What ORC-1 and ORC-5 ask for is done, and all else of the entry stays."""
    desk.take(order())
    before = flat(desk.row("ACC57").dataset)
    desk.take(_sent(order(ORC_1=control, ORC_5=order_status), LATER))
    assert desk.row("ACC57").status == status
    assert flat(desk.row("ACC57").dataset) == before


@pytest.mark.parametrize(
    "changed",
    [
        {"OBR_19": "", "OBR_20": "", "ZDS_1": ""},
        {"OBR_18": "", "OBR_19": "", "OBR_20": "", "ZDS_1": ""},
        {"OBR_2": "", "OBR_3": "", "ORC_2": "", "ORC_3": ""},
        {f"OBR_{number}": "" for number in (1, 2, 3, 4, 18, 19, 20, 24)} | {"ZDS_1": ""},
        {"ORC_7": "^^^NO_DATE", "PID_5": "X" * 99},
    ],
    ids=["accession", "order numbers", "no order numbers", "no OBR", "bad values elsewhere"],
)
def test_cancellation_finds_its_entry(desk: Desk, changed: dict[str, str]) -> None:
    """A cancellation says little, and what is wrong with the rest of it doesn't matter."""
    desk.take(order())
    result = desk.take(_sent(order(ORC_1="CA", **changed), LATER))
    assert _what(result) == ["status"]
    assert desk.row("ACC57").status == StepStatus.CANCELED


def test_order_comes_back_after_its_cancellation(desk: Desk) -> None:
    """NW after CA is scheduled again; NW of before the CA is not, even if it comes late."""
    desk.take(order())
    desk.take(_sent(order(ORC_1="CA"), LATER))
    desk.take(order())
    assert desk.row("ACC57").status == StepStatus.CANCELED
    desk.take(_sent(order(), LATEST))
    assert desk.row("ACC57").status == StepStatus.SCHEDULED


def _about(control: str, at: str) -> str:
    """Return a message that names the order and says nothing else of it."""
    return message(PID, f"ORC|{control}|P57^HIS|F57^RIS", sent_at=at)


def _told(desk: Desk, *controls: str) -> None:
    """Have the order spoken of, a minute apart; "RL+" and "XO" with all that there is to say of it."""
    for minute, control in enumerate(controls, start=31):
        at = f"2026031008{minute}00"
        whole = _sent(order(ORC_1=control.rstrip("+"), ORC_7="^^^20260312090000"), at)
        desk.take(whole if control in ("RL+", "XO", "NW") else _about(control, at))


@pytest.mark.parametrize(
    ("controls", "status", "start"),
    [
        (["HD"], StepStatus.CANCELED, "20260310090000"),
        (["HD", "RL"], StepStatus.SCHEDULED, "20260310090000"),
        (["OH", "RL"], StepStatus.SCHEDULED, "20260310090000"),
        (["HD", "HD", "RL"], StepStatus.SCHEDULED, "20260310090000"),
        (["HD", "RL+"], StepStatus.SCHEDULED, "20260312090000"),
        (["HD", "XO", "RL"], StepStatus.SCHEDULED, "20260312090000"),
        (["HD", "RL", "CA", "RL"], StepStatus.CANCELED, "20260310090000"),
        (["CA", "RL"], StepStatus.CANCELED, "20260310090000"),
        (["CA", "RL+"], StepStatus.CANCELED, "20260312090000"),
        (["CA", "HD", "RL"], StepStatus.CANCELED, "20260310090000"),
        (["HD", "CA", "RL"], StepStatus.CANCELED, "20260310090000"),
        (["HD", "CA", "RL+"], StepStatus.CANCELED, "20260312090000"),
        (["HD", "CA", "NW", "HD", "RL"], StepStatus.SCHEDULED, "20260312090000"),
        (["DC", "RL"], StepStatus.DISCONTINUED, "20260310090000"),
        (["RL"], StepStatus.SCHEDULED, "20260310090000"),
    ],
    ids=str,
)
def test_release_brings_back_what_is_on_hold(desk: Desk, controls: list[str], status: StepStatus, start: str) -> None:
    """RL ends HD, with or without the order itself; what was canceled for good stays so."""
    desk.take(order())
    _told(desk, *controls)
    row = desk.row("ACC57")
    assert (row.status, row.start_key, row.modality) == (status, start, "CR")


def test_release_of_an_unknown_order(desk: Desk) -> None:
    """RL enters an order that it says, and tells of one that it only names; what was on hold first comes, too."""
    assert _what(desk.take(_about("RL", LATER))) == ["unknown"]
    assert _what(desk.take(_sent(order(ORC_1="HD"), LATER))) == ["new"]
    assert _what(desk.take(_sent(order(ORC_1="RL"), LATEST))) == ["status"]
    assert _what(desk.take(_sent(order(ORC_1="RL"), LATEST).replace("57", "58"))) == ["new"]
    assert (desk.row("ACC57").status, desk.row("ACC58").status) == (StepStatus.SCHEDULED, StepStatus.SCHEDULED)


def test_cancellation_that_overtakes_its_order_counts(desk: Desk) -> None:
    """CA first, then the NW that was sent before it: nobody is examined."""
    desk.take(_sent(order(ORC_1="CA"), LATER))
    desk.take(order())
    assert desk.row("ACC57").status == StepStatus.CANCELED


def test_status_of_an_unknown_order_is_told(desk: Desk) -> None:
    """A status message without its order makes no entry, and the journal says so."""
    assert _what(desk.take(order(ORC_1="SC", ORC_5="IP"))) == ["unknown"]
    assert desk.rows("ACC57") == []


def test_completed_step_stays_completed(desk: Desk) -> None:
    """What was done is not undone by a late cancellation, start or arrival."""
    desk.take(order())
    desk.take(_sent(order(ORC_1="SC", ORC_5="CM"), LATER))
    for control, order_status in (("CA", ""), ("SC", "IP"), ("NW", ""), ("DC", "")):
        desk.take(_sent(order(ORC_1=control, ORC_5=order_status), LATEST))
        assert desk.row("ACC57").status == StepStatus.COMPLETED


def test_update_changes_what_it_says_and_no_more(desk: Desk) -> None:
    """XO moves the step; what it leaves out stays, a null is deleted, what the mapping supposed is not news."""
    desk.take(order(OBR_13="claustrofobia", OBR_31="Dolor"))
    moved = order(ORC_1="XO", ORC_7="^^^20260311120000^^S", OBR_24="", OBR_19="", OBR_20="", ZDS_1="", OBR_13='""')
    assert _what(desk.take(_sent(moved, LATER))) == ["updated"]
    row = desk.row("ACC57")
    values = flat(row.dataset)
    assert (row.start_key, row.priority) == ("20260311120000", "STAT")
    assert (values["Modality"], values["RequestedProcedureID"]) == ("CR", "RP57")
    assert (row.step_id, row.study_instance_uid) == ("SPS57", "1.2.826.0.1.3680043.8.498.57")
    assert "MedicalAlerts" not in values
    assert values["ReasonForTheRequestedProcedure"] == "Dolor"


def test_update_without_a_time_does_not_move_the_step(desk: Desk) -> None:
    """An order without a time is for now when it is new; afterwards its silence says nothing."""
    desk.take(order(ORC_7=""))
    start = desk.row("ACC57").start_key
    desk.take(_sent(order(ORC_7="^^^20260310093000", ORC_1="XO"), LATER))
    desk.take(_sent(order(ORC_7=""), LATEST))
    assert (start, desk.row("ACC57").start_key) == ("20260310090000", "20260310093000")


def test_update_of_an_unknown_order_enters_it(desk: Desk) -> None:
    """A change of an order that never came is the order."""
    desk.take(order(ORC_1="XO"))
    assert desk.row("ACC57").status == StepStatus.SCHEDULED


def test_older_message_never_overwrites_a_newer(desk: Desk) -> None:
    """A message that was held up and comes late changes nothing."""
    desk.take(_sent(order(OBR_13="new"), LATER))
    assert _what(desk.take(order(OBR_13="old"))) == ["unchanged"]
    assert flat(desk.row("ACC57").dataset)["MedicalAlerts"] == "new"


@pytest.mark.parametrize("delay", [timedelta(seconds=1), timedelta(minutes=10)])
def test_hour_that_comes_twice_is_the_one_of_its_message(database: Database, delay: timedelta) -> None:
    """When clocks are set back, 2:10 may be later than 2:50: what was canceled then stays canceled."""
    desk = Desk(database, time_zone=ZoneInfo("Europe/Madrid"))
    ordered_at = datetime(2025, 10, 26, 0, 50, tzinfo=UTC)
    desk.take(_sent(order(), "20251026025000"), received_at=ordered_at + delay)
    cancel = _sent(order(ORC_1="CA"), "20251026021000")
    assert _what(desk.take(cancel, received_at=ordered_at + timedelta(minutes=20) + delay)) == ["status"]
    assert desk.row("ACC57").status == StepStatus.CANCELED


def test_clock_that_is_ahead_does_not_shut_out_later_messages(desk: Desk) -> None:
    """A sender whose clock says 2099 counts as of when its message came."""
    desk.take(_sent(order(OBR_13="first"), "20990101000000"))
    desk.take(_sent(order(OBR_13="second"), "20990101000000"))
    assert flat(desk.row("ACC57").dataset)["MedicalAlerts"] == "second"


@pytest.mark.parametrize("at", ["20260310083000+9900", "00010101000000+0100", "yesterday", ""])
def test_order_is_done_whatever_its_time_of_sending(desk: Desk, at: str) -> None:
    """A time or a zone that there is not makes no dead letter of an order."""
    assert _what(desk.take(_sent(order(), at))) == ["new"]


def test_orders_of_one_accession_number_stay_apart(desk: Desk) -> None:
    """Two procedures under one accession number without step IDs are two entries, again and again; each is found."""
    second = OBR.replace("RXT^Radiografía de tórax", "RXA^Radiografía de abdomen")
    bare = [obr.replace("|RP57|SPS57|", "|||") for obr in (OBR, second)]
    both = message(PID, ORC, bare[0], bare[1])
    desk.take(both)
    desk.take(_sent(both, LATER))
    assert [row.description for row in desk.rows("ACC57")] == ["Radiografía de tórax", "Radiografía de abdomen"]
    cancel = message(PID, ORC.replace("NW", "CA"), bare[1], sent_at=LATEST)
    desk.take(cancel)
    assert [row.status for row in desk.rows("ACC57")] == [StepStatus.SCHEDULED, StepStatus.CANCELED]
    assert len({row.study_instance_uid for row in desk.rows("ACC57")}) == 1


def test_other_order_number_is_another_order(desk: Desk) -> None:
    """Under one accession number, an order with other order numbers never changes the first one's entry."""
    changed = {"OBR_19": "", "OBR_20": ""}
    desk.take(order(**changed))
    desk.take(_sent(order(**changed, OBR_2="P99", OBR_3="F99", OBR_4="X^Otro^L"), LATER))
    assert [row.placer_order_number for row in desk.rows("ACC57")] == ["P57", "P99"]
    assert [row.description for row in desk.rows("ACC57")] == ["Radiografía de tórax", "Otro"]


def test_accession_number_that_comes_later_replaces_its_stand_in(desk: Desk) -> None:
    """An order that came without accession number is not on the list twice when the number is known."""
    desk.take(order(**BARE))
    assert desk.row("F57").status == StepStatus.SCHEDULED
    result = desk.take(_sent(order(ORC_1="XO"), LATER))
    assert _what(result) == ["new", "status"]
    assert (desk.row("F57").status, desk.row("ACC57").status) == (StepStatus.CANCELED, StepStatus.SCHEDULED)


def test_cancellation_with_the_accession_number_reaches_the_stand_in(desk: Desk) -> None:
    """Nobody waits for an examination that was canceled by a number which the order did not have yet."""
    desk.take(order(**BARE))
    assert _what(desk.take(_sent(order(ORC_1="CA"), LATEST))) == ["status", "new"]
    assert (desk.row("F57").status, desk.row("ACC57").status) == (StepStatus.CANCELED, StepStatus.CANCELED)
    desk.take(_sent(order(ORC_1="XO"), LATER))
    assert (desk.row("F57").status, desk.row("ACC57").status) == (StepStatus.CANCELED, StepStatus.CANCELED)


@pytest.mark.parametrize(
    ("control", "order_status", "status"),
    [
        ("SC", "IP", StepStatus.STARTED),
        ("SC", "CM", StepStatus.COMPLETED),
        ("XO", "CM", StepStatus.COMPLETED),
        ("DC", "", StepStatus.DISCONTINUED),
    ],
)
def test_status_with_the_accession_number_reaches_the_stand_in(
    desk: Desk, control: str, order_status: str, status: StepStatus
) -> None:
    """What has begun or ended under a stand-in is not scheduled again when the accession number is known."""
    desk.take(order(**BARE))
    study = desk.row("F57").study_instance_uid
    assert _what(desk.take(_sent(order(ORC_1=control, ORC_5=order_status), LATER))) == ["status"]
    assert desk.row("F57").status == status
    for again in ("XO", "NW"):
        desk.take(_sent(order(ORC_1=again, OBR_31=f"Dolor {again}"), LATEST))
    row = desk.row("F57")
    assert (row.status, row.study_instance_uid, desk.rows("ACC57")) == (status, study, [])
    assert flat(row.dataset)["ReasonForTheRequestedProcedure"] == "Dolor NW"


def test_cancellation_of_what_was_done_leaves_it(desk: Desk) -> None:
    """A stand-in that is completed stays so, and no second entry is made to be canceled."""
    desk.take(order(**BARE))
    desk.take(_sent(order(ORC_1="SC", ORC_5="CM", **BARE), LATER))
    assert _what(desk.take(_sent(order(ORC_1="CA"), LATEST))) == ["unchanged"]
    assert (desk.row("F57").status, desk.rows("ACC57")) == (StepStatus.COMPLETED, [])


def _ordered(*obrs: str, control: str = "NW", issuer: str = "HIS", pid: str = PID, at: str = "20260310083000") -> str:
    """Return an order P57 with these procedures: "code^text" or "text", with an accession number behind a blank."""
    orc = f"ORC|{control}|P57^{issuer}|||SC||1^^^20260310090000^^R"
    parts = [each.partition(" ") for each in obrs]
    lines = [f"OBR|{n}|P57^{issuer}||{what}{'|' * 14}{number}||||||CR" for n, (what, _, number) in enumerate(parts, 1)]
    return message(pid, orc, *lines, sent_at=at)


def _statuses(desk: Desk, accession_number: str) -> list[str]:
    return sorted(str(row.status) for row in desk.rows(accession_number))


def test_accession_number_replaces_the_stand_in_of_its_own_procedure(desk: Desk) -> None:
    """Of two procedures of an order, the number of one leaves the other's entry where it is."""
    desk.take(_ordered("RXT^Torax^L", "TCT^TC^L"))
    desk.take(_ordered("RXT^Torax^L ACC1", control="XO", at=LATER))
    assert {row.description: row.status for row in desk.rows("P57")} == {
        "Torax": StepStatus.CANCELED,
        "TC": StepStatus.SCHEDULED,
    }
    desk.take(_ordered("RXT^Torax^L ACC1", "TCT^TC^L ACC2", control="XO", at=LATEST))
    assert _statuses(desk, "P57") == ["CANCELED", "CANCELED"]
    assert _statuses(desk, "ACC1") == _statuses(desk, "ACC2") == ["SCHEDULED"]


@pytest.mark.parametrize("procedure", ["RXT^Torax^L", "Torax"], ids=["same code", "no code"])
def test_same_order_number_of_another_system_is_another_order(desk: Desk, procedure: str) -> None:
    """What one HIS ordered is neither replaced by what another one numbers alike, nor keeps its patients away."""
    desk.take(_ordered(procedure))
    desk.take(_ordered(f"{procedure} ACC9", issuer="HISB", at=LATER))
    desk.take(_ordered(f"{procedure} ACC8", issuer="HISC", pid=PID.replace("4711", "999"), at=LATER))
    assert [_statuses(desk, number) for number in ("P57", "ACC9", "ACC8")] == [["SCHEDULED"]] * 3
    assert desk.row("ACC8").patient_id == "999"


def test_same_order_number_with_another_code_is_another_patient_s_order(desk: Desk) -> None:
    """A number that two systems use, neither of which names itself, is told apart by what is to be done."""
    desk.take(_ordered("RXT^Torax^L", issuer=""))
    desk.take(_ordered("MR^RM^L ACC9", issuer="", pid=PID.replace("4711", "999"), at=LATER))
    assert [_statuses(desk, number) for number in ("P57", "ACC9")] == [["SCHEDULED"]] * 2


@pytest.mark.parametrize("control", ["XO", "CA", "SC"])
@pytest.mark.parametrize("procedure", ["RXT^Torax^L", "Torax"], ids=["same code", "no code"])
def test_person_says_which_of_two_stand_ins_is_meant(desk: Desk, control: str, procedure: str) -> None:
    """Two procedures that nothing tells apart: none is canceled, ended or replaced for the other."""
    desk.take(_ordered(procedure, procedure))
    with pytest.raises(Hl7Error) as told:
        desk.take(_ordered(f"{procedure} ACC1", control=control, at=LATER).replace("||SC||", "||CM||"))
    assert (told.value.location, told.value.hl7_code) == ("ORC^1^1", "204")
    assert (_statuses(desk, "P57"), desk.rows("ACC1")) == (["SCHEDULED", "SCHEDULED"], [])


def test_all_procedures_of_an_order_get_their_accession_numbers_at_once(desk: Desk) -> None:
    """Told in one message, each stand-in is replaced by one of them, also when nothing but their order tells them."""
    desk.take(_ordered("Rodilla", "Rodilla"))
    both = ("Rodilla ACC1", "Rodilla ACC2")
    desk.take(_ordered(*both, control="XO", at=LATER))
    desk.take(_ordered(*both, control="XO", at=LATEST))
    assert _statuses(desk, "P57") == ["CANCELED", "CANCELED"]
    assert _statuses(desk, "ACC1") == _statuses(desk, "ACC2") == ["SCHEDULED"]


def test_entry_that_replaced_its_stand_in_replaces_no_other(desk: Desk) -> None:
    """A second procedure of the same code that comes without accession number stays when the first one changes."""
    desk.take(_ordered("RXT^Torax^L ACC1"))
    desk.take(_ordered("RXT^Torax^L", "RXT^Torax^L", at=LATER))
    assert (_statuses(desk, "ACC1"), _statuses(desk, "P57")) == (["SCHEDULED"], ["SCHEDULED"])
    desk.take(_ordered("RXT^Torax^L ACC1", control="XO", at=LATEST))
    assert _statuses(desk, "P57") == ["SCHEDULED"]


def _all(desk: Desk) -> dict[str, list[str]]:
    """Return the statuses of every entry by its accession number."""
    with desk.database.session() as session:
        rows = desk.worklist.page(session)
    return {number: _statuses(desk, number) for number in sorted({row.accession_number for row in rows})}


def _run(desk: Desk, *told: str) -> None:
    """Have the order P57 spoken of, a minute apart: "XO RXT^Torax^L ACC1", or "RL" alone for a message without OBR."""
    for minute, (control, _, what) in enumerate((each.partition(" ") for each in told), start=30):
        at = f"2026031008{minute}00"
        desk.take(_ordered(what, control=control, at=at) if what else _placed(control, at))


def _placed(control: str, at: str) -> str:
    """Return a message that names the order by its placer's number alone."""
    return message(PID, f"ORC|{control}|P57^HIS", sent_at=at)


REPLACED = {"ACC1": ["SCHEDULED"], "P57": ["CANCELED"]}
OTHER_CODES = ["36643-5^Torax^LN ACC1", "RXT2^Torax^L ACC1", "RXT^Torax^L ACC1"]


@pytest.mark.parametrize("what", OTHER_CODES)
@pytest.mark.parametrize("control", ["XO", "NW", "NA", "RL"])
def test_accession_number_replaces_the_only_stand_in_whatever_its_code(desk: Desk, control: str, what: str) -> None:
    """An order number with one entry means that entry, though the department calls the procedure otherwise."""
    _run(desk, "NW RXT^Torax^L", f"{control} {what}")
    assert _all(desk) == REPLACED


def test_code_of_the_department_beside_that_of_the_requester(desk: Desk) -> None:
    """OBR-44 in a scheme of its own does not hide that OBR-4 is the same, also where the order has two procedures."""
    _run(desk, "NW RXT^Torax^L")
    desk.take(_ordered("RXT^Torax^L", "TCT^TC^L", at="20260310083030"))
    told = _ordered("TCT^TC^L ACC1", control="XO", at=LATER)
    desk.take(told.replace("||||||CR", f"||||||CR{'|' * 20}71250^CT thorax^C4"))
    assert {row.description: str(row.status) for row in desk.rows("P57")} == {"Torax": "SCHEDULED", "TC": "CANCELED"}
    assert _statuses(desk, "ACC1") == ["SCHEDULED"]


@pytest.mark.parametrize("code", ["CITA^Cita", "CITA^Cita^L"])
def test_order_replaces_the_appointment_that_came_before_it(desk: Desk, code: str) -> None:
    """The code of an appointment is none of an examination; the time that it changes later is that of the order."""
    appointment = message(PID, "SCH|P57^HIS", f"AIS|1|A|{code}|20260312101500", kind="SIU^S12")
    desk.take(appointment)
    desk.take(_ordered("RXT^Torax^L ACC1", at=LATER))
    assert _all(desk) == REPLACED
    desk.take(_sent(appointment, LATEST).replace("S12", "S13").replace("20260312", "20260313"))
    assert _all(desk) == REPLACED
    assert desk.row("ACC1").start_key == "20260313101500"


@pytest.mark.parametrize("what", OTHER_CODES)
def test_cancellation_with_another_code_reaches_the_only_stand_in(desk: Desk, what: str) -> None:
    """CA with accession number and the department's code leaves nobody waiting."""
    _run(desk, "NW RXT^Torax^L", f"CA {what}")
    assert _all(desk) == {"ACC1": ["CANCELED"], "P57": ["CANCELED"]}


@pytest.mark.parametrize("order_of_procedures", [(0, 1), (1, 0)])
def test_procedures_of_one_order_get_their_numbers_in_messages_of_their_own(
    desk: Desk, order_of_procedures: tuple[int, int]
) -> None:
    """Two procedures under one order number are two entries, though only one was there before."""
    both = ("NW RXT^Torax^L ACC1", "NW TCT^TC^L ACC2")
    _run(desk, "NW RXT^Torax^L", *(both[each] for each in order_of_procedures))
    assert _all(desk) == REPLACED | {"ACC2": ["SCHEDULED"]}


def test_procedure_of_the_message_keeps_its_own_stand_in(desk: Desk) -> None:
    """Of the procedures of one message, a new one takes no stand-in that is another one's."""
    _run(desk, "NW RXT^Torax^L")
    desk.take(_ordered("RXT^Torax^L", control="SC", at=LATER).replace("||SC||", "||IP||"))
    desk.take(_ordered("TCT^TC^L ACC2", "RXT^Torax^L ACC1", control="XO", at=LATEST))
    assert _all(desk) == {"ACC2": ["SCHEDULED"], "P57": ["STARTED"]}


@pytest.mark.parametrize("control", ["XO", "CA", "RL"])
def test_person_says_which_stand_in_a_new_code_is_for(desk: Desk, control: str) -> None:
    """With two stand-ins of other codes, nothing tells whether one of them is meant."""
    desk.take(_ordered("RXT^Torax^L", "TCT^TC^L"))
    with pytest.raises(Hl7Error):
        desk.take(_ordered("MR^RM^L ACC3", control=control, at=LATER))
    assert _all(desk) == {"P57": ["SCHEDULED", "SCHEDULED"]}


@pytest.mark.parametrize("first", ["CA", "SC"])
def test_person_says_whether_another_code_is_what_was_done_or_canceled(desk: Desk, first: str) -> None:
    """A new code under the number of an order that is over may be that examination, or another: nobody guesses."""
    desk.take(_ordered("RXT^Torax^L"))
    desk.take(_ordered("RXT^Torax^L", control=first, at=LATER).replace("||SC||", "||CM||"))
    before = _all(desk)
    with pytest.raises(Hl7Error) as told:
        desk.take(_ordered("MR^RM^L ACC3", control="XO", at=LATEST))
    assert (told.value.location, told.value.hl7_code, _all(desk)) == ("ORC^1^1", "204", before)


@pytest.mark.parametrize("order_status", ["IP", "CM"])
def test_finished_stand_in_of_another_patient_keeps_nobody_away(desk: Desk, order_status: str) -> None:
    """A number without issuer that was another patient's, who was examined, is a new order of its own."""
    desk.take(_ordered("RXT^Torax^L", issuer=""))
    desk.take(_ordered("RXT^Torax^L", issuer="", control="SC", at=LATER).replace("||SC||", f"||{order_status}||"))
    desk.take(_ordered("RXT^Torax^L ACC9", issuer="", pid=PID.replace("4711", "999"), at=LATEST))
    assert _statuses(desk, "ACC9") == ["SCHEDULED"]
    assert (desk.row("P57").patient_id, desk.row("ACC9").patient_id) == ("4711", "999")


def test_waiting_stand_in_of_another_patient_is_for_a_person(desk: Desk) -> None:
    """A number without issuer that waits for somebody else: nobody guesses whose the order is."""
    desk.take(_ordered("RXT^Torax^L", issuer=""))
    with pytest.raises(Hl7Error):
        desk.take(_ordered("RXT^Torax^L ACC9", issuer="", pid=PID.replace("4711", "999"), at=LATER))
    assert _all(desk) == {"P57": ["SCHEDULED"]}


def test_finished_stand_in_of_a_merged_patient_is_found_by_the_former_number(desk: Desk) -> None:
    """Who was examined, and merged afterwards, is not examined again for an order that still has the old number."""
    desk.take(_ordered("RXT^Torax^L"))
    desk.take(_ordered("RXT^Torax^L", control="SC", at=LATER).replace("||SC||", "||CM||"))
    desk.take(_adt("A40", pid=PID.replace("4711", "5000"), mrg="MRG|4711^^^HOSP"))
    desk.take(_ordered("RXT^Torax^L ACC1", at=LATEST))
    assert _all(desk) == {"P57": ["COMPLETED"]}


@pytest.mark.parametrize(("order_status", "status"), [("CM", "COMPLETED"), ("DC", "DISCONTINUED")])
def test_order_for_a_later_day_is_no_order_that_has_ended(desk: Desk, order_status: str, status: str) -> None:
    """NW with an accession number for another day is scheduled, and what is said of the order later is about it."""
    _run(desk, "NW RXT^Torax^L")
    desk.take(_ordered("RXT^Torax^L", control="SC", at=LATER).replace("||SC||", f"||{order_status}||"))
    desk.take(_ordered("RXT^Torax^L ACC2", at=LATEST).replace("20260310090000", "20260510090000"))
    assert _all(desk) == {"ACC2": ["SCHEDULED"], "P57": [status]}
    assert (desk.row("P57").start_key, desk.row("ACC2").start_key) == ("20260310090000", "20260510090000")
    desk.take(_placed("CA", "20260310083500"))
    assert _all(desk) == {"ACC2": ["CANCELED"], "P57": [status]}


ON_HOLD = {"ACC1": ["CANCELED"], "P57": ["CANCELED"]}
ACC1 = "RXT^Torax^L ACC1"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ((f"HD {ACC1}", "RL"), REPLACED),
        ((f"HD {ACC1}", f"RL {ACC1}"), REPLACED),
        ((f"HD {ACC1}", "NW RXT^Torax^L"), REPLACED),
        (("HD", f"RL {ACC1}", "RL"), REPLACED),
        (("HD", f"RL {ACC1}", "HD", "RL"), REPLACED),
        (("HD", f"XO {ACC1}"), ON_HOLD),
        (("HD", f"XO {ACC1}", "RL"), REPLACED),
        (("HD", f"NA {ACC1}", f"RL {ACC1}"), REPLACED),
        (("HD", f"NW {ACC1}"), REPLACED),
        (("CA", f"RL {ACC1}"), ON_HOLD),
        (("CA", f"XO {ACC1}"), ON_HOLD),
        (("CA", f"NA {ACC1}", "RL"), ON_HOLD),
        (("CA", f"HD {ACC1}", "RL"), ON_HOLD),
        (("CA", f"NW {ACC1}"), REPLACED),
        ((f"XO {ACC1}", "CA"), ON_HOLD),
        ((f"XO {ACC1}", "CA RXT^Torax^L"), ON_HOLD),
        ((f"XO {ACC1}", "NW RXT^Torax^L"), REPLACED),
        (("XO RXT2^Torax^L ACC1", "NW RXT^Torax^L"), REPLACED),
        (("XO RXT2^Torax^L ACC1", "CA RXT^Torax^L"), ON_HOLD),
        (("HD", "XO RXT2^Torax^L ACC1"), ON_HOLD),
        (("HD", "RL RXT2^Torax^L ACC1", "NW RXT^Torax^L"), REPLACED),
        ((f"CA {ACC1}", "NW RXT^Torax^L"), REPLACED),
        (("CA", "CA TCT^TC^L ACC2", f"XO {ACC1}"), ON_HOLD | {"ACC2": ["CANCELED"]}),
        (("HD", f"CA {ACC1}", "RL"), ON_HOLD),
    ],
    ids=str,
)
def test_entry_stands_for_its_stand_in_from_then_on(
    desk: Desk, told: tuple[str, ...], expected: dict[str, list[str]]
) -> None:
    """What is canceled, held or released by the order's number is what has its accession number by now."""
    _run(desk, "NW RXT^Torax^L", *told)
    assert _all(desk) == expected


def test_change_by_the_order_number_is_of_the_entry_that_has_its_accession_number(desk: Desk) -> None:
    """XO P57 moves what is on the list, not what was replaced."""
    _run(desk, "NW RXT^Torax^L", f"XO {ACC1}")
    desk.take(_ordered("RXT^Torax^L", control="XO", at=LATEST).replace("20260310090000", "20260311100000"))
    assert (desk.row("ACC1").start_key, desk.row("P57").start_key) == ("20260311100000", "20260310090000")


@pytest.mark.parametrize("control", ["XO", "NW"])
def test_accession_number_that_comes_late_changes_no_more_than_the_name(desk: Desk, control: str) -> None:
    """What a stand-in was told meanwhile stays: its time, and whether it was canceled; nothing is on the list twice."""
    desk.take(_ordered("RXT^Torax^L"))
    desk.take(_ordered("RXT^Torax^L", control="XO", at=LATEST).replace("20260310090000", "20260311100000"))
    desk.take(_ordered(ACC1, control=control, at=LATER))
    assert (_all(desk), desk.row("ACC1").start_key) == (REPLACED, "20260311100000")


@pytest.mark.parametrize("control", ["XO", "NW"])
def test_accession_number_that_comes_late_brings_back_nothing(desk: Desk, control: str) -> None:
    """NW with the number, sent before the cancellation of its stand-in, comes after it: nobody is examined."""
    desk.take(_ordered("RXT^Torax^L"))
    desk.take(_placed("CA", LATEST))
    desk.take(_ordered(ACC1, control=control, at=LATER))
    assert _all(desk) == ON_HOLD


@pytest.mark.parametrize("late", ["CA", f"CA {ACC1}"])
def test_late_cancellation_ends_no_hold(desk: Desk, late: str) -> None:
    """CA that was sent before HD, or is sent once more, and comes after it, says nothing: RL brings the step back."""
    known = f" {ACC1}" if " " in late else ""
    _run(desk, f"NW {ACC1}")
    desk.take(_placed("HD", LATEST))
    desk.take(_ordered(ACC1, control="CA", at=LATER) if known else _placed("CA", LATER))
    desk.take(_placed("RL", "20260310083300"))
    assert _all(desk) == {"ACC1": ["SCHEDULED"]}


def test_late_cancellation_with_the_accession_number_ends_no_hold_of_the_stand_in(desk: Desk) -> None:
    """Nor does one that brings the accession number."""
    _run(desk, "NW RXT^Torax^L")
    desk.take(_placed("HD", LATEST))
    desk.take(_ordered(ACC1, control="CA", at=LATER))
    desk.take(_placed("RL", "20260310083300"))
    assert _all(desk) == REPLACED


@pytest.mark.parametrize("release", [f"RL {ACC1}", "RL"])
def test_release_of_what_was_canceled_is_told(desk: Desk, release: str) -> None:
    """RL of an entry that is not on hold changes no status, and the journal tells people so."""
    _run(desk, f"NW {ACC1}", "CA")
    at = "20260310083500"
    result = desk.take(_placed("RL", at) if release == "RL" else _ordered(ACC1, control="RL", at=at))
    (notice,) = result.details["notices"]
    assert notice.startswith("ORC^1^1: entry ACC1 was canceled, not put on hold")
    assert _all(desk) == {"ACC1": ["CANCELED"]}


@pytest.mark.parametrize("obr", [[], ["OBR|1|P57^HIS"]], ids=["no OBR", "OBR without procedure"])
def test_order_number_alone_means_every_procedure(desk: Desk, obr: list[str]) -> None:
    """CA, HD and RL of an order end, hold and release all that it asks for."""
    desk.take(_ordered("RXT^Torax^L", "TCT^TC^L"))
    statuses = []
    for minute, control in enumerate(("HD", "RL", "CA"), start=31):
        desk.take(
            message(PID, f"ORC|{control}|P57^HIS", *(obr if control != "RL" else []), sent_at=f"2026031008{minute}")
        )
        statuses.append(_statuses(desk, "P57"))
    assert statuses == [["CANCELED"] * 2, ["SCHEDULED"] * 2, ["CANCELED"] * 2]


def test_canceled_appointment_is_canceled_whole(desk: Desk) -> None:
    """S15 without AIS ends each service of the appointment; with one, that one."""
    services = ("AIS|1|A|RXT^Torax^L|20260312101500", "AIS|2|A|TCT^TC^L|20260312103000")
    desk.take(message(PID, "SCH|P57^HIS", *services, kind="SIU^S12"))
    desk.take(message(PID, "SCH|P57^HIS", kind="SIU^S15", sent_at=LATER))
    assert _statuses(desk, "P57") == ["CANCELED", "CANCELED"]
    desk.take(message(PID, "SCH|P57^HIS", *services, kind="SIU^S12", sent_at=LATEST))
    desk.take(message(PID, "SCH|P57^HIS", services[1], kind="SIU^S15", sent_at="20260310083300"))
    assert {row.description: str(row.status) for row in desk.rows("P57")} == {"Torax": "SCHEDULED", "TC": "CANCELED"}


def test_two_procedures_that_get_one_accession_number_in_two_messages_stay_two(desk: Desk) -> None:
    """The second one's stand-in is replaced by an entry of its own; the first one stays what it is."""
    desk.take(_ordered("RXT^Torax^L", "TCT^TC^L"))
    desk.take(_ordered(ACC1, control="XO", at=LATER))
    desk.take(_ordered("TCT^TC^L ACC1", control="XO", at=LATEST))
    assert _statuses(desk, "P57") == ["CANCELED", "CANCELED"]
    assert {row.description: str(row.status) for row in desk.rows("ACC1")} == {"Torax": "SCHEDULED", "TC": "SCHEDULED"}
    desk.take(_ordered("TCT^TC^L ACC1", control="CA", at="20260310083300"))
    assert {row.description: str(row.status) for row in desk.rows("ACC1")} == {"Torax": "SCHEDULED", "TC": "CANCELED"}


def test_cancellation_of_an_unknown_order_leaves_another_order_of_its_accession_number(desk: Desk) -> None:
    """CA of P99 under an accession number that P57 has enters what is canceled beside it, and leaves P57."""
    _run(desk, f"NW {ACC1}")
    desk.take(_ordered(ACC1, control="CA", at=LATER).replace("P57", "P99"))
    assert {row.placer_order_number: str(row.status) for row in desk.rows("ACC1")} == {
        "P57": "SCHEDULED",
        "P99": "CANCELED",
    }


def test_order_numbers_find_the_entry_when_the_accession_number_is_left_out(desk: Desk) -> None:
    """What stands in for the accession number never makes a second entry of an order that has one."""
    desk.take(order())
    desk.take(_sent(order(ORC_1="XO", ORC_7="^^^20260312", **BARE), LATER))
    assert desk.rows("F57") == []
    assert desk.row("ACC57").start_key == "20260312090000"


def test_every_order_of_a_message_is_done_or_none(desk: Desk) -> None:
    """A message with a bad order does nothing at all, and tells each fault."""
    bad = OBR.replace("57", "58").replace("ACC58", "A" * 17)
    worse = OBR.replace("57", "59").replace("RP59", "R" * 17)
    text = message(PID, ORC, OBR, ORC.replace("57", "58"), bad, ORC.replace("57", "59"), worse)
    with pytest.raises(UnusableMessage) as told:
        desk.take(text)
    assert [fault.location for fault in told.value.faults] == ["OBR^2^18", "OBR^3^19"]
    assert (told.value.location, told.value.hl7_code) == ("OBR^2^18", "102")
    assert desk.rows("ACC57") == []
    text = message(PID, ORC, OBR, ZDS, ORC.replace("57", "58"), OBR.replace("57", "58"))
    assert _what(desk.take(text)) == ["new", "new"]


@pytest.mark.parametrize("changed", [{}, {"OBR_19": "", "OBR_20": ""}, {"ORC_1": "CA"}, {"ORC_1": "XO"}])
def test_entry_of_another_patient_is_never_touched(desk: Desk, changed: dict[str, str]) -> None:
    """The same numbers for another patient are refused: nobody may guess whose the order is."""
    desk.take(order())
    with pytest.raises(Hl7Error) as told:
        desk.take(_sent(order(PID_3="9999^^^HOSP", PID_5="OTRA^PERSONA", **changed), LATER))
    assert (told.value.location, told.value.hl7_code) == ("PID^1^3", "204")
    assert "OTRA" not in str(told.value)
    row = desk.row("ACC57")
    assert (row.patient_id, row.status) == ("4711", StepStatus.SCHEDULED)


def test_unknown_order_control_is_refused(desk: Desk) -> None:
    """What nobody said the meaning of is a dead letter, at ORC-1."""
    with pytest.raises(UnusableMessage) as told:
        desk.take(order(ORC_1="ZZ"))
    assert (told.value.location, told.value.hl7_code) == ("ORC^1^1", "103")


def test_appointment_gives_the_order_its_time(desk: Desk) -> None:
    """SIU about an order that is there moves it; its numbers and its study stay."""
    desk.take(order())
    appointment = message(
        PID,
        "SCH|P57|F57",
        "AIS|1|A|RXT^Radiografía de tórax^L|20260315101500",
        "AIL|1|A|SALA 3",
        kind="SIU^S13",
        sent_at=LATER,
    )
    assert _what(desk.take(appointment)) == ["updated"]
    row = desk.row("ACC57")
    assert (row.start_key, row.location, row.modality) == ("20260315101500", "SALA 3", "CR")
    assert (row.step_id, row.study_instance_uid) == ("SPS57", "1.2.826.0.1.3680043.8.498.57")


def test_appointment_lives_and_ends(desk: Desk) -> None:
    """S12 enters, S14 with SCH-25 says that the patient has come, S15 cancels, S26 finds nothing more to do."""

    def take(event: str, status: str, at: str) -> StepStatus:
        text = message(PID, f"SCH|P68|F68||||R^Rodilla{'|' * 19}{status}", kind=f"SIU^{event}", sent_at=at)
        desk.take(text)
        return desk.row("F68").status

    assert take("S12", "Booked", "20260310083000") == StepStatus.SCHEDULED
    assert take("S14", "Arrived", "20260310083001") == StepStatus.ARRIVED
    assert take("S15", "", "20260310083002") == StepStatus.CANCELED
    assert take("S26", "", "20260310083003") == StepStatus.CANCELED
    assert take("S12", "Booked", "20260310083004") == StepStatus.SCHEDULED


def _adt(event: str, *, at: str = LATER, pid: str = PID, mrg: str = "") -> str:
    return message(*filter(None, (pid, mrg)), kind=f"ADT^{event}", sent_at=at)


def test_patient_update_changes_every_entry(desk: Desk) -> None:
    """A08 changes the name in the entries of that number and issuer, and in no other."""
    desk.take(order())
    other = order(PID_3="4711^^^ELSE").replace("57", "58")
    desk.take(other)
    renamed = PID.replace("MUÑOZ IBÁÑEZ", "MUÑOZ").replace("19700101", '""')
    result = desk.take(_adt("A08", pid=renamed))
    assert _what(result) == ["patient updated"]
    values = flat(desk.row("ACC57").dataset)
    assert (values["PatientName"], "PatientBirthDate" in values) == ("MUÑOZ^JOSÉ MARÍA", False)
    assert flat(desk.row("ACC58").dataset)["PatientName"] == "MUÑOZ IBÁÑEZ^JOSÉ MARÍA"


def test_patient_update_by_another_number_leaves_the_entry_s_own(desk: Desk) -> None:
    """An entry keeps its number with that number's authority and type, and the numbers beside it; the name is new."""
    national, local = "20000057A^^^MI&1.2.724&ISO^NNPRY", "4711^^^HOSP&1.9&ISO^PI"
    desk.take(order(PID_3=f"{national}~{local}"))
    before = desk.row("ACC57").dataset
    renamed = PID.replace("4711^^^HOSP^PI", f"{local}~{national}").replace("MUÑOZ", "PAZ")
    assert _what(desk.take(_adt("A08", pid=renamed))) == ["patient updated"]
    after = desk.row("ACC57").dataset
    assert str(after.PatientName).startswith("PAZ")
    for keyword in (
        "PatientID",
        "IssuerOfPatientID",
        "IssuerOfPatientIDQualifiersSequence",
        "TypeOfPatientID",
        "OtherPatientIDsSequence",
    ):
        assert after[keyword] == before[keyword], keyword


@pytest.mark.parametrize("event", ["A18", "A34", "A40", "A47"])
def test_merge_takes_the_entries_along(desk: Desk, event: str) -> None:
    """Entries of the prior number become those of the surviving one; orders that come under the old one fit."""
    desk.take(order())
    merged = PID.replace("4711", "5000").replace("MUÑOZ IBÁÑEZ", "MUÑOZ")
    desk.take(_adt(event, pid=merged, mrg="MRG|4711^^^HOSP"))
    row = desk.row("ACC57")
    assert (row.patient_id, row.patient_name) == ("5000", "MUÑOZ^JOSÉ MARÍA")
    desk.take(_sent(order(ORC_1="XO", OBR_31="Dolor"), LATEST))
    values = flat(desk.row("ACC57").dataset)
    assert (values["PatientID"], values["ReasonForTheRequestedProcedure"]) == ("5000", "Dolor")
    desk.take(_sent(order(ORC_1="CA"), "20260310083300"))
    assert desk.row("ACC57").status == StepStatus.CANCELED


@pytest.mark.parametrize("mrg", ["4711^^^HOSP~1A^^^MI", "1A^^^MI~4711^^^HOSP"])
@pytest.mark.parametrize("pid", ["5000^^^HOSP~1A^^^MI", "1A^^^MI~5000^^^HOSP"])
def test_number_that_both_patients_have_stays(desk: Desk, mrg: str, pid: str) -> None:
    """The number of the country in PID-3 and MRG-1 is no reason to refuse a merge, and entries under it keep it."""
    desk.take(order(PID_3="4711^^^HOSP"))
    desk.take(order(PID_3="1A^^^MI").replace("57", "58"))
    result = desk.take(_adt("A40", pid=PID.replace("4711^^^HOSP^PI", pid), mrg=f"MRG|{mrg}"))
    assert _what(result).count("patient changed") == 1
    assert [desk.row(number).patient_id for number in ("ACC57", "ACC58")] == [pid.partition("^")[0], "1A"]


def test_merge_tells_of_studies_that_keep_the_prior_number(desk: Desk) -> None:
    """Nothing in the archive is renamed by a message; a person is told how many studies stay, and where."""
    same = {"PatientID": "4711", "IssuerOfPatientID": "HOSP"}
    another = {"PatientID": "4711", "IssuerOfPatientID": "ELSE"}
    store_rows(desk.database, study_row(**same), study_row(PatientID="4711"), study_row(**another))
    result = desk.take(_adt("A40", pid=PID.replace("4711", "5000"), mrg="MRG|4711^^^HOSP"))
    (notice,) = [each for each in result.details["notices"] if "archive" in each]
    assert notice.startswith("MRG^1^1")
    assert "2 studies" in notice


def test_every_merge_of_a_message_is_done(desk: Desk) -> None:
    """A40 may hold several PID with their MRG."""
    desk.take(order())
    desk.take(order(PID_3="4712^^^HOSP").replace("57", "58"))
    pids = [PID.replace("4711", number) for number in ("5001", "5002")]
    text = message(pids[0], "MRG|4711^^^HOSP", pids[1], "MRG|4712^^^HOSP", kind="ADT^A40", sent_at=LATER)
    assert _what(desk.take(text)) == ["patient changed", "patient changed"]
    assert [desk.row(number).patient_id for number in ("ACC57", "ACC58")] == ["5001", "5002"]


@pytest.mark.parametrize(
    ("mrg", "location", "code"),
    [("", "MRG^1^1", "101"), ("MRG|^^^HOSP", "MRG^1^1", "101"), ("MRG|4711^^^HOSP", "MRG^1^1", "205")],
)
def test_merge_that_says_nothing_sound_is_refused(desk: Desk, mrg: str, location: str, code: str) -> None:
    """Without a prior number, or with its own, nobody is merged."""
    with pytest.raises(UnusableMessage) as told:
        desk.take(_adt("A40", mrg=mrg))
    assert (told.value.location, told.value.hl7_code) == (location, code)


def test_numbers_without_issuer_are_no_others(desk: Desk) -> None:
    """A second number without its issuer never changes the entries of whoever has that number."""
    desk.take(order(PID_3="77"))
    desk.take(_adt("A08", pid=PID.replace("4711^^^HOSP^PI", "4711^^^HOSP~77").replace("MUÑOZ", "OTRO")))
    assert desk.row("ACC57").patient_name.startswith("MUÑOZ")


def test_arrival_marks_what_is_scheduled_today(desk: Desk) -> None:
    """A10 makes today's steps ARRIVED, not tomorrow's; which events do so is a setting."""
    desk.take(order())
    desk.take(order(ORC_7="^^^20260311090000").replace("57", "58"))
    desk.take(_adt("A04"))
    assert desk.row("ACC57").status == StepStatus.SCHEDULED
    desk.take(_adt("A10", at=LATEST))
    assert (desk.row("ACC57").status, desk.row("ACC58").status) == (StepStatus.ARRIVED, StepStatus.SCHEDULED)
    desk.take(_sent(order(OBR_13="asma"), "20260310083300"))
    assert desk.row("ACC57").status == StepStatus.ARRIVED


def test_arrival_events_are_a_setting(database: Database) -> None:
    """A hospital that registers its outpatients by A04 says so."""
    desk = Desk(database, settings=OrdersSettings.model_validate({"ArrivalEvents": ["A04"]}))
    desk.take(order())
    assert _what(desk.take(_adt("A04"))) == ["status"]


def test_other_patient_messages_change_nothing(desk: Desk) -> None:
    """A17 (two patients swap beds) is kept in the journal alone."""
    desk.take(order())
    assert desk.take(_adt("A17", pid=PID.replace("MUÑOZ", "OTRO"))).kind == "kept"
    assert desk.row("ACC57").patient_name.startswith("MUÑOZ")


def test_results_name_entries_and_no_patient(desk: Desk) -> None:
    """What the journal keeps of a message leads to the entry and says what happened."""
    result = desk.take(order(PID_7="UNKNOWN"))
    (entry,) = result.details["entries"]
    row = desk.row("ACC57")
    assert entry == {"what": "new", "row": row.id, "accession_number": "ACC57", "status": "SCHEDULED"}
    assert result.details["notices"] == [
        "PID-7: PatientBirthDate: expected a date or time as YYYYMMDDHHMMSS; it was left out"
    ]
    with desk.database.session() as session:
        (event,) = desk.worklist.get(session, row.id).history
    assert (event.actor, event.kind) == ("hl7:HIS", ChangeKind.NEW)


def test_peer_mapping_is_used_for_its_messages(database: Database, tmp_path: Path) -> None:
    """The mapping that the peer's settings name reads its orders and its patients."""
    (tmp_path / "his.yaml").write_text(
        "extends: default\nidentity: {prefer: [REGION]}\norder_control: {ZZ: schedule}\n", encoding="utf-8"
    )
    desk = Desk(database, folder=tmp_path)
    desk.take(order(ORC_1="ZZ", PID_3="1^^^HOSP~2^^^REGION"), mapping="his")
    row = desk.row("ACC57")
    assert (row.patient_id, row.issuer_of_patient_id) == ("2", "REGION")
    desk.take(_adt("A08", pid=PID.replace("4711^^^HOSP", "2^^^REGION").replace("MUÑOZ", "PAZ")), mapping="his")
    assert desk.row("ACC57").patient_name.startswith("PAZ")


def test_every_real_message_is_done_or_refused_with_its_place(
    database: Database, real_hl7: list[CorpusMessage]
) -> None:
    """Whatever a real sender writes about orders and patients is done, or becomes a dead letter that says where."""
    desk = Desk(database)
    refused = {}
    accepted = [each for each in real_hl7 if (found := answered(each.raw)).message and not found.faults]
    for each in accepted:
        header = answered(each.raw).header
        if header is None or header.message_type not in {"ORM", "OMG", "OMI", "SIU", "ADT"}:
            continue
        try:
            desk.take(each.raw)
        except UnusableMessage as error:
            refused[each.name.rpartition("/")[2]] = error.location
    assert desk.received > 350
    assert refused == REFUSED
