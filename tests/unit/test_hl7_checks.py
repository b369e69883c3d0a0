"""What is accepted, what is not, and what is said about it."""

from __future__ import annotations

import pytest

from fixtures.hl7_messages import ORDER, REPORT, UPDATE, answered, fictitious
from pacs.hl7.checks import SUPPORTED, type_of
from pacs.hl7.header import Header
from pacs.hl7.message import Message

MERGE = UPDATE.replace("ADT^A08", "ADT^A40") + "MRG|99^^^HOSP\r"
APPOINTMENT = UPDATE.replace("ADT^A08", "SIU^S12") + "SCH|1\r"


@pytest.mark.parametrize(
    "text",
    [
        *(raw.decode("utf-8") for raw in fictitious()[:2]),
        REPORT,
        MERGE,
        APPOINTMENT,
        UPDATE.replace("|P|2.5", "||2.5"),
        UPDATE.replace("|P|2.5", "|T^A|2.6.1"),
        UPDATE.replace("|2.5|", "|2.5^ESP&&HL70399|"),
        UPDATE.replace("ADT^A08", "ADT").replace("PID|", "EVN|A08|2026\rPID|"),
        ORDER.replace("ORM^O01", "ORM"),
        ORDER.replace("ORM^O01", "ORM^O01 "),
        ORDER.replace("PID|1||4711", "PID|1|77|"),
        ORDER.split("OBR")[0].replace("ORC|NW", "ORC|CA"),
        *(
            ORDER.split("OBR")[0] + other
            for other in ("RXO|^Ampicilina|500||MG\rRXR|PO\r", "RQD|1|1^Guantes\r", "ODS|D\r")
        ),
        ORDER.split("ORC")[0] + "ORC|PA|1000^OE|5\rORC|CH|1000^OE|6\rOBR|1|1000^OE|6|X^Y^L\r",
        *(ORDER.split("OBR")[0].replace("ORC|NW", f"ORC|{code}") for code in ("RU", "RQ")),
        MERGE.replace("MRG|99^^^HOSP", "MRG|4711^^^OTHER"),
        MERGE.replace("MRG|99^^^HOSP", "MRG|99^^^HOSP~20000057A^^^MI"),
        MERGE.replace("MRG|99^^^HOSP", "MRG|20000057A^^^MI~99^^^HOSP"),
        REPORT.replace("JVBERi0=", "JVBE\\.br\\Ri0\\X0D0A\\=\\X0D\\"),
        REPORT.replace("JVBERi0=", "JVBE\rRi0=\r"),
        REPORT.replace("^AP^^Base64^JVBERi0=", "^AP^^A^@@@"),
    ],
)
def test_check_accepts_what_can_be_used(text: str) -> None:
    """Messages as they come from hospitals."""
    assert answered(text.encode()).faults == ()


@pytest.mark.parametrize(
    ("text", "code", "fault", "location"),
    [
        ("hola", "AR", "100", ""),
        (UPDATE.replace("ADT^A08", ""), "AR", "101", "MSH^1^9"),
        (UPDATE.replace("|ID1|", "||"), "AR", "101", "MSH^1^10"),
        (UPDATE.replace("|ID1|", "|  |"), "AR", "101", "MSH^1^10"),
        (UPDATE.replace("|P|2.5", "|X|2.5"), "AR", "202", "MSH^1^11"),
        (UPDATE.replace("ADT^A08", "QRY^Q01"), "AR", "200", "MSH^1^9^1^1"),
        (UPDATE.replace("ADT^A08", "ADT^A99"), "AR", "201", "MSH^1^9^1^2"),
        (UPDATE.replace("ADT^A08", "ADT"), "AR", "201", "MSH^1^9^1^2"),
        (UPDATE.replace("ADT^A08", "ACK^A08"), "AR", "200", "MSH^1^9^1^1"),
        (UPDATE + UPDATE, "AR", "100", "MSH^2"),
        (UPDATE.split("PID")[0], "AE", "101", "PID^1^3"),
        (UPDATE.replace("4711^^^HOSP^PI~20000057A^^^MI^NNPRY", ""), "AE", "101", "PID^1^3"),
        (UPDATE.replace("4711^^^HOSP^PI~20000057A^^^MI^NNPRY", '""'), "AE", "101", "PID^1^3"),
        (UPDATE.replace("4711^^^HOSP^PI~20000057A^^^MI^NNPRY", "~^^^HOSP~"), "AE", "101", "PID^1^3"),
        (UPDATE + "PID|2||\r", "AE", "101", "PID^2^3"),
        (MERGE.split("MRG")[0], "AE", "101", "MRG^1^1"),
        (MERGE.replace("99^^^HOSP", '""'), "AE", "101", "MRG^1^1"),
        (MERGE.replace("99^^^HOSP", "4711^^^HOSP"), "AE", "205", "MRG^1^1"),
        (MERGE.replace("99^^^HOSP", "20000057A^^^MI"), "AE", "205", "MRG^1^1"),
        (MERGE.replace("99^^^HOSP", "20000057A^^^MI~4711^^^HOSP"), "AE", "205", "MRG^1^1"),
        (MERGE + "PID|2||5^^^HOSP\r", "AE", "101", "MRG^2^1"),
        (MERGE.replace("A40", "A47").split("MRG")[0], "AE", "101", "MRG^1^1"),
        (ORDER.split("OBR")[0], "AE", "101", "OBR^1"),
        (ORDER.split("ORC")[0], "AE", "101", "OBR^1"),
        (ORDER.split("OBR")[0].replace("ORC|NW|P57^HIS|F57^RIS", "ORC|CA||"), "AE", "101", "OBR^1"),
        (ORDER.split("OBR")[0].replace("ORC|NW|P57^HIS|F57^RIS", "ORC|RU||"), "AE", "101", "OBR^1"),
        (ORDER.split("OBR")[0] + "NTE|1||RXO\r", "AE", "101", "OBR^1"),
        (ORDER.replace("PID|", "ZID|"), "AE", "101", "PID^1^3"),
        (APPOINTMENT.replace("SCH|1\r", ""), "AE", "101", "SCH^1"),
        (REPORT.replace("JVBERi0=", "@@@@"), "AE", "102", "OBX^2^5^1^5"),
        (REPORT.replace("JVBERi0=", "JVBE=Ri0"), "AE", "102", "OBX^2^5^1^5"),
    ],
)
def test_check_refuses_what_can_not_be_used(text: str, code: str, fault: str, location: str) -> None:
    """Each refusal has its code, its place, and words without the patient."""
    found = answered(text.encode())
    assert (found.code, found.faults[0].hl7_code, found.faults[0].location) == (code, fault, location)
    assert not any("MUÑOZ" in told.text or "4711" in told.text for told in found.faults)


def test_check_takes_only_what_it_is_told_to() -> None:
    """Another set of types, another answer."""
    assert "ADT^A08" in SUPPORTED
    header, message = Header.scan(UPDATE.encode()), Message.parse(UPDATE)
    assert type_of(header, message) == "ADT^A08"


def test_check_of_a_document_needs_no_memory_for_going_back() -> None:
    """Tens of megabytes of base64, with line ends, sound or not, are judged at once."""
    lines = ("QUJD" * 19 + "\\.br\\") * 300_000
    assert answered(REPORT.replace("JVBERi0=", lines).encode()).faults == ()
    assert answered(REPORT.replace("JVBERi0=", f"{lines}@").encode()).code == "AE"
