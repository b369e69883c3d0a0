"""The default mapping: what orders and appointments become, attribute by attribute, and what is refused."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from fixtures.hl7_messages import CorpusMessage, mutated
from fixtures.hl7_orders import OBR, ORC, PID, entries, flat, mapper, message, order, peer, readings, taken_apart
from pacs.hl7.errors import Hl7Error
from pacs.hl7.orders import Action, EntryReading
from pacs.hl7.orders.identity import read_prior_numbers
from pacs.hl7.orders.mapping import IdentityRules

pytest_plugins = ("fixtures.hl7_corpus",)

ABSENT = object()


def _entry(**changed: str) -> EntryReading:
    (entry,) = entries(order(**changed))
    return entry


def _values(**changed: str) -> dict[str, object]:
    return flat(_entry(**changed).step.dataset)


def test_order_becomes_a_worklist_entry() -> None:
    """An ordinary order gives every attribute that a modality asks for (PS3.4 table K.6-1)."""
    entry = _entry()
    assert entry.explanation.faults == ()
    assert entry.step.status == "SCHEDULED"
    assert entry.step.priority == "ROUTINE"
    assert flat(entry.step.dataset) == {
        "SpecificCharacterSet": "ISO_IR 192",
        "AccessionNumber": "ACC57",
        "InstitutionName": "HOSP",
        "PatientName": "MUÑOZ IBÁÑEZ^JOSÉ MARÍA",
        "PatientID": "4711",
        "IssuerOfPatientID": "HOSP",
        "TypeOfPatientID": "PI",
        "PatientBirthDate": "19700101",
        "PatientSex": "M",
        "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.57",
        "RequestedProcedureDescription": "Radiografía de tórax",
        "RequestedProcedureCodeSequence.CodeValue": "RXT",
        "RequestedProcedureCodeSequence.CodingSchemeDesignator": "L",
        "RequestedProcedureCodeSequence.CodeMeaning": "Radiografía de tórax",
        "OrderPlacerIdentifierSequence.LocalNamespaceEntityID": "HIS",
        "OrderFillerIdentifierSequence.LocalNamespaceEntityID": "RIS",
        "Modality": "CR",
        "ScheduledProcedureStepStartDate": "20260310",
        "ScheduledProcedureStepStartTime": "090000",
        "ScheduledProcedureStepDescription": "Radiografía de tórax",
        "ScheduledProtocolCodeSequence.CodeValue": "RXT",
        "ScheduledProtocolCodeSequence.CodingSchemeDesignator": "L",
        "ScheduledProtocolCodeSequence.CodeMeaning": "Radiografía de tórax",
        "ScheduledProcedureStepID": "SPS57",
        "RequestedProcedureID": "RP57",
        "PlacerOrderNumberImagingServiceRequest": "P57",
        "FillerOrderNumberImagingServiceRequest": "F57",
    }


# Field by field: what is changed in the order, and what attribute is what then. One row of hl7.md 3.1 and peers.md 2.3,
# 2.4 each, and every habit of senders that must need no mapping of its own.
FIELDS: list[tuple[dict[str, str], str, Any]] = [
    # numbers
    ({"OBR_18": ""}, "AccessionNumber", "F57"),
    ({"OBR_18": "", "OBR_3": ""}, "AccessionNumber", "F57"),
    ({"OBR_18": "", "OBR_3": "", "ORC_3": ""}, "AccessionNumber", "P57"),
    ({"OBR_18": "", "OBR_3": "", "ORC_3": "", "OBR_2": ""}, "AccessionNumber", "P57"),
    ({"OBR_18": '""'}, "AccessionNumber", "F57"),
    ({"OBR_18": " ACC57 "}, "AccessionNumber", "ACC57"),
    ({"segment1": "IPC|IP1^ISS^1.2.3^ISO|RP9|1.2.9|S9|MR"}, "AccessionNumber", "IP1"),
    (
        {"segment1": "IPC|IP1^ISS^1.2.3^ISO|RP9|1.2.9|S9|MR"},
        "IssuerOfAccessionNumberSequence.UniversalEntityID",
        "1.2.3",
    ),
    ({"segment1": "IPC|IP1|RP9|1.2.9|S9|MR"}, "RequestedProcedureID", "RP9"),
    ({"segment1": "IPC|IP1|RP9|1.2.9|S9|MR"}, "StudyInstanceUID", "1.2.9"),
    ({"segment1": "IPC|IP1|RP9|1.2.9|S9|MR"}, "ScheduledProcedureStepID", "S9"),
    ({"segment1": "IPC|IP1|RP9|1.2.9|S9|MR"}, "Modality", "MR"),
    ({"OBR_19": "", "OBR_20": ""}, "RequestedProcedureID", "ACC57"),
    ({"OBR_20": ""}, "ScheduledProcedureStepID", "RP57"),
    ({"OBR_2": ""}, "PlacerOrderNumberImagingServiceRequest", "P57"),
    ({"ORC_3": "F58^X^1.2^ISO", "OBR_3": ""}, "OrderFillerIdentifierSequence.UniversalEntityIDType", "ISO"),
    # what, where, when
    ({"OBR_24": "ct"}, "Modality", "CT"),
    ({"OBR_24": "NMR"}, "Modality", "MR"),
    ({"OBR_24": "RAD", "OBR_4": "X^Rodilla^L"}, "Modality", "OT"),
    ({"OBR_24": "", "OBR_4": "TCT^TC Torax con contraste^L"}, "Modality", "CT"),
    ({"OBR_24": "", "OBR_4": "1^Radiografía de tórax^L"}, "Modality", "DX"),
    ({"OBR_24": "", "OBR_4": "1^RM Cerebro^CPT"}, "Modality", "MR"),
    ({"segment1": "IPC|||||US|P^Protocol^L"}, "ScheduledProcedureStepDescription", "Protocol"),
    ({"segment1": "IPC|||||US|P^Protocol^L"}, "ScheduledProtocolCodeSequence.CodeValue", "P"),
    ({"OBR_4": "A^B^L^C^D^L2"}, "ScheduledProcedureStepDescription", "D"),
    ({"OBR_4": "A^B^L^C^D^L2"}, "ScheduledProtocolCodeSequence.CodingSchemeDesignator", "L2"),
    ({"OBR_4": "^X-RAY^L"}, "RequestedProcedureCodeSequence.CodeValue", ABSENT),
    ({"OBR_4": "^X-RAY^L"}, "RequestedProcedureDescription", "X-RAY"),
    ({"OBR_4": "A^B"}, "RequestedProcedureCodeSequence.CodingSchemeDesignator", "99LOCAL"),
    ({"OBR_4": "A234567890123456X^B^L"}, "RequestedProcedureCodeSequence.LongCodeValue", "A234567890123456X"),
    ({"OBR_44": "C^Chest^LN"}, "RequestedProcedureCodeSequence.CodeValue", "C"),
    ({"OBR_44": "C^Chest^LN"}, "RequestedProcedureDescription", "Chest"),
    ({"segment1": "IPC||||||||ROOM 1|CT1~CT2"}, "ScheduledStationAETitle", ["CT1", "CT2"]),
    ({"segment1": "IPC|||||||CTA~CTB|ROOM 1"}, "ScheduledStationName", ["CTA", "CTB"]),
    ({"segment1": "IPC|||||||CTA~CTB|ROOM 1"}, "ScheduledProcedureStepLocation", "ROOM 1"),
    ({"segment1": "TQ1|1||||||20260311101112"}, "ScheduledProcedureStepStartDate", "20260311"),
    ({"segment1": "TQ1|1||||||20260311101112"}, "ScheduledProcedureStepStartTime", "101112"),
    ({"ORC_7": "^^^20251014190023000^^R"}, "ScheduledProcedureStepStartTime", "190023.000"),
    ({"ORC_7": "^^^20251014190023.8371-0300^^R"}, "TimezoneOffsetFromUTC", "-0300"),
    # a sender in another time zone: 22:00 of the day before in Asunción
    ({"ORC_7": "^^^20260311010000+0000"}, "ScheduledProcedureStepStartDate", "20260310"),
    ({"ORC_7": "^^^20260311010000+0000"}, "ScheduledProcedureStepStartTime", "220000"),
    ({"ORC_7": "^^^20260311010000.25+0000"}, "ScheduledProcedureStepStartTime", "220000.25"),
    ({"ORC_7": "^^^20260311010000+0000"}, "TimezoneOffsetFromUTC", "-0300"),
    ({"ORC_7": "^^^20260311+0000"}, "ScheduledProcedureStepStartDate", "20260311"),
    ({"ORC_7": "^^^2025101419"}, "ScheduledProcedureStepStartTime", "190000"),
    ({"ORC_7": "^^^20251014"}, "ScheduledProcedureStepStartTime", "000000"),
    ({"ORC_7": "", "OBR_27": "^^^202510141900"}, "ScheduledProcedureStepStartDate", "20251014"),
    ({"ORC_7": "", "OBR_36": "20251015"}, "ScheduledProcedureStepStartDate", "20251015"),
    ({"ORC_7": "", "OBR_7": "20251016080000"}, "ScheduledProcedureStepStartDate", "20251016"),
    ({"ORC_7": ""}, "ScheduledProcedureStepStartTime", "090000"),  # when it came, in Asunción
    ({"OBR_34": "7&PAZ&ANA"}, "ScheduledPerformingPhysicianName", "PAZ^ANA"),
    # who asks and why
    ({"OBR_16": "17^PÉREZ^ANA^M^Jr^Dr^PhD"}, "RequestingPhysician", "PÉREZ^ANA^M^Dr^Jr PhD"),
    (
        {"OBR_16": "17^PÉREZ^ANA"},
        "RequestingPhysicianIdentificationSequence.PersonIdentificationCodeSequence.CodeValue",
        "17",
    ),
    ({"ORC_12": "18^PAZ"}, "RequestingPhysician", "PAZ"),
    ({"OBR_31": "R1^Dolor^L"}, "ReasonForTheRequestedProcedure", "Dolor"),
    ({"OBR_31": "R1^Dolor^L"}, "ReasonForRequestedProcedureCodeSequence.CodeValue", "R1"),
    ({"OBR_31": "Dolor"}, "ReasonForRequestedProcedureCodeSequence.CodeValue", ABSENT),
    ({"OBR_30": "WHLC"}, "PatientTransportArrangements", "WHLC"),
    ({"OBR_12": "X^Infectious"}, "PatientState", "Infectious"),
    ({"OBR_13": r"a\F\b\S\c\T\d\R\e"}, "MedicalAlerts", "a|b^c&d~e"),
    ({"OBR_13": r"a\.br\b"}, "MedicalAlerts", "a b"),
    ({"OBR_13": r"a\E\b"}, "MedicalAlerts", "a/b"),
    ({"segment1": "NTE|1||one", "segment2": "NTE|2||two"}, "RequestedProcedureComments", "one\r\ntwo"),
    ({"ORC_17": "H1^Hospital 1^L"}, "InstitutionName", "Hospital 1"),
    ({"ORC_17": "H1^Hospital 1^L"}, "InstitutionCodeSequence.CodeValue", "H1"),
    ({"ORC_17": "H1"}, "InstitutionName", "H1"),
    ({"ORC_17": "H1"}, "InstitutionCodeSequence.CodeValue", ABSENT),
    ({"ORC_22": "Street 1^^Town^^1000^PY"}, "InstitutionAddress", "Street 1 Town 1000 PY"),
    ({"ORC_13": "^^^^^^^^Emergency"}, "InstitutionalDepartmentName", "Emergency"),
    ({"ORC_28": "R"}, "ConfidentialityCode", "R"),
    ({"segment1": "OBX|1|NM|^Body Weight||65,5|kg"}, "PatientWeight", "65.5"),
    ({"segment1": "OBX|1|NM|8302-2^Talla^LN||1.65|m"}, "PatientSize", "1.65"),
    ({"segment1": "OBX|1|NM|^Body Height||165|cm"}, "PatientSize", ABSENT),
    # the visit
    ({"segment1": "PV1||I|N77^7715^01||||9^PAZ^EVA|||||||B6||||V1^^^HV"}, "RouteOfAdmissions", "I"),
    ({"segment1": "PV1||I|N77^7715^01"}, "CurrentPatientLocation", "N77 7715 01"),
    ({"segment1": "PV1||I|||||9^^^~8^PAZ^EVA"}, "ReferringPhysicianName", ABSENT),
    ({"segment1": "PV1||I||||||9^PAZ^EVA"}, "ReferringPhysicianName", "PAZ^EVA"),
    ({"segment1": "PV1||I|||||||||||||A0~B6"}, "PregnancyStatus", ABSENT),
    ({"segment1": "PV1||I|||||||||||||B6"}, "PregnancyStatus", "3"),
    ({"segment1": "PV1|||||||||||||||||||V1^^^HV", "PID_18": "A1"}, "AdmissionID", "V1"),
    (
        {"segment1": "PV1|||||||||||||||||||V1^^^HV", "PID_18": "A1^^^HA"},
        "IssuerOfAdmissionIDSequence.LocalNamespaceEntityID",
        "HV",
    ),
    ({"PID_18": "A1"}, "AdmissionID", "A1"),
    ({"segment1": "PV1||" + "|" * 41 + "|20260309101500"}, "AdmittingDate", "20260309"),
    # the patient
    ({"PID_3": "^^^001~ ~~4711^^^002~5^^^003"}, "PatientID", "4711"),
    ({"PID_3": "^^^001~ ~~4711^^^002~5^^^003"}, "IssuerOfPatientID", "002"),
    ({"PID_3": "1^^^A~2^^^B~2^^^B~1^^^A"}, "OtherPatientIDsSequence.PatientID", "2"),
    ({"PID_3": "1^^^A&1.2.3&ISO"}, "IssuerOfPatientIDQualifiersSequence.UniversalEntityID", "1.2.3"),
    ({"PID_3": "1^^^&1.2.3&ISO"}, "IssuerOfPatientID", "1.2.3"),
    ({"PID_3": "", "PID_2": "42"}, "PatientID", "42"),
    ({"PID_4": "CHIP^^^VET"}, "OtherPatientIDsSequence.IssuerOfPatientID", "VET"),
    ({"PID_5": "^JOSÉ", "PID_6": "PAREDES"}, "PatientName", "PAREDES^JOSÉ"),
    ({"PID_5": "", "PID_6": "PAREDES"}, "PatientName", "PAREDES"),
    ({"PID_5": "A^B^C^D^E^F"}, "PatientName", "A^B^C^E^D F"),
    ({"PID_5": r"A\S\B^C"}, "PatientName", "A B^C"),
    ({"PID_5": "de la Cruz&de la&Cruz^Eva"}, "PatientName", "de la Cruz^Eva"),
    ({"PID_5": '""'}, "PatientName", ""),
    ({"PID_5": "", "PID_6": ""}, "PatientName", ABSENT),
    ({"PID_6": "SOSA^EVA"}, "PatientMotherBirthName", "SOSA^EVA"),
    ({"PID_7": "19630424000000"}, "PatientBirthDate", "19630424"),
    ({"PID_7": "1963"}, "PatientBirthDate", ABSENT),
    ({"PID_7": '""'}, "PatientBirthDate", ""),
    ({"PID_8": "N"}, "PatientSex", "O"),
    ({"PID_8": "U"}, "PatientSex", ""),
    ({"PID_8": ""}, "PatientSex", ABSENT),
    ({"PID_8": "F^Y"}, "PatientSexNeutered", "ALTERED"),
    ({"PID_11": "Calle 1^^Luque^^2060^PY"}, "PatientAddress", "Calle 1 Luque 2060 PY"),
    (
        {"PID_13": "0981-1~^PRN^PH^^^^^^^^^0982", "PID_14": "0983"},
        "PatientTelephoneNumbers",
        ["0981-1", "0982", "0983"],
    ),
    ({"PID_15": "es^Spanish^ISO639"}, "PatientPrimaryLanguageCodeSequence.CodeValue", "es"),
    ({"PID_9": "ALIAS^X"}, "ResponsiblePerson", ABSENT),
    ({"PID_9": "Smith^Mark", "PID_35": "3^Canis^SCT"}, "ResponsiblePerson", "Smith^Mark"),
    ({"PID_9": "Smith^Mark", "PID_35": "3^Canis^SCT"}, "ResponsiblePersonRole", "OWNER"),
    ({"PID_35": "3^Canis^SCT"}, "PatientSpeciesDescription", "Canis"),
    ({"PID_36": "4^Poodle^SCT"}, "PatientBreedCodeSequence.CodeMeaning", "Poodle"),
    ({"PID_27": "M^Capitán"}, "MilitaryRank", "Capitán"),
]


@pytest.mark.parametrize(("changed", "keyword", "value"), FIELDS)
def test_default_mapping_fills(changed: dict[str, str], keyword: str, value: Any) -> None:
    """A field, in each way in which it is written, becomes the attribute that it is documented to become."""
    text = order(**changed)
    found = flat(entries(text)[0].step.dataset)
    assert found.get(keyword, ABSENT) == value


@pytest.mark.parametrize(
    ("changed", "priority"),
    [
        ({"ORC_7": "^^^20260310^^S"}, "STAT"),
        ({"ORC_7": "", "OBR_27": "^^^20260310^^A"}, "HIGH"),
        ({"ORC_7": "", "OBR_27": "^^^^^R"}, "ROUTINE"),
        ({"ORC_7": "", "segment1": "TQ1|||||||20260310||T^Timing^HL70485"}, "MEDIUM"),
        ({"ORC_7": "^^^20260310^^S", "segment1": "TQ1|||||||||P"}, "HIGH"),
        ({"ORC_7": "^^^^^1"}, ""),
        ({"ORC_7": ""}, ""),
    ],
)
def test_default_mapping_knows_the_priority(changed: dict[str, str], priority: str) -> None:
    """TQ1-9 counts before ORC-7.6 before OBR-27.6; what no table knows is no priority."""
    assert _entry(**changed).step.priority == priority


REFUSED = [
    ({"OBR_18": "A2345678901234567"}, "OBR^1^18", "102", "at most 16 characters, found 17"),
    ({"OBR_18": "", "OBR_3": "F2345678901234567"}, "OBR^1^3", "102", "at most 16 characters"),
    ({"OBR_18": r"A\E\B"}, "OBR^1^18", "102", "no backslash"),
    ({"OBR_18": "", "OBR_2": "", "OBR_3": "", "ORC_2": "", "ORC_3": ""}, "OBR^1", "101", "accession number"),
    ({"OBR_19": "R2345678901234567"}, "OBR^1^19", "102", "RequestedProcedureID"),
    ({"ZDS_1": "1.2.03"}, "ZDS^1^1", "102", "a UID"),
    ({"ZDS_1": "1." + "2" * 63}, "ZDS^1^1", "102", "at most 64 characters"),
    ({"ORC_7": "^^^02282020_150014"}, "ORC^1^7^1^4", "102", "YYYYMMDDHHMMSS"),
    ({"ORC_7": "^^^20260230"}, "ORC^1^7^1^4", "102", "a day and time that exist"),
    ({"ORC_7": "^^^202602282500"}, "ORC^1^7^1^4", "102", "a day and time that exist"),
    ({"ORC_7": "^^^20260311010000+9900"}, "ORC^1^7^1^4", "102", "a time zone that exists"),
    ({"segment1": "IPC|||||||||CT1~" + "C" * 17}, "IPC^1^9^2^1", "102", "ScheduledStationAETitle"),
    ({"PID_3": "^^^HOSP"}, "PID^1^3", "101", "no number of the patient"),
    ({"PID_3": "4" * 65}, "PID^1^3", "102", "at most 64 characters"),
    ({"PID_3": r"4\E\7"}, "PID^1^3", "102", "backslash"),
    ({"PID_5": "X" * 70}, "PID^1^5^1^1", "102", "PatientName"),
    ({"PID_1": "", "PID_3": "", "PID_5": "", "PID_7": "", "PID_8": ""}, "PID^1", "101", "no PID segment"),
]


@pytest.mark.parametrize(("changed", "location", "code", "told"), REFUSED)
def test_default_mapping_refuses(changed: dict[str, str], location: str, code: str, told: str) -> None:
    """What names a patient, an order, a time or a station is refused rather than cut, guessed or left out."""
    faults = _entry(**changed).explanation.faults
    assert [(fault.location, fault.hl7_code) for fault in faults] == [(location, code)]
    assert told in faults[0].text


SHORTENED = [
    ({"OBR_4": f"A^{'x' * 70}^L"}, "RequestedProcedureDescription", "x" * 64, "found 70; it was shortened"),
    ({"OBR_13": "y" * 70}, "MedicalAlerts", "y" * 64, "found 70; it was shortened"),
    ({"PID_7": "UNKNOWN"}, "PatientBirthDate", ABSENT, "it was left out"),
    ({"ORC_17": f"{'1' * 80}^H^L"}, "InstitutionName", "H", ""),
    ({"OBR_13": r"a\X00\b"}, "MedicalAlerts", "a b", "became blanks"),
]


@pytest.mark.parametrize(("changed", "keyword", "value", "told"), SHORTENED)
def test_default_mapping_shortens_texts_with_a_notice(
    changed: dict[str, str], keyword: str, value: Any, told: str
) -> None:
    """Words that nothing depends on may be shortened or left out, never in silence."""
    entry = _entry(**changed)
    assert entry.explanation.faults == ()
    assert flat(entry.step.dataset).get(keyword, ABSENT) == value
    assert any(told in str(notice) for notice in entry.explanation.notices) or not told


def test_derived_study_uid_is_the_same_for_the_same_order() -> None:
    """Two messages of one accession number are one study, those of two are two; the site makes them its own."""
    first, again, other = (_values(ZDS_1="", OBR_18=number)["StudyInstanceUID"] for number in ("A1", "A1", "A2"))
    assert first == again == "2.25.147691298689067850487406674135212995872"
    assert other != first


def test_null_deletes_and_absent_leaves() -> None:
    """A null ("") is an empty attribute, for the worklist to delete; an empty field is no attribute."""
    null = _values(PID_11='""', OBR_13='""', OBR_31='""', OBR_16='""')
    for keyword in ("PatientAddress", "MedicalAlerts", "ReasonForTheRequestedProcedure", "RequestingPhysician"):
        assert null[keyword] == ""
        assert keyword not in _values()
    dataset = _entry(OBR_31='""').step.dataset
    assert dataset.ReasonForRequestedProcedureCodeSequence == []


def test_every_order_of_a_message_is_read() -> None:
    """Each OBR is a request of its own, each IPC a step of its own; TQ1 before an OBR holds for it."""
    second = OBR.replace("57", "58").replace("RXT^Radiografía de tórax", "TAC^TAC cráneo").replace("|CR", "|CT")
    text = message(PID, ORC, OBR, ORC.replace("57", "58"), second, OBR.replace("57", "59"))
    assert [flat(entry.step.dataset)["AccessionNumber"] for entry in entries(text)] == ["ACC57", "ACC58", "ACC59"]
    steps = ("IPC|A62|R62|1.2.62|S62a|CT|C^D^L||R1|CT1", "IPC|A62|R62|1.2.62|S62b|CT|C^D^L||R1|CT1~CT2")
    text = message(PID, "ORC|NW|P62|F62||SC", "TQ1|1||||||20260310090000|||R", "OBR|1|P62|F62|X^Y^L", *steps)
    found = [flat(entry.step.dataset) for entry in entries(text.replace("ORM^O01", "OMI^O23"))]
    assert [values["ScheduledProcedureStepID"] for values in found] == ["S62a", "S62b"]
    assert {values["ScheduledProcedureStepStartTime"] for values in found} == {"090000"}


def test_explanation_names_field_and_line() -> None:
    """Every attribute is explained with its place in the message, the mapping's line, and what was done with it."""
    explained = {row.keyword: row for row in _entry(OBR_24="NMR", OBR_18="").explanation.rows}
    modality = explained["Modality"]
    assert (modality.value, modality.place, modality.source) == ("MR", "OBR-24", "OBR-24")
    assert modality.note == '"NMR" is "MR" in the table "modality"'
    assert str(modality.rule).startswith("default.yaml, line ")
    assert (explained["AccessionNumber"].place, explained["AccessionNumber"].source) == ("OBR-3", "OBR-3")
    assert (explained["PatientID"].place, explained["PatientID"].source) == ("PID-3", "identity")


