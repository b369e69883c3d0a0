"""The MLLP client against systems with TLS, and against answers that are none."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fixtures.hospital_system import FS_CR, VT, HospitalSystem, accept, acknowledgment, hospital_system
from fixtures.mllp import msa, order
from fixtures.outboxes import event, sending
from fixtures.process_pools import becomes_true
from pacs.database import Database
from pacs.errors import SettingsError
from pacs.hl7.outbound.client import MllpClient, NoAnswer, Stopped, Unreachable
from pacs.hl7.outbound.settings import TlsSettings
from pacs.settings import parse_settings
from pacs.work import WorkState

pytest_plugins = ("fixtures.certificates",)


@contextmanager
def tls_system(
    certificates: Path, name: str = "server", *, client_authority: str = "", **options: Any
) -> Iterator[HospitalSystem]:
    """Run a system with a certificate; where an authority is named, it wants one of that of its clients."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    if client_authority:
        context.load_verify_locations(certificates / f"{client_authority}.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    if version := options.pop("newest", None):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.maximum_version = version
    with hospital_system(options.pop("manner", accept), tls=context) as system:
        yield system


def client(
    system: HospitalSystem, tls: dict[str, Any] | None, *, host: str = "localhost", seconds: float = 5
) -> MllpClient:
    """Return a client with settings as they are written."""
    settings = None if tls is None else TlsSettings.model_validate(tls)
    return MllpClient(host, system.port, answer_seconds=seconds, tls=settings)


def go_on() -> bool:
    """Say that nobody ends the program."""
    return False


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_messages_go_by_tls_over_one_connection(certificates: Path, newest: ssl.TLSVersion) -> None:
    """Each is answered, and none takes what TLS itself says for a stale connection."""
    with (
        tls_system(certificates, newest=newest) as system,
        client(system, {"Authorities": certificates / "ca.pem"}) as sender,
    ):
        for number in range(20):
            assert msa(sender.ask(order(f"T{number}"), go_on)) == ("AA", f"T{number}")
        assert system.connections == 1


@pytest.mark.parametrize(
    ("name", "tls", "host"),
    [
        ("impostor", {"Authorities": "ca.pem"}, "localhost"),
        ("server", {"Authorities": "other-ca.pem"}, "localhost"),
        ("server", {}, "localhost"),
        ("server", {"Authorities": "ca.pem"}, "127.0.0.1"),
        ("server", {"Authorities": "ca.pem", "ServerName": "his.hospital.example"}, "localhost"),
    ],
    ids=["of another authority", "another authority trusted", "the system's authorities", "by address", "another name"],
)
def test_who_proves_nothing_gets_no_message(certificates: Path, name: str, tls: dict[str, str], host: str) -> None:
    """Without a certificate of the trusted authority and of the right name, nothing is said."""
    settings = {key: certificates / value if key == "Authorities" else value for key, value in tls.items()}
    with tls_system(certificates, name) as system, client(system, settings, host=host) as sender:
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            sender.ask(order("SECRET"), go_on)
        assert system.received == []


@pytest.mark.parametrize(
    ("name", "tls", "host"),
    [
        ("server", {"Authorities": "ca.pem", "ServerName": "localhost"}, "127.0.0.1"),
        ("old-server", {"Authorities": "old-ca.pem"}, "localhost"),
        ("impostor", {"Verify": False}, "127.0.0.1"),
    ],
    ids=["named by a setting", "authority without KeyUsage", "not verified"],
)
def test_who_is_trusted_by_the_settings_gets_it(certificates: Path, name: str, tls: dict[str, Any], host: str) -> None:
    """A name of its own for an address, an authority that a hospital made years ago, and whoever where that is said."""
    settings = {key: certificates / value if key == "Authorities" else value for key, value in tls.items()}
    with tls_system(certificates, name) as system, client(system, settings, host=host) as sender:
        assert msa(sender.ask(order("YES"), go_on)) == ("AA", "YES")


def test_our_certificate_is_shown_where_it_is_wanted(certificates: Path) -> None:
    """A system that wants one takes the message with it, and none without it or with a stranger's."""
    trust = {"Authorities": certificates / "ca.pem"}
    ours = trust | {"Certificate": certificates / "his.pem", "Key": certificates / "his.key"}
    strangers = trust | {"Certificate": certificates / "stranger.pem", "Key": certificates / "stranger.key"}
    with tls_system(certificates, client_authority="ca") as system:
        for settings in (trust, strangers):
            with client(system, settings) as sender, pytest.raises(Unreachable):
                sender.ask(order("NO"), go_on)
        with client(system, ours) as sender:
            assert msa(sender.ask(order("YES"), go_on)) == ("AA", "YES")
        assert system.control_ids() == ["YES"]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_tls_is_not_spoken(certificates: Path) -> None:
    """Below TLS 1.2 nothing is said."""
    with (
        tls_system(certificates, newest=ssl.TLSVersion.TLSv1_1) as system,
        client(system, {"Authorities": certificates / "ca.pem"}) as sender,
        pytest.raises(Unreachable),
    ):
        sender.ask(order("OLD"), go_on)


def test_plain_system_gets_nothing_of_a_tls_client(certificates: Path) -> None:
    """A destination that is set to TLS is never spoken to without."""
    with (
        hospital_system() as system,
        client(system, {"Authorities": certificates / "ca.pem"}, seconds=0.5) as sender,
    ):
        with pytest.raises(Unreachable):
            sender.ask(order("PLAIN"), go_on)
        assert system.received == []


def test_missing_file_is_told_with_its_name(certificates: Path) -> None:
    """Who reads the journal knows which file is meant."""
    with tls_system(certificates) as system:
        with client(system, {"Authorities": certificates / "nothing.pem"}) as sender, pytest.raises(Unreachable):
            sender.ask(order("NO"), go_on)
        assert system.received == []


def test_end_of_the_program_is_seen_while_tls_is_silent(certificates: Path) -> None:
    """Waiting for an answer that does not come ends as soon as it should, not after the whole wait."""

    def say_nothing(_message: bytes, _times: int) -> None:
        return None

    asked_at = time.monotonic()
    with (
        tls_system(certificates, manner=say_nothing) as system,
        client(system, {"Authorities": certificates / "ca.pem"}, seconds=60) as sender,
        pytest.raises(Stopped),
    ):
        sender.ask(order("WAIT"), lambda: time.monotonic() - asked_at > 0.5)
    assert time.monotonic() - asked_at < 5


CUT_OFF = VT + b"MSH|^~\\&|HIS|H|PACS|P|20260310||ACK|1|P|2.3.1\rMSA|AA|"


@pytest.mark.parametrize(
    "spoil",
    [
        # The answer of another message, cut off where the next begins: it must not count, whatever it says.
        lambda answer: CUT_OFF + b"ORDER\r" + answer,
        lambda answer: b"hello\r\n" + answer,
        lambda answer: answer.removesuffix(b"\r"),
        lambda answer: answer.removesuffix(FS_CR) + b"\x1c\n",
        lambda answer: VT + answer,
    ],
    ids=["after one cut off", "after junk", "end without CR", "end with LF", "start twice"],
)
def test_answer_is_found_among_what_is_none(spoil: Callable[[bytes], bytes]) -> None:
    """What has a fault is no acknowledgment; the answer that comes with it, or ends in FS alone, is."""
    with (
        hospital_system(lambda message, _: spoil(acknowledgment(message))) as system,
        client(system, None, host="127.0.0.1") as sender,
    ):
        assert msa(sender.ask(order("ORDER"), go_on)) == ("AA", "ORDER")
        assert b"said so" in sender.ask(order("ORDER"), go_on)


@pytest.mark.parametrize("said", [CUT_OFF + b"ORDER\r" + VT + b"MSH", CUT_OFF + b"ORDER\r", b"\x1c\r"])
def test_acknowledgment_that_is_cut_off_is_none(said: bytes) -> None:
    """The message will be sent again: what has no end says nothing."""
    with (
        hospital_system(lambda *_: said) as system,
        client(system, None, host="127.0.0.1", seconds=0.8) as sender,
        pytest.raises(NoAnswer),
    ):
        sender.ask(order("ORDER"), go_on)


def test_destination_with_tls_is_told(tmp_path: Path, certificates: Path) -> None:
    """The whole way: an event, its message by TLS with our certificate, its acknowledgment."""
    tls = {"Authorities": str(certificates / "ca.pem"), "ServerName": "localhost"}
    tls |= {"Certificate": str(certificates / "his.pem"), "Key": str(certificates / "his.key")}
    with (
        tls_system(certificates, client_authority="ca") as system,
        Database(f"sqlite:///{tmp_path / 'pacs.db'}") as database,
    ):
        database.migrate()
        outbox = sending(database, system.port, Tls=tls)
        outbox.tell([event(number=1), event(number=2)])
        with outbox.running():
            assert becomes_true(lambda: outbox.counts() == {WorkState.DONE: 2}, 20)
        assert system.connections == 1


def test_key_without_certificate_is_refused_before_anything_starts() -> None:
    """The place in the settings is named."""
    destination = {"Host": "his", "Port": 2575, "Tls": {"Key": "/etc/pacs/his.key"}}
    with pytest.raises(SettingsError, match=r"Pacs\.Outbound\.Destinations\.his\.Tls: .*expected Certificate"):
        parse_settings({"Outbound": {"Destinations": {"his": destination}}})
