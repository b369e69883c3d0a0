"""The server's certificate: by the hospital's authority, by an ACME server, and by itself; each by a mere reload."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fixtures.authorities import AcmeServer, Authority, acme_server, authority, openssl, responder
from fixtures.hospital_network import Host
from fixtures.provisioned_server import PreparedServer

pytestmark = pytest.mark.soak

ACME_ROOT = "/etc/pacs/acme-root.pem"
STREAM_PORTS = (2576, 2762)
STAPLED_WITHIN_SECONDS = 15
RELOADED_WITHIN_SECONDS = 15
# The other roles' variables are what they were when the server was made.
ONLY_THESE = ("-e", '{"preflight_roles": ["certificates", "nginx"]}')

type Switch = Callable[..., str]


@pytest.fixture(scope="module")
def switch(server: PreparedServer) -> Iterator[Switch]:
    """Return what carries another choice of certificate to the server; the tests leave the self-made one behind."""
    chosen = "self_made"

    def carry(**variables: object) -> str:
        nonlocal chosen
        chosen = str(variables["certificates_source"])
        arguments = [argument for name, value in variables.items() for argument in ("-e", f"{name}={value}")]
        done = server.playbook("site.yml", "--tags", "certificates,nginx", *ONLY_THESE, *arguments)
        assert done.returncode == 0, done.stdout[-5000:]
        return done.stdout

    yield carry
    server.ask(f"rm -rf /etc/pacs/ca/own {ACME_ROOT}")
    if chosen != "self_made":
        carry(certificates_source="self_made")


def shown(host: Host, server: PreparedServer, port: int = 443, root: Path | None = None, name: str = "") -> str:
    """Return the certificate that the server shows, PEM; with a root, it must lead there and hold for the name."""
    name = name or server.domain
    address = server.lan_address if host.address.startswith("10.") else server.address
    belief = ("-CAfile", root, "-verify_return_error", "-verify_hostname", name) if root else ()
    # (stream ports want a certificate of the client and end the connection: theirs is shown before that.)
    done = host.run("openssl", "s_client", "-connect", f"{address}:{port}", "-servername", name, *belief, input="")
    assert root is None or "Verify return code: 0 (ok)" in done.stdout, done.stdout + done.stderr
    found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", done.stdout, re.DOTALL)
    assert found is not None, done.stdout + done.stderr
    return found[0]


def shown_instead_of(former: str, host: Host, server: PreparedServer, root: Path) -> str:
    """Return the certificate after `former`: while NGINX reloads, its old workers still answer."""
    give_up_at = time.monotonic() + RELOADED_WITHIN_SECONDS
    while (found := shown(host, server, root=root)) == former:
        told = "journalctl -q -u certbot -n 40; tail -n 40 /var/log/letsencrypt/letsencrypt.log"
        assert time.monotonic() < give_up_at, server.ask(told)
        time.sleep(0.2)
    return found


def nginx_process(server: PreparedServer) -> str:
    """Return the process that a reload keeps and a restart does not."""
    return server.ask("systemctl show -P MainPID nginx")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make the hospital's own authority."""
    return authority(tmp_path_factory.mktemp("hospital"), "hospital-ca")


@pytest.fixture(scope="module")
def signed_by_the_hospital(
    server: PreparedServer, people: dict[str, Host], switch: Switch, hospital: Authority
) -> Iterator[Path]:
    """Have the hospital's authority sign the server's request, as the documentation says; return the certificate."""
    before = shown(people["radiologist"], server)
    switch(certificates_source="own_ca", certificates_own_roots=hospital.certificate)
    assert shown(people["radiologist"], server) == before
    request = server.project / f"certificates/{server.domain}.csr"
    with responder(people["admin"], hospital) as address:
        certificate = hospital.sign("pacs", request, address)
        switch(
            certificates_source="own_ca",
            certificates_own_chain=certificate,
            certificates_own_roots=hospital.certificate,
        )
        yield certificate


def test_hospitals_authority_vouches_for_both_names(
    server: PreparedServer, people: dict[str, Host], hospital: Authority, signed_by_the_hospital: Path
) -> None:
    """Whoever believes the hospital's authority believes the archive and its sign-in; peers' ports show it too."""
    for name in (server.domain, server.signin_domain):
        seen = shown(people["radiologist"], server, root=hospital.certificate, name=name)
        assert seen in signed_by_the_hospital.read_text()
    for port in STREAM_PORTS:
        assert shown(people["partner"] if port == 2762 else people["his"], server, port) == seen