def test_supposed_values_are_told_apart() -> None:
    """What no field gave is known as such, for it says nothing about an entry that is there."""
    bare = _entry(OBR_19="", OBR_20="", OBR_24="", ORC_7="", ZDS_1="", OBR_4="X^Y^L")
    assert bare.supposed == {
        "StudyInstanceUID",
        "RequestedProcedureID",
        "ScheduledProcedureStepID",
        "Modality",
        "ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepStartTime",
    }
    assert _entry().supposed == set()


CONTROL = [
    (("NW", "SC"), Action.SCHEDULE),
    (("NW", "IP"), Action.SCHEDULE),
    (("NW", ""), Action.SCHEDULE),
    (("nw", ""), Action.SCHEDULE),
    (("", "SC"), Action.SCHEDULE),
    (("SN", ""), Action.SCHEDULE),
    (("NW", "CA"), Action.CANCEL),
    (("XO", "SC"), Action.UPDATE),
    (("XO", ""), Action.UPDATE),
    (("XO", "CM"), Action.COMPLETE),
    (("XX", "DC"), Action.DISCONTINUE),
    (("RP", ""), Action.UPDATE),
    (("CA", "CA"), Action.CANCEL),
    (("CA", ""), Action.CANCEL),
    (("OC", ""), Action.CANCEL),
    (("DC", "CA"), Action.DISCONTINUE),
    (("OD", ""), Action.DISCONTINUE),
    (("SC", "CM"), Action.COMPLETE),
    (("SC", "A"), Action.COMPLETE),
    (("SC", "IP"), Action.START),
    (("SC", "SC"), Action.UPDATE),
    (("SC", ""), Action.UPDATE),
    (("HD", "SC"), Action.HOLD),
    (("SC", "HD"), Action.HOLD),
    (("RL", ""), Action.RELEASE),
    (("UA", ""), Action.NOTE),
    (("ZZ", ""), Action.REFUSE),
]


