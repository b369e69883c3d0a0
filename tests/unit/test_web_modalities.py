"""DICOM nodes: what a person may enter, and what Orthanc gets."""

from __future__ import annotations

import pytest

from pacs.web.modalities import Permission, RemoteModality, is_ae_title, read_form

GOOD = {"name": "CT1", "ae_title": "CT1_SIEMENS", "host": "192.168.10.21", "port": "104", "timeout_seconds": "0"}


@pytest.mark.parametrize(
    ("title", "good"),
    [
        ("PACS", True),
        ("A" * 16, True),
        ("CT ROOM 2", True),
        ("A" * 17, False),
        ("", False),
        (" PACS", False),
        ("PACS ", False),
        ("PA\\CS", False),
        ("PA\nCS", False),
        ("PA\x7fCS", False),
        ("TOMOGRAFÍA", False),
    ],
)
def test_ae_title_is_checked_as_dicom_says(title: str, good: bool) -> None:  # noqa: FBT001 - a column of the table
    """VR AE: 1 to 16 plain characters, no backslash, no control character (PS3.5 section 6.2)."""
    assert is_ae_title(title) is good


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "a b"),
        ("name", "tomografía"),
        ("name", "x" * 65),
        ("name", "a/b"),
        ("ae_title", "A" * 17),
        ("ae_title", ""),
        ("host", ""),
        ("host", "a b"),
        ("host", "-x"),
        ("host", "http://ct1"),
        ("port", "0"),
        ("port", "65536"),
        ("port", "-1"),
        ("port", "1e3"),
        ("port", "١٠٤"),
        ("port", ""),
        ("timeout_seconds", "-1"),
        ("timeout_seconds", "3601"),
        ("timeout_seconds", "soon"),
        ("manufacturer", "Acme"),
        ("retrieve_method", "C-STORE"),
        ("local_ae_title", "A" * 17),
    ],
)
def test_form_tells_the_field_that_is_wrong(field: str, value: str) -> None:
    """Each mistake is told at its own field, and no other."""
    _, faults = read_form({**GOOD, field: value}, [])
    assert list(faults) == [field]


@pytest.mark.parametrize("host", ["ct1", "ct1.hospital.example", "10.0.0.1", "fe80::1", "::1"])
def test_form_takes_every_kind_of_host(host: str) -> None:
    """Names and addresses of both families are taken."""
    assert not read_form({**GOOD, "host": host}, [])[1]


def test_form_keeps_what_was_entered_beside_a_mistake() -> None:
    """Nobody types the rest again because the port was wrong."""
    modality, faults = read_form({**GOOD, "port": "x"}, ["AllowEcho"])
    assert faults.keys() == {"port"}
    assert (modality.name, modality.host, modality.permissions) == ("CT1", "192.168.10.21", {Permission.ECHO})


def test_modality_survives_the_way_to_orthanc_and_back() -> None:
    """What is written is what is read, permissions included."""
    modality, faults = read_form({**GOOD, "use_dicom_tls": "on"}, ["AllowEcho", "AllowStore"])
    assert not faults
    sent = modality.as_orthanc()
    assert (sent["AllowStore"], sent["AllowMove"], sent["UseDicomTls"], sent["AllowTranscoding"]) == (
        True,
        False,
        True,
        False,
    )
    assert RemoteModality.from_orthanc("CT1", sent) == modality


def test_modality_of_an_older_orthanc_may_do_everything() -> None:
    """Entries without permissions are read as Orthanc itself reads them."""
    modality = RemoteModality.from_orthanc("OLD", {"AET": "OLD", "Host": "h", "Port": 104})
    assert modality.permissions == frozenset(Permission)
