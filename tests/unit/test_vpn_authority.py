"""The VPN's authority: who is let in, who is no longer, and what a revocation that was cut off leaves to be done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
PROGRAM = CHECKOUT / "roles/openvpn/files/vpn_authority.py"
PASSPHRASE = "only the vault knows it"  # noqa: S105
PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: openvpn, tasks_from: client_revoke}
"""


@dataclass
class Authority:
    """An authority in a folder of its own, with a passphrase."""

    folder: Path

    def ask(self, *question: str, given: str = PASSPHRASE, request: str = "") -> subprocess.CompletedProcess[str]:
        """Ask it as the role does."""
        command = [sys.executable, PROGRAM, self.folder, *question]
        return subprocess.run(command, input=f"{given}\n{request}", capture_output=True, text=True, check=False)

    def answer(self, *question: str, request: str = "") -> str:
        """Return what it answers."""
        done = self.ask(*question, request=request)
        assert done.returncode == 0, done.stderr
        return done.stdout


def openssl(*arguments: str | Path, given: str = "") -> str:
    """Run openssl and return its output."""
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, text=True, check=True).stdout


def revoked(crl: str) -> int:
    """Return how many a list of the revoked has."""
    return openssl("crl", "-noout", "-text", given=crl).count("Serial Number:")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make an authority."""
    made = Authority(tmp_path / "vpn-ca")
    assert made.answer("init", "Hospital", "7300") == "made\n"
    return made


def test_authority_is_made_once_and_its_key_is_encrypted(authority: Authority) -> None:
    """The passphrase comes by the first line of the input; without it nothing is signed."""
    assert "ENCRYPTED" in (authority.folder / "ca.key").read_text()
    assert authority.answer("init", "Hospital", "7300") == ""
    assert authority.ask("client", "ana", "730", given="another").returncode == 1
    assert authority.ask("crl", "730", given="").returncode == 1
    assert "PRIVATE KEY" in authority.answer("client", "ana", "730")


def test_authority_without_a_passphrase(tmp_path: Path) -> None:
    """An empty first line is none."""
    authority = Authority(tmp_path / "vpn-ca")
    assert authority.ask("init", "Hospital", "7300", given="").returncode == 0
    assert "ENCRYPTED" not in (authority.folder / "ca.key").read_text()
    assert authority.ask("client", "ana", "730", given="").returncode == 0


def test_servers_request_follows_the_passphrase(authority: Authority, tmp_path: Path) -> None:
    """What comes after the first line is the request."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", tmp_path / "server.key")
    request = openssl("req", "-new", *key, "-subj", "/CN=asked")
    certificate = authority.answer("server", "pacs.test", "825", request=request)
    assert "CN=pacs.test" in openssl("x509", "-noout", "-subject", given=certificate).replace(" ", "")


def test_who_is_revoked_already_is_told_so(authority: Authority) -> None:
    """Asked again it is no error, so that the list of the revoked is sent; whom nobody knows is one."""
    authority.answer("client", "ana", "730")
    assert authority.answer("revoke", "ana") == "1 revoked\n"
    assert authority.answer("revoke", "ana") == "revoked already\n"
    assert revoked(authority.answer("crl", "730")) == 1
    authority.answer("client", "ana", "730")
    assert authority.answer("revoke", "ana") == "1 revoked\n"

    unknown = authority.ask("revoke", "bea")
    assert unknown.returncode == 1
    assert "'bea' has no valid certificate" in unknown.stderr


def test_revocation_that_was_cut_off_takes_effect_when_it_is_asked_again(authority: Authority, tmp_path: Path) -> None:
    """The authority is on the administrator's machine, and the server out of reach while a profile is revoked."""
    pytest.importorskip("ansible", reason="ansible-core is not installed here")
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed here")
    authority.answer("client", "ana", "730")
    server = tmp_path / "server"
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "pacs-vpn-management").write_text("#!/bin/sh\necho ERROR: common name 'ana' not found\nexit 1\n")
    (programs / "pacs-vpn-management").chmod(0o755)
    (tmp_path / "play.yml").write_text(PLAY)
    variables = {
        "openvpn_ca_location": "control",
        "openvpn_ca_control_directory": str(authority.folder),
        "openvpn_ca_passphrase": PASSPHRASE,
        "openvpn_client": "ana",
        "openvpn_profile_directory": str(tmp_path),
        "_openvpn_directory": str(server),
    }
    (tmp_path / "variables.yml").write_text(yaml.safe_dump(variables))
    play = ["ansible-playbook", "-vvv", "-i", "localhost,", tmp_path / "play.yml", "-e", f"@{tmp_path}/variables.yml"]
    # Root of a namespace of its own: the list of the revoked is root's.
    play = ["bwrap", "--unshare-user", "--uid", "0", "--gid", "0", "--dev-bind", "/", "/", "--", *play]
    environment = os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote")}
    environment["PATH"] = f"{programs}:{environment['PATH']}"

    def attempt() -> subprocess.CompletedProcess[str]:
        return subprocess.run(play, cwd=CHECKOUT, capture_output=True, text=True, check=False, env=environment)

    cut = attempt()
    assert "Give the server the list of what was revoked" in cut.stdout, cut.stdout + cut.stderr
    assert authority.answer("revoke", "ana") == "revoked already\n"
    server.mkdir()

    again = attempt()

    assert again.returncode == 0, again.stdout + again.stderr
    assert revoked((server / "crl.pem").read_text()) == 1
    assert PASSPHRASE not in cut.stdout + again.stdout