@pytest.mark.parametrize(("codes", "action"), CONTROL)
def test_order_control_decides(codes: tuple[str, str], action: Action) -> None:
    """ORC-1, with ORC-5 where it alone does not say it, decides what is done; what nobody knows is refused."""
    (reading,) = readings(order(ORC_1=codes[0], ORC_5=codes[1]))
    assert reading.action is action


@pytest.mark.parametrize(
    ("event", "status", "action"),
    [
        ("S12", "BOOKED", Action.SCHEDULE),
        ("S13", "", Action.SCHEDULE),
        ("S14", "", Action.UPDATE),
        ("S14", "Arrived^^CSI", Action.ARRIVE),
        ("S15", "", Action.CANCEL),
        ("S16", "", Action.DISCONTINUE),
        ("S17", "", Action.CANCEL),
        ("S26", "", Action.CANCEL),
    ],
)
def test_appointment_event_decides(event: str, status: str, action: Action) -> None:
    """The trigger event, with SCH-25 where it alone does not say it, decides what is done."""
    text = message(PID, "SCH|A1|F1" + "|" * 23 + status, kind=f"SIU^{event}")
    (reading,) = readings(text)
    assert reading.action is action


def test_appointment_becomes_entries_of_its_services() -> None:
    """Each AIS is an entry, with the room, the device and the person of its own resource group."""
    text = message(
        PID,
        "SCH|P68|F68||||R^Reason||||min|^^^20260310080000",
        "RGS|1|A",
        "AIS|1|A|RXT^Rx tórax^L|20260310090000",
        "NTE|1||ayunas",
        "AIG|1|A|CR1|CR",
        "AIL|1|A|SALA^1",
        "AIP|1|A|7^PAZ^ANA",
        "RGS|2|A",
        "AIS|2|A|MMG^Mamografía^L",
        "AIL|2|A|SALA^2",
        kind="SIU^S12",
    )
    first, second = (flat(entry.step.dataset) for entry in entries(text))
    assert (first["AccessionNumber"], first["PlacerOrderNumberImagingServiceRequest"]) == ("F68", "P68")
    assert (first["Modality"], first["ScheduledStationName"]) == ("CR", "CR1")
    assert (first["ScheduledProcedureStepLocation"], first["ScheduledPerformingPhysicianName"]) == ("SALA 1", "PAZ^ANA")
    assert (first["ScheduledProcedureStepStartTime"], first["RequestedProcedureComments"]) == ("090000", "ayunas")
    assert (second["Modality"], second["ScheduledProcedureStepLocation"]) == ("MG", "SALA 2")
    assert second["ScheduledProcedureStepStartTime"] == "080000"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"OBR_24": "LAB"}, "not for the worklist: OBR-24 is LAB"),
        ({"OBR_1": "", "OBR_2": "", "OBR_3": "", "OBR_4": ""} | {f"OBR_{n}": "" for n in (18, 19, 20, 24)}, "no OBR"),
    ],
)
def test_what_is_no_examination_is_only_noted(changed: dict[str, str], why: str) -> None:
    """Orders of a laboratory or for medicines stay in the journal."""
    (reading,) = readings(order(**changed))
    assert reading.action is Action.NOTE
    assert why in reading.why


