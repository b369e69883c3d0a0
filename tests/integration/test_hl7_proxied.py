"""HL7 behind NGINX's TLS: whoever NGINX passes on is judged by the address that it names, and nobody else names one."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fixtures.hl7_servers import RunningBridge, listens, running_bridge
from fixtures.mllp import END, START, Sender, framed, msa, order
from fixtures.ports import free_port
from fixtures.process_pools import becomes_true
from pacs.database import Database
from pacs.hl7.proxied import HEADER_SECONDS

pytest_plugins = ("fixtures.certificates",)

HIS = b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 2576\r\n"
STRANGER = b"PROXY TCP4 198.51.100.1 10.0.0.1 56324 2576\r\n"
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
PEERS = {
    "AcceptUnknownPeers": False,
    "Peers": {"his": {"Addresses": ["203.0.113.7", "2001:db8::7"], "MostConnections": 2, "LargestMessageBytes": 65536}},
}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return a database; which one does not matter here."""
    with Database(f"sqlite:///{tmp_path / 'pacs.db'}") as made:
        made.migrate()
        yield made


@contextmanager
def bridge(database: Database, **more: object) -> Iterator[tuple[RunningBridge, int]]:
    """Run a bridge with a port for NGINX, and give that port beside it."""
    port = free_port()
    with running_bridge(database, {"ProxyPort": port, **PEERS, **more}) as running:
        assert becomes_true(lambda: listens(port), 20)
        # Our look at the port was a connection without a word.
        assert becomes_true(lambda: refused(running) >= 1)
        yield running, port


def refused(running: RunningBridge, reason: str = "proxy-header") -> float:
    """Return how many connections were ended for a reason."""
    return running.figure("pacs_hl7_connections_refused_total", reason=reason)


def addresses(running: RunningBridge, count: int) -> list[tuple[str, str]]:
    """Wait until the journal has so many messages, and return their peers and addresses."""
    assert becomes_true(lambda: len(running.entries()) >= count), running.entries()
    return [(entry.peer, entry.remote_address) for entry in running.entries()]


def ids_after_one_more(running: RunningBridge, port: int) -> list[str | None]:
    """Send a message as it should be, and return what the journal has when it is there."""
    his = Sender(port)
    his.write(HIS + framed(order("LAST")))
    assert msa(his.answer()) == ("AA", "LAST")
    his.close()
    addresses(running, 1)
    return [entry.control_id for entry in running.entries()]


def test_sender_is_who_the_header_names_wherever_it_is_cut(database: Database) -> None:
    """Header and message in packets of every cut: the answer comes, and the journal has the sender's own address."""
    with bridge(database, Peers={"his": {"Addresses": ["203.0.113.7"]}}) as (running, port):
        count = 0
        for cut in (0, *range(1, len(HIS) + 4), len(HIS) + 200):
            whole = HIS + framed(order(f"CUT{cut}"))
            his = Sender(port)
            if cut:
                his.write(whole[:cut])
                time.sleep(0.002)
            his.write(whole[cut:])
            assert msa(his.answer()) == ("AA", f"CUT{cut}")
            assert msa(his.send(order(f"MORE{cut}"))) == ("AA", f"MORE{cut}")
            his.close()
            count += 2
        assert addresses(running, count) == [("his", "203.0.113.7")] * count


def test_sender_by_ipv6_is_known_too(database: Database) -> None:
    """An address of version 6 is written in one way, whatever way NGINX wrote it."""
    with bridge(database) as (running, port):
        his = Sender(port)
        his.write(b"PROXY TCP6 2001:DB8:0::7 2001:db8::1 1 2\r\n" + framed(order("SIX")))
        assert msa(his.answer()) == ("AA", "SIX")
        his.close()
        assert addresses(running, 1) == [("his", "2001:db8::7")]


def test_stranger_is_refused_by_the_address_that_nginx_names(database: Database) -> None:
    """That NGINX itself calls from this machine makes nobody a peer."""
    with bridge(database) as (running, port):
        his = Sender(port)
        his.write(STRANGER + framed(order("NO")))
        assert his.is_ended()
        assert becomes_true(lambda: refused(running, "unknown") >= 1)
        assert ids_after_one_more(running, port) == ["LAST"]