@pytest.mark.usefixtures("signed_by_the_hospital")
def test_key_for_the_hospitals_authority_never_leaves_the_server(server: PreparedServer) -> None:
    """The key that is in use was made on the server: what was fetched from it is a request without it."""
    key = server.ask("openssl pkey -in /etc/pacs/tls/privkey.pem -pubout")
    request = server.project / f"certificates/{server.domain}.csr"
    assert openssl("req", "-in", request, "-noout", "-pubkey").strip() == key
    assert [path for path in request.parent.rglob("*") if path.is_file() and "PRIVATE" in path.read_text()] == []
    assert server.ask("stat -c '%a %U' /etc/pacs/ca/own/privkey.pem") == "600 root"


@pytest.mark.usefixtures("signed_by_the_hospital")
def test_answer_of_the_authoritys_responder_is_stapled(server: PreparedServer, people: dict[str, Host]) -> None:
    """NGINX brings what the responder says of revocation, once it has asked: browsers need not ask themselves."""
    command = ("openssl", "s_client", "-connect", f"{server.address}:443", "-servername", server.domain, "-status")
    deadline, told = time.monotonic() + STAPLED_WITHIN_SECONDS, ""
    while "OCSP Response Status: successful" not in told and time.monotonic() < deadline:
        told = people["radiologist"].run(*command, input="").stdout
        time.sleep(0.5)
    assert "Cert Status: good" in told


@pytest.mark.usefixtures("signed_by_the_hospital")
def test_certificate_of_another_key_or_authority_is_refused_before_anything_changes(
    server: PreparedServer, people: dict[str, Host], hospital: Authority, tmp_path: Path
) -> None:
    """A mistaken file is told, and what was in use stays."""
    before = shown(people["radiologist"], server)
    names = f"DNS:{server.domain},DNS:{server.signin_domain}"
    foreign = authority(tmp_path, "foreign-ca")
    for chain, words in (
        (hospital.make("other-key", names)[0], "is not the private key"),
        (foreign.make("foreign", names)[0], "is not accepted"),
        (hospital.make("other-name", "DNS:www.chilecito.test")[0], "does not cover"),
    ):
        done = server.playbook(
            *("preflight.yml", *ONLY_THESE, "-e", "certificates_source=own_ca"),
            *("-e", f"certificates_own_chain={chain}"),
            *("-e", f"certificates_own_roots={hospital.certificate}"),
        )
        assert done.returncode != 0
        assert words in re.sub(r"\s+", " ", done.stdout), done.stdout[-3000:]
    assert shown(people["radiologist"], server) == before


@pytest.fixture(scope="module")
def acme(
    server: PreparedServer, people: dict[str, Host], switch: Switch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AcmeServer]:
    """Run an ACME server in the internet, and have the archive order its certificate there."""
    provider = people["provider"]
    with acme_server(provider, tmp_path_factory.mktemp("acme"), provider.address) as running:
        server.machine.run(f"cat > {ACME_ROOT}", stdin=running.https_root.read_text())
        switch(
            certificates_source="acme",
            certificates_acme_directory=running.directory,
            certificates_acme_root=ACME_ROOT,
        )
        yield running


def test_acme_certificate_is_issued_renewed_and_taken_into_use(
    server: PreparedServer, people: dict[str, Host], acme: AcmeServer, tmp_path: Path
) -> None:
    """Ordered over port 80, in use on every port; renewed by the timer's own service in its sandbox, by a reload."""
    root = tmp_path / "root.pem"
    root.write_text(acme.issuing_root())
    first = shown(people["radiologist"], server, root=root)
    assert shown(people["radiologist"], server, root=root, name=server.signin_domain) == first
    assert server.ask("systemctl is-active certbot.timer") == "active"
    process = nginx_process(server)

    server.ask(f"sed -i '1i renew_before_expiry = 3650 days' /etc/letsencrypt/renewal/{server.domain}.conf")
    server.ask("systemctl start certbot.service", 180)

    second = shown_instead_of(first, people["radiologist"], server, root)
    assert shown(people["partner"], server, 2762) == second
    assert shown(people["his"], server, 2576) == second
    assert nginx_process(server) == process


@pytest.mark.usefixtures("acme")
def test_self_made_certificate_comes_back_when_it_is_chosen(
    server: PreparedServer, people: dict[str, Host], switch: Switch
) -> None:
    """A hospital that gives up its ACME server is not left with a certificate that ends."""
    switch(certificates_source="self_made")

    root = server.project / f"certificates/{server.domain}-ca.crt"
    assert shown(people["radiologist"], server, root=root)