@pytest.mark.parametrize("control", ["NW", "CA", "HD", "RL"])
def test_orders_of_other_services_are_only_noted(control: str) -> None:
    """Medicines and meals, ordered or canceled, touch no examination, whatever their numbers."""
    first, second = readings(message(PID, ORC.replace("NW", control), "RXO|^Ampicilina|500||MG", "RXR|PO", ORC, OBR))
    assert (first.action, second.action) == (Action.NOTE, Action.SCHEDULE)


def test_parts_of_an_order_are_read_without_the_whole() -> None:
    """PA has no OBR; its children have theirs."""
    whole, part = readings(message(PID, "ORC|PA|1000^OE|5", "ORC|CH|1000^OE|6", OBR))
    assert (whole.action, part.action) == (Action.NOTE, Action.SCHEDULE)


PRIOR = "OBR|1|P0|F0|TC^TC cráneo^L|||20240101101010|||||||||||ACC0||||||CT|"
RESULT = "OBX|1|TX|X^Y||normal||||||F"


@pytest.mark.parametrize(
    ("behind", "action"),
    [
        ([PID, PRIOR + "F", RESULT], Action.NOTE),
        ([PID, PRIOR + "F"], Action.NOTE),
        ([PID, PRIOR, RESULT], Action.NOTE),
        ([PRIOR + "F", RESULT], Action.NOTE),
        ([PRIOR + "C", RESULT], Action.NOTE),
        ([PID, "ORC|NW|P0|F0", PRIOR + "F", RESULT], Action.NOTE),
        ([PID, PRIOR], Action.REFUSE),
        ([PRIOR, RESULT], Action.SCHEDULE),
        ([PRIOR + "F"], Action.SCHEDULE),
        (["ORC|NW|P0|F0", PRIOR, RESULT], Action.SCHEDULE),
    ],
)
def test_prior_results_behind_an_order_are_only_noted(behind: list[str], action: Action) -> None:
    """What OMG^O19 tells of examinations of before is not done again; what says neither is for a person to look at."""
    first, second = readings(message(PID, ORC, OBR, *behind, kind="OMG^O19"))
    assert (first.action, second.action) == (Action.SCHEDULE, action)