@pytest.mark.parametrize(
    "sent",
    [
        framed(order("PLAIN")),
        b"PROXY UNKNOWN\r\n" + framed(order("UNKNOWN")),
        b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 99999\r\n" + framed(order("PORT")),
        b"PROXY TCP4 203.0.113.7\r\n" + framed(order("SHORT")),
        b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2" + b" " * 100 + b"\r\n" + framed(order("LONG")),
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + framed(order("VERSION2")),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
        START + HIS + END,
    ],
    ids=["no header", "unknown", "port", "short", "long", "version 2", "tls", "framed"],
)
def test_what_is_no_header_ends_the_connection(
    database: Database, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """At once, with a line in the log that quotes nothing of it and a count; nothing is stored or answered."""
    with bridge(database) as (running, port):
        before = refused(running)
        his = Sender(port)
        his.write(sent)
        assert his.is_ended()
        assert becomes_true(lambda: refused(running) == before + 1)
        assert ids_after_one_more(running, port) == ["LAST"]
    lines = [record.getMessage() for record in caplog.records if "ProxyPort" in record.getMessage()]
    assert len(lines) >= 2
    assert not any(word in line for line in lines for word in ("PRUEBA", "203.0.113", "MSH"))


def test_header_must_come_soon(database: Database) -> None:
    """A connection that says half of it, or nothing, is ended after three seconds; others don't wait for it."""
    with bridge(database) as (running, port):
        before, began = refused(running), time.monotonic()
        silent, half = Sender(port), Sender(port)
        half.write(HIS[:-1])
        his = Sender(port)
        his.write(HIS)
        assert msa(his.send(order("QUICK"))) == ("AA", "QUICK")
        assert time.monotonic() - began < HEADER_SECONDS
        assert silent.is_ended()
        assert half.is_ended()
        assert HEADER_SECONDS - 0.5 < time.monotonic() - began < HEADER_SECONDS + 5
        assert becomes_true(lambda: refused(running) == before + 2)
        # Who has said it has all the time that the peer's settings give.
        assert msa(his.send(order("LATER"))) == ("AA", "LATER")


def test_only_nginx_own_address_may_name_callers(database: Database) -> None:
    """From another address of this machine, too, a connection is ended unheard."""
    with bridge(database) as (running, port):
        before = refused(running)
        with socket.create_connection(("127.0.0.1", port), 10, source_address=("127.0.0.2", 0)) as connection:
            connection.sendall(HIS + framed(order("ELSEWHERE")))
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        assert becomes_true(lambda: refused(running) == before + 1)
        assert ids_after_one_more(running, port) == ["LAST"]


def test_port_for_nginx_is_open_on_loopback_alone(database: Database) -> None:
    """Wherever the plain port listens."""
    with bridge(database, Bind="0.0.0.0") as (_, port):  # noqa: S104 - what is tested
        bound = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        assert {one for one in bound if one.endswith(f":{port:04X}")} == {f"0100007F:{port:04X}"}


def test_limits_are_those_of_the_named_sender(database: Database) -> None:
    """Connections are counted by the address that is named, and its peer's size limit holds."""
    with bridge(database) as (running, port):
        senders = [Sender(port) for _ in range(3)]
        for each in senders:
            each.write(HIS)
            assert msa(each.send(order()))[0] == "AA"
        assert becomes_true(lambda: refused(running, "crowded") == 1)
        assert msa(senders[-1].send(order("BIG", text="x" * 70_000))) == ("AR", "BIG")


def test_connections_without_a_word_have_a_limit(database: Database) -> None:
    """As many as there may be senders; one more is ended at once."""
    with bridge(database, MostConnections=4) as (running, port):
        before = refused(running)
        silent = [Sender(port) for _ in range(4)]
        assert Sender(port).is_ended()
        assert becomes_true(lambda: refused(running) == before + 1)
        assert all(each.is_ended() for each in silent)


def test_taken_port_is_told_with_its_setting(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Who reads the log knows which setting to change."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        running = RunningBridge(database, {"ProxyPort": taken.getsockname()[1]})
        running.supervisor.start()
        assert becomes_true(lambda: "set another in Pacs.Hl7.ProxyPort" in caplog.text, 20)
        running.supervisor.stop()


# -- behind a real NGINX -----------------------------------------------------------------------------------------------


@contextmanager
def nginx_stream(folder: Path, certificates: Path, receiver_port: int, listen: str = "127.0.0.1") -> Iterator[int]:
    """Run NGINX as on a server: TLS with a client's certificate, the PROXY protocol behind it."""
    if not STREAM_MODULE.exists() or shutil.which("nginx") is None:
        pytest.skip(f"NGINX's stream module is not installed ({STREAM_MODULE})")
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"""
        load_module {STREAM_MODULE};
        pid {folder}/nginx.pid;
        error_log stderr warn;
        events {{}}
        stream {{
          server {{
            listen {listen}:{port} ssl;
            ssl_certificate {certificates}/server.pem;
            ssl_certificate_key {certificates}/server.key;
            ssl_client_certificate {certificates}/ca.pem;
            ssl_verify_client on;
            proxy_protocol on;
            proxy_pass 127.0.0.1:{receiver_port};
          }}
        }}
        """
    )
    process = subprocess.Popen(["nginx", "-e", "stderr", "-c", str(configuration), "-g", "daemon off;"])
    try:
        assert becomes_true(lambda: listens(port), 10)
        yield port
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def tls_sender(port: int, certificates: Path, name: str, source: str = "127.0.0.1") -> Iterator[Sender]:
    """Connect to NGINX with a client's certificate ("": none)."""
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    if name:
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    plain = socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0))
    with context.wrap_socket(plain, server_hostname="localhost") as connection:
        made = Sender.__new__(Sender)
        made.socket, made._buffer = connection, b""
        yield made


