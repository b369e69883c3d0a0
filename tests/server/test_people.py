"""A real CT goes from the modality to the eyes of those who may see it, wherever they are, and of nobody else."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from fixtures.fictitious_studies import as_file
from fixtures.hospital_network import Host
from fixtures.looking_at_studies import BRIGHT_SHARE, look
from fixtures.provisioned_server import PreparedServer
from fixtures.vpn import VPN_ADDRESS, connected
from pacs.demo.studies import ct_series


@pytest.fixture(scope="module")
def ct(server: PreparedServer, people: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Send a CT from the modality, a real one where there is one, and return its Study Instance UID."""
    folder = tmp_path_factory.mktemp("ct")
    real = Path("/shared/data/dicom/ct_head_ge_vartilt28")
    files = (
        sorted(path for path in real.rglob("*") if path.is_file() and path.read_bytes()[128:132] == b"DICM")
        if real.is_dir()
        else []
    )
    if not files:
        for number, instance in enumerate(ct_series()):
            (folder / f"{number}.dcm").write_bytes(as_file(instance))
        files = sorted(folder.iterdir())
    sent = people["modality"].run(
        *("/usr/bin/dcmsend", "--no-uid-checks", "-aet", "CT1", "-aec", "PACS", server.lan_address, "4242", *files),
        timeout_seconds=300,
    )
    assert sent.returncode == 0, sent.stderr[-2000:]
    return str(dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)


@pytest.fixture
def radiologists_account(server: PreparedServer) -> Iterator[dict[str, str]]:
    """Make an account, with the password of its first sign-in."""
    login = f"ana-{secrets.token_hex(3)}"
    done = server.playbook(
        "user.yml", "-e", f"login={login}", "-e", '{"full_name": "Ana Núñez"}', "-e", "role=radiologist"
    )
    assert done.returncode == 0, done.stdout[-3000:]
    password = server.ask(f"pacs-account password {login}").rpartition(" ")[2].strip()
    yield {"login": login, "password": password, "new_password": "nine owls above the chapel"}
    server.ask(f"pacs-account remove {login}")


def test_radiologist_sees_a_ct_from_the_internet(
    server: PreparedServer, people: dict[str, Host], ct: str, radiologists_account: dict[str, str], tmp_path: Path
) -> None:
    """From the internet somebody signs in with a second factor and sees the CT's pixels in OHIF."""
    seen = look(
        people["radiologist"], domain=server.domain, address=server.address, study_instance_uid=ct,
        picture=str(tmp_path / "ohif.png"), **radiologists_account,
    )  # fmt: skip

    assert seen["second_factor_was_asked"]
    assert seen["bright_share"] > BRIGHT_SHARE


def test_doctor_sees_a_ct_over_the_vpn_until_the_profile_is_revoked(
    server: PreparedServer, people: dict[str, Host], ct: str, radiologists_account: dict[str, str], tmp_path: Path
) -> None:
    """A person's VPN profile leads to the archive by its name, and to nothing once it is revoked."""
    doctor = people["doctor"]
    made = server.playbook("vpn_client.yml", "-e", "do=make", "-e", "client=doctor")
    assert made.returncode == 0, made.stdout[-3000:]
    profile = next(server.project.rglob("doctor.ovpn"))

    with connected(doctor, profile, tmp_path / "vpn.log") as is_connected:
        assert is_connected, (tmp_path / "vpn.log").read_text()[-3000:]
        assert doctor.run("dig", "+short", f"@{VPN_ADDRESS}", server.domain).stdout.split() == [VPN_ADDRESS]
        seen = look(
            doctor, domain=server.domain, address=VPN_ADDRESS, study_instance_uid=ct,
            picture=str(tmp_path / "ohif.png"), **radiologists_account,
        )  # fmt: skip
        assert seen["bright_share"] > BRIGHT_SHARE

        revoked = server.playbook("vpn_client.yml", "-e", "do=revoke", "-e", "client=doctor")
        assert revoked.returncode == 0, revoked.stdout[-3000:]
        time.sleep(2)
        assert not doctor.reaches(VPN_ADDRESS, 443)

    with connected(doctor, profile, tmp_path / "again.log") as is_connected:
        assert not is_connected


def test_referring_doctor_may_look_and_nothing_else(server: PreparedServer, people: dict[str, Host], ct: str) -> None:
    """Somebody who may only look can't delete, send or see stations, whatever address is tried."""
    answers = server.ask(
        "for try in 'DELETE /studies/x' 'POST /modalities/CT1/store' 'GET /modalities' 'GET /pacs/aes' "
        "'POST /tools/execute-script'; do "
        "set -- $try; curl -s -o /dev/null -w '%{http_code} ' -X $1 -H 'Remote-User: ref' -H 'Pacs-Roles: referring' "
        "-H 'X-Forwarded-For: 192.0.2.1' http://127.0.0.1:8042$2; done"
    )

    assert ct
    assert people
    assert set(answers.split()) <= {"403", "404"}
    assert answers.split()[0] == "403"