def test_results_without_orders_around_them_are_read_as_before() -> None:
    """An OBR that has no ORC because the sender writes none is an order."""
    (reading,) = readings(message(PID, OBR))
    assert reading.action is Action.SCHEDULE


@pytest.mark.parametrize("event", ["S12", "S15"])
def test_appointment_of_several_patients_is_refused(event: str) -> None:
    """Nobody is left out of an appointment, or taken for another; the same patient twice is one."""
    other = PID.replace("4711", "999")
    for pids, faults in (([PID, other], [("PID^2", "100")]), ([PID, PID], [])):
        text = message("SCH|A1|F1", *pids, "RGS|1", "AIS|1|A|X^RM^L|20260310100000", kind=f"SIU^{event}")
        (reading,) = readings(text)
        found = reading.entries[0].explanation.faults
        assert [(fault.location, fault.hl7_code) for fault in found] == faults


@pytest.mark.parametrize(
    ("first", "second", "faults"),
    [
        ("4711^^^HOSP~1A^^^MI", "1A^^^MI~4711^^^HOSP", 0),
        ("4711~1A", "1A~4711", 0),
        ("4711^^^HOSP~1A^^^MI", "1A^^^MI", 0),
        ("4711^^^HOSP", "4711^^^HOSP~1A^^^MI", 0),
        ("4711^^^HOSP~1A^^^MI", "1A^^^MI~999^^^HOSP", 1),
        ("4711", "1A~4711", 1),
        ("4711^^^HOSP", "4711^^^ELSE", 1),
    ],
)
@pytest.mark.parametrize("event", ["S12", "S15"])
def test_patient_of_an_appointment_is_one_in_whatever_order_of_the_numbers(
    event: str, first: str, second: str, faults: int
) -> None:
    """Two PID with numbers of the same issuers that agree are one patient; a family that shares a number is not."""
    pids = [PID.replace("4711^^^HOSP^PI", numbers) for numbers in (first, second)]
    (reading,) = readings(message("SCH|A1|F1", *pids, "AIS|1|A|X^RM^L|20260310100000", kind=f"SIU^{event}"))
    assert len(reading.entries[0].explanation.faults) == faults