def test_messages_come_through_nginx_with_the_senders_own_address(
    database: Database, certificates: Path, tmp_path: Path
) -> None:
    """A sender with a certificate is answered, a large message too; journal and peers know it by its own address."""
    his = {"Addresses": ["127.0.0.5"], "LargestMessageBytes": 2**21}
    with (
        bridge(database, Peers={"his": his}) as (running, receiver_port),
        nginx_stream(tmp_path, certificates, receiver_port) as port,
        tls_sender(port, certificates, "his", source="127.0.0.5") as sender,
    ):
        assert msa(sender.send(order("TLS1"))) == ("AA", "TLS1")
        document = b"OBX|3|ED|PDF||^AP^^Base64^" + b"JVBERi0x" * 2**17 + b"\r"
        assert msa(sender.send(order("TLS2") + document)) == ("AA", "TLS2")
        assert addresses(running, 2) == [("his", "127.0.0.5")] * 2
        # Another address, with the same certificate, is no peer.
        with tls_sender(port, certificates, "his", source="127.0.0.6") as stranger:
            stranger.write(framed(order("NO")))
            assert stranger.is_ended()
        assert becomes_true(lambda: refused(running, "unknown") == 1)
        # A sender that writes a header itself names nobody by it: NGINX's stands before.
        with tls_sender(port, certificates, "his", source="127.0.0.6") as forger:
            forger.write(b"PROXY TCP4 127.0.0.5 127.0.0.1 1 2\r\n" + framed(order("FORGED")))
            assert forger.is_ended()
        assert msa(sender.send(order("TLS3"))) == ("AA", "TLS3")
        assert addresses(running, 3) == [("his", "127.0.0.5")] * 3


@pytest.mark.parametrize("name", ["", "stranger"])
def test_sender_without_a_certificate_of_ours_never_reaches_the_receiver(
    database: Database, certificates: Path, tmp_path: Path, name: str
) -> None:
    """NGINX ends it: no connection is made here."""
    with (
        bridge(database, Peers={"his": {}}) as (running, receiver_port),
        nginx_stream(tmp_path, certificates, receiver_port) as port,
    ):
        with pytest.raises((ssl.SSLError, ConnectionError)), tls_sender(port, certificates, name) as sender:
            sender.send(order("NO"))
        with tls_sender(port, certificates, "his") as sender:
            assert msa(sender.send(order("YES"))) == ("AA", "YES")
        assert addresses(running, 1) == [("his", "127.0.0.1")]
