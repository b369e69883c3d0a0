"""The program that makes the server's certificates: once, and anew only when other names are wanted."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

ROLE = Path(__file__).parents[2] / "roles/certificates"
DOMAIN = "pacs.hospital.test"
FOLDERS = ("ca/server", "ca/own", "tls/deploy.d")
ADDRESSES = ("10.20.0.2", "2001:db8::10", "fd00:0:0::A", "::ffff:192.0.2.1")


@dataclass
class Server:
    """A server's folders of certificates, and what was written of its addresses."""

    etc: Path
    addresses: list[str] = field(default_factory=list)

    def runs(self, action: str) -> str:
        """Run the program, as the role has set it up; return what it has done."""
        loader = FileSystemLoader(ROLE / "templates/etc/pacs/ca")
        templates = Environment(loader=loader, undefined=StrictUndefined, autoescape=False)  # noqa: S701 - no HTML
        names = [f"DNS:{DOMAIN}", *(f"IP:{address}" for address in self.addresses)]
        variables = {
            "ansible_managed": "",
            "certificates_source": "self_made",
            "certificates_renew_days": 30,
            "certificates_client_days": 730,
            "certificates_names": [DOMAIN],
            "certificates_addresses": self.addresses,
            "pacs_domain": DOMAIN,
            "_certificates_organization": "Hospital",
            "_certificates_subject_names": ",".join(names),
        }
        for name in ("openssl.cnf", "settings"):
            (self.etc / "ca" / name).write_text(self._here(templates.get_template(f"{name}.j2").render(variables)))
        program = self._here((ROLE / "files/pacs-certificates").read_text())
        done = subprocess.run(["sh", "-c", program, "sh", action], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _here(self, text: str) -> str:
        return text.replace("/etc/pacs", str(self.etc))

    def reloads(self) -> int:
        """Return how often those that use the certificate were told of another one."""
        path = self.etc / "reloads"
        return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """Make the folders of a server."""
    for name in FOLDERS:
        (tmp_path / name).mkdir(parents=True)
    told = tmp_path / "tls/deploy.d/nginx"
    told.write_text(f"#!/bin/sh\necho >> {tmp_path}/reloads\n")
    told.chmod(0o755)
    return Server(tmp_path)


@pytest.mark.parametrize("address", ADDRESSES)
def test_certificate_is_made_once_whatever_the_address(server: Server, address: str) -> None:
    """OpenSSL writes an address of IPv6 otherwise than a person does: each day there would be another certificate."""
    server.addresses = [address]
    assert "made the certificate of" in server.runs("server")
    made = (server.etc / "tls/fullchain.pem").read_bytes()

    assert server.runs("server") == ""
    assert (server.etc / "tls/fullchain.pem").read_bytes() == made
    assert server.reloads() == 1


@pytest.mark.parametrize("address", ADDRESSES)
def test_request_for_the_hospitals_authority_is_made_once(server: Server, address: str) -> None:
    """The request that the authority is about to sign stays the one it has."""
    server.addresses = [address]
    assert "made the request" in server.runs("request")
    assert server.runs("request") == ""


def test_other_names_are_another_certificate_and_request(server: Server) -> None:
    """An address that comes, goes or changes is told apart; a private one needs no other CA."""
    for addresses in ([], ["10.20.0.2"], ["fd00::10"], ["fd00::11"], ["10.20.0.2", "fd00::11"]):
        server.addresses = addresses
        assert "made the certificate of" in server.runs("server"), addresses
        assert "made the request" in server.runs("request"), addresses
    assert server.reloads() == 5