# hl7.md 3.1 and 3.2 (the documented mapping of dcm4chee-arc) for its own samples. Named deviations: names and reasons
# of more than 64 characters are shortened (it cuts, too); SPS IDs and AE titles of more than 16 are refused (it cuts
# nothing there, and no modality could use them); the protocol code falls back from OBR-4.4 to OBR-4.1; OBR-34 is read
# as NDL, which the sample's is not.
COMMON = {
    "AccessionNumber": "AccessionNumber",
    "RequestedProcedureID": "RequestedProcID",
    "StudyInstanceUID": "1.2.392.200036.9125.0.198811291108.7",
    "Modality": "CT",
    "ScheduledProcedureStepStartDate": "20000816",
    "ScheduledProcedureStepStartTime": "151000",
    "ScheduledProcedureStepDescription": "Microscopic Observation",
    "RequestedProcedureDescription": "Microscopic Observation",
    "RequestedProcedureCodeSequence.CodeValue": "10637-7",
    "RequestedProcedureCodeSequence.CodingSchemeDesignator": "LN",
    "ReasonForRequestedProcedureCodeSequence.CodeValue": "D1304",
    "PatientTransportArrangements": "PatientTransportArrangements",
    "PatientState": "PatientState",
    "MedicalAlerts": "MedicalAlerts",
    "PlacerOrderNumberImagingServiceRequest": "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest": "FillerOrderNumberImagingServiceRequest",
    "InstitutionName": "Hospital1",
    "InstitutionCodeSequence.CodeValue": "HospID_1",
    "InstitutionAddress": "InstitutionAddress",
    "AdmissionID": "AdmissionIDFromVisitNo",
    "RouteOfAdmissions": "E",
    "PregnancyStatus": "3",
    "PatientID": "PID_1",
    "IssuerOfPatientID": "ADT1",
    "PatientName": "Smith^Lucy^Mark",
    "PatientBirthDate": "20141014",
    "PatientSex": "F",
    "PatientAddress": "PatientAddress",
    "PatientComments": "PatientComments",
    "PatientWeight": "65",
    "PatientSize": "1.65",
    "RequestedProcedureComments": "RequestedProcedureComments",
}
SAMPLES = {
    "0005_OMG_O19": ["OBR^1^20"],
    "0006_OMI_O23": ["IPC^1^4", "IPC^1^9", "IPC^1^9^2^1"],
    "0007_OMI_O23": ["OBR^1^20"],
}


