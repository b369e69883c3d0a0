"""What each field of an outgoing message holds: a literal, or in braces the name of a value.

Sources: HL7 v2.3.1 and v2.5.1 chapters 2, 3, 4 and 7; IHE Radiology RAD-3, RAD-4 and RAD-42.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

type Fields = Mapping[str, str]


class MessageType(StrEnum):
    """The messages that can be sent, by the name of their structure."""

    ORM_O01 = "ORM_O01"
    OMG_O19 = "OMG_O19"
    OMI_O23 = "OMI_O23"
    ORU_R01 = "ORU_R01"


VERSIONS: Mapping[MessageType, Sequence[str]] = {
    MessageType.ORM_O01: ("2.3.1", "2.4", "2.5", "2.5.1"),
    MessageType.OMG_O19: ("2.4", "2.5", "2.5.1"),
    MessageType.OMI_O23: ("2.5", "2.5.1"),
    MessageType.ORU_R01: ("2.3.1", "2.4", "2.5", "2.5.1"),
}
# What a message tells, as `builder` fills it in. "" for what is not known.
VALUES = (
    "sending_application",
    "sending_facility",
    "receiving_application",
    "receiving_facility",
    "now",
    "control_id",
    "processing_id",
    "charset",
    "patient_id",
    "issuer_of_patient_id",
    "family_name",
    "given_name",
    "middle_name",
    "name_prefix",
    "name_suffix",
    "patient_birth_date",
    "patient_sex",
    "admission_id",
    "placer_order_number",
    "filler_order_number",
    "order_status",
    "at",
    "event",
    "event_text",
    "procedure_code",
    "procedure_text",
    "procedure_scheme",
    "accession_number",
    "requested_procedure_id",
    "step_id",
    "modality",
    "result_status",
    "observation_status",
    "study_instance_uid",
    "link",
    "scheduled_start",
)
# Before it, the time of an order stands in ORC-7 and OBR-27, after it in TQ1.
_WITH_TIMING_SEGMENT = "2.5"

_HEADER: Fields = {
    "3.1": "{sending_application}",
    "4.1": "{sending_facility}",
    "5.1": "{receiving_application}",
    "6.1": "{receiving_facility}",
    "7": "{now}",
    "10": "{control_id}",
    "11.1": "{processing_id}",
    "18": "{charset}",
}
_PATIENT: Fields = {
    "1": "1",
    "3.1": "{patient_id}",
    "3.4.1": "{issuer_of_patient_id}",
    "5.1.1": "{family_name}",
    "5.2": "{given_name}",
    "5.3": "{middle_name}",
    "5.4": "{name_suffix}",
    "5.5": "{name_prefix}",
    "7": "{patient_birth_date}",
    "8": "{patient_sex}",
}
_VISIT: Fields = {"1": "1", "2": "U", "19.1": "{admission_id}"}
_ORDER: Fields = {
    "1": "SC",
    "2.1": "{placer_order_number}",
    "3.1": "{filler_order_number}",
    "5": "{order_status}",
    "9": "{at}",
    "16.1": "{event}",
    "16.2": "{event_text}",
    "16.3": "99PACS",
}
_REQUEST: Fields = {
    "1": "1",
    "2.1": "{placer_order_number}",
    "3.1": "{filler_order_number}",
    "4.1": "{procedure_code}",
    "4.2": "{procedure_text}",
    "4.3": "{procedure_scheme}",
    "18": "{accession_number}",
    "19": "{requested_procedure_id}",
    "20": "{step_id}",
    "22": "{at}",
    "24": "{modality}",
    "25": "{result_status}",
}
_STUDY: Fields = {
    "1": "1",
    "2": "ST",
    "3.1": "113014",
    "3.2": "DICOM Study",
    "3.3": "DCM",
    "4": "1",
    "5": "{study_instance_uid}",
    "11": "{observation_status}",
}
_LINK: Fields = {
    "1": "2",
    "3.1": "VIEWER",
    "3.2": "Study in the viewer",
    "3.3": "99PACS",
    "4": "1",
    "11": "{observation_status}",
}
LINKS: Mapping[str, Fields] = {
    "RP": {**_LINK, "2": "RP", "5": "{link}^PACS^AP^URL"},
    "ST": {**_LINK, "2": "ST", "5": "{link}"},
}
_IMAGING: Fields = {
    "1.1": "{accession_number}",
    "2.1": "{requested_procedure_id}",
    "3.1": "{study_instance_uid}",
    "4.1": "{step_id}",
    "5.1": "{modality}",
}
_TIMING: Fields = {"1": "1", "7": "{scheduled_start}"}


def segments(message: MessageType, version: str, link: str) -> list[tuple[str, Fields]]:
    """Return the segments of a message and their fields, in their order.

    Parameters
    ----------
    link : "RP", "ST", or "none" for no address of the viewer.
    """
    has_timing = version >= _WITH_TIMING_SEGMENT
    start = {} if has_timing else {"7.4": "{scheduled_start}"}
    listed = [
        ("MSH", {**_HEADER, **_type(message), "12.1": version}),
        ("PID", _PATIENT),
        ("PV1", _VISIT),
        ("ORC", {**_ORDER, **start}),
    ]
    if has_timing and message in (MessageType.OMG_O19, MessageType.OMI_O23):
        listed.append(("TQ1", _TIMING))
    listed += [("OBR", _REQUEST), ("OBX", _STUDY)]
    if link != "none":
        listed.append(("OBX", LINKS[link]))
    if message is MessageType.OMI_O23:
        listed.append(("IPC", _IMAGING))
    return listed


def _type(message: MessageType) -> Fields:
    code, event = message.split("_")
    return {"9.1": code, "9.2": event, "9.3": message}