@pytest.mark.parametrize("name", SAMPLES)
def test_dcm4che_sample_maps_as_documented(name: str, real_hl7: list[CorpusMessage]) -> None:
    """dcm4che's own orders give what its documentation says, but for the deviations that are named here."""
    raw = next(each.raw for each in real_hl7 if each.name == f"dcm4che__dcm4che/{name}.hl7")
    (entry,) = entries(raw)
    values = flat(entry.step.dataset)
    assert {keyword: values.get(keyword) for keyword in COMMON} == COMMON
    assert [fault.location for fault in entry.explanation.faults] == SAMPLES[name]
    assert {fault.hl7_code for fault in entry.explanation.faults} == {"102"}
    physician = str(values["ReferringPhysicianName"])
    assert physician.startswith("ReferringPhysicianFN^ReferringPhysicianGN^ReferringPhysicianMN^")


def test_every_real_order_is_read_or_told_why_not(real_hl7: list[CorpusMessage]) -> None:
    """Whatever a real sender orders or schedules gives entries that can be written, or faults with their place."""
    orders = [each for each in real_hl7 if any(kind in each.raw[:200] for kind in (b"ORM", b"OMG", b"OMI", b"SIU"))]
    assert len(orders) > 100
    refused = {}
    for each in orders:
        if each.due in ("", "ok"):
            for entry in entries(each.raw):
                values = flat(entry.step.dataset)
                if entry.explanation.faults:
                    assert all(fault.location for fault in entry.explanation.faults), each.name
                    refused[each.name] = [fault.text for fault in entry.explanation.faults]
                else:
                    assert values["AccessionNumber"], each.name
                    assert values["PatientID"], each.name
    assert not [name for name in refused if Path(name).name.startswith("ok_")]


# hl7.md 3.2 for dcm4che's own ADT samples.
ADT_SAMPLES = {
    "0001_ADT_A31": {
        "PatientID": "PID_1",
        "IssuerOfPatientID": "ADT1",
        "PatientName": "Smith^Lucy",
        "PatientBirthDate": "20141014",
        "PatientSex": "F",
        "ResponsiblePerson": "Smith^Mark",
        "ResponsiblePersonRole": "OWNER",
        "PatientAddress": "PatientAddress",
        "PatientSpeciesDescription": "Canis",
        "PatientSpeciesCodeSequence.CodeValue": "388490000",
        "PatientBreedDescription": "Toy poodle dog breed",
        "PatientBreedCodeSequence.CodeValue": "25243005",
        "OtherPatientIDsSequence.PatientID": "CHIP_ID_1",
        "PatientComments": "PatientComments",
    },
    "0002_ADT_A31": {"PatientID": "PID_1", "PatientName": "Smith^Lucy^Mark"},
    "0003_ADT_A40": {"PatientID": "NEW_PID_1", "PatientName": "New_Smith^Lucy^Mark"},
    "0004_ADT_A47": {"PatientID": "NEW_PID_1", "PatientName": "Smith^Lucy^Mark"},
}


@pytest.mark.parametrize("name", ADT_SAMPLES)
def test_dcm4che_patient_maps_as_documented(name: str, real_hl7: list[CorpusMessage]) -> None:
    """dcm4che's own ADT messages give the patient that its documentation says, the numbers that it had before, too."""
    parsed, _ = taken_apart(next(each.raw for each in real_hl7 if each.name == f"dcm4che__dcm4che/{name}.hl7"))
    (group,) = parsed.patient_groups()
    reading = mapper().read_patient(parsed, group.pid, peer())
    values = flat(reading.dataset)
    assert {keyword: values.get(keyword) for keyword in ADT_SAMPLES[name]} == ADT_SAMPLES[name]
    assert reading.explanation.faults == ()
    if group.mrg:
        prior = read_prior_numbers(group.mrg, IdentityRules())
        assert [number.key for number in prior] == [("OLD_PID_1", "ADT1")]


def test_damaged_orders_are_read_or_faulted() -> None:
    """Whatever a bad line makes of a message, reading it ends, with entries or with faults."""
    chance = random.Random(11)
    whole = [order().encode(), message(PID, "SCH|P|F", "AIS|1|A|X^Y^L", kind="SIU^S12").encode()]
    for _ in range(1500):
        try:
            parsed, header = taken_apart(mutated(chance, whole))
        except Hl7Error:
            continue
        for reading in mapper().read_message(parsed, header, peer()):
            for entry in reading.entries:
                assert entry.step.step_item is not None
