"""Nobody gets anything of the archive without having signed in, and nobody can claim to be somebody."""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from fixtures.hospital_network import Host
from fixtures.provisioned_server import PreparedServer
from fixtures.security_keys import visit_with_key
from fixtures.sessions import account
from fixtures.signing_in import visit
from fixtures.strangers_requests import answer, answers
from server.paths import FORGERIES, PATHS

# What the sign-in itself may say: a redirection, "sign in", and NGINX's own refusals of what is no proper request.
REFUSALS = {302, 400, 401, 403, 405, 414}
# Locations that are NGINX's own business; it does not say that they exist.
INTERNAL = re.compile(r"^/(\.pacs-errors/|\.sign-in$)")
LONGEST_REFUSAL_BYTES = 600
END_SECONDS = 15
BROWSER = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
}
WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.fixture(scope="module")
def stranger(people: dict[str, Host]) -> Host:
    """Somebody who is never banned, so that the sign-in alone is seen."""
    return people["stranger"]


@pytest.fixture
def machine(server: PreparedServer) -> Iterator[tuple[str, str]]:
    """Make a machine's account; return its name and its password."""
    name = f"machine-{secrets.token_hex(4)}"
    password = server.ask(f"pacs-account make {name} Test '' machine").rpartition(" ")[2].strip()
    yield name, password
    server.ask(f"pacs-account remove {name}")


def basic(name: str, password: str) -> dict[str, str]:
    """Return the header of a sign-in by name and password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def is_refused(server: PreparedServer, path: str, told: dict[str, object]) -> bool:
    """Return whether an answer is a refusal or a way to the sign-in, and no more."""
    status, headers, body = told["status"], told["headers"], str(told["body"])
    assert isinstance(headers, dict)
    if status == 404:
        return bool(INTERNAL.match(path)) and len(body) < LONGEST_REFUSAL_BYTES
    if status == 301:
        return bool(headers["location"] == f"{path}/")
    if status == 302 and not str(headers["location"]).startswith(f"https://{server.signin_domain}/"):
        return False
    return status in REFUSALS and len(body) < LONGEST_REFUSAL_BYTES and "set-cookie" not in headers


def test_there_are_enough_paths() -> None:
    """The promise is of 200 paths."""
    assert len(PATHS) >= 200


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        pytest.param("GET", {}, id="a program"),
        pytest.param("GET", BROWSER, id="a browser"),
        pytest.param("GET", FORGERIES, id="forged identity"),
        pytest.param("GET", BROWSER | FORGERIES, id="a browser with forged identity"),
        pytest.param("GET", WEBSOCKET, id="a WebSocket"),
        pytest.param("GET", {"Authorization": "Bearer 0123456789abcdef"}, id="an invented token"),
        pytest.param("HEAD", {}, id="HEAD"),
        pytest.param(
            "OPTIONS", {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}, id="OPTIONS"
        ),
        pytest.param("POST", {"Content-Type": "application/json"}, id="POST"),
        pytest.param("PUT", {}, id="PUT"),
        pytest.param("DELETE", {}, id="DELETE"),
    ],
)
def test_stranger_gets_nothing(server: PreparedServer, stranger: Host, method: str, headers: dict[str, str]) -> None:
    """Every address of the archive answers strangers with the way to the sign-in or a refusal, whatever they claim."""
    requests = [{"host": server.domain, "path": path, "method": method, "headers": headers} for path in PATHS]
    told = answers(stranger, server.lan_address, requests)
    leaks = {
        path: (one["status"], one["body"][:80])
        for path, one in zip(PATHS, told, strict=True)
        if not is_refused(server, path, one)
    }
    assert not leaks


def test_programs_are_told_by_a_problem_and_people_are_led(server: PreparedServer, stranger: Host) -> None:
    """A program gets 401 and how to sign in; a person's browser is led to the page, and back afterwards."""
    program = answer(stranger, server.lan_address, server.domain, "/dicom-web/studies")
    assert program["headers"]["content-type"].startswith("application/problem+json")
    assert json.loads(program["body"])["status"] == program["status"] == 401
    assert program["headers"]["www-authenticate"].startswith("Basic ")
    person = answer(stranger, server.lan_address, server.domain, "/pacs/studies?name=ANA", headers=BROWSER)
    assert person["status"] == 302
    back = base64.b64decode(re.search(r"[?&]url=([^&]+)", person["headers"]["location"]).group(1).replace("%3D", "="))  # type: ignore[union-attr]
    assert back.decode() == f"https://{server.domain}/pacs/studies?name=ANA"


def test_whom_to_tell_of_a_weakness_is_public(server: PreparedServer, stranger: Host) -> None:
    """security.txt is there for everybody, and is the only thing that is."""
    told = answer(stranger, server.lan_address, server.domain, "/.well-known/security.txt")
    assert told["status"] == 200
    assert {"Contact", "Expires"} <= {line.partition(":")[0] for line in told["body"].splitlines()}


def test_the_sign_in_shows_nothing_but_itself(server: PreparedServer, stranger: Host) -> None:
    """Its sessions as REST, its OAuth2 pages and files that no page of it uses do not exist for others."""
    for path in ("/sessions/global/x", "/index.psgi/sessions/global/x", "/config/latest", "/oauth2/authorize",
                 "/.well-known/openid-configuration",
                 "/javascript/", "/mysession/", "/confs/"):  # fmt: skip
        assert answer(stranger, server.lan_address, server.signin_domain, path)["status"] == 404, path


@pytest.mark.parametrize("site", ["domain", "signin_domain"])
def test_answers_bind_browsers(server: PreparedServer, stranger: Host, site: str) -> None:
    """The headers that OWASP names are on the sign-in's page and on what strangers get."""
    headers = answer(stranger, server.lan_address, getattr(server, site), "/", headers=BROWSER)["headers"]
    assert headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers or "/" not in headers["server"]
    if site == "signin_domain":
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "unsafe" not in headers["content-security-policy"]
        assert "default-src 'none'" in headers["content-security-policy"]


def test_machine_signs_in_by_basic_and_gets_only_dicomweb(
    server: PreparedServer, stranger: Host, machine: tuple[str, str]
) -> None:
    """A program's account opens DICOMweb, not the pages, not Orthanc's REST, and no claim of it makes it more."""
    proof = basic(*machine)
    paths = ["/dicom-web/studies?limit=1", "/pacs/studies", "/system", "/ohif/", "/studies"]
    told = answers(
        stranger,
        server.lan_address,
        [{"host": server.domain, "path": path, "headers": FORGERIES | proof | {"Cookie": ""}} for path in paths],
    )
    assert [one["status"] for one in told] == [200, 403, 403, 403, 403]
    wrong = answer(stranger, server.lan_address, server.domain, paths[0], headers=basic(machine[0], "wrong"))
    assert wrong["status"] == 401


def test_session_ends_when_the_account_is_disabled(
    server: PreparedServer, stranger: Host, machine: tuple[str, str]
) -> None:
    """Whoever is disabled is out within fifteen seconds, in the middle of the work."""
    proof = basic(*machine)
    assert (
        answer(stranger, server.lan_address, server.domain, "/dicom-web/studies?limit=1", headers=proof)["status"]
        == 200
    )
    server.ask(f"pacs-account disable {machine[0]}")
    started = time.monotonic()
    while (
        answer(stranger, server.lan_address, server.domain, "/dicom-web/studies?limit=1", headers=proof)["status"]
        == 200
    ):
        assert time.monotonic() - started < END_SECONDS
        time.sleep(0.5)


def test_account_is_locked_after_wrong_passwords(
    server: PreparedServer, stranger: Host, machine: tuple[str, str]
) -> None:
    """After three wrong passwords even the right one has to wait."""
    for _ in range(3):
        assert (
            answer(
                stranger, server.lan_address, server.domain, "/dicom-web/studies", headers=basic(machine[0], "wrong")
            )["status"]
            == 401
        )
    assert (
        answer(stranger, server.lan_address, server.domain, "/dicom-web/studies", headers=basic(*machine))["status"]
        == 401
    )


def test_failed_sign_in_is_told_with_its_address(
    server: PreparedServer, stranger: Host, machine: tuple[str, str]
) -> None:
    """The journal says who failed and from where, which is what bans follow."""
    answer(stranger, server.lan_address, server.domain, "/dicom-web/studies", headers=basic(machine[0], "wrong"))
    told = f"PACS-LOGIN-FAILED rhost={re.escape(stranger.address)} user={machine[0]} code=5"
    found = f"journalctl --quiet --since=-5min -t LLNG --grep='{told}'"
    server.ask(f"for i in $(seq 40); do {found} && exit 0; sleep 1; done; exit 1", 90)


def test_program_signs_in_by_client_credentials(server: PreparedServer, stranger: Host) -> None:
    """A program gets a token for its name and secret, and with it DICOMweb and nothing else."""
    read = "import json; c = json.load(open('/etc/pacs/sign-in/conf/lmConf-1.json')); print(json.dumps({n: o['oidcRPMetaDataOptionsClientSecret'] for n, o in c['oidcRPMetaDataOptions'].items()}))"  # noqa: E501
    clients = json.loads(server.ask(f'python3 -c "{read}"'))
    assert clients, "vault_sign_in_clients names one"
    name, secret = next(iter(clients.items()))
    form = urlencode({"grant_type": "client_credentials", "scope": "dicomweb"})
    headers = basic(name, secret) | {"Content-Type": "application/x-www-form-urlencoded"}
    told = answer(
        stranger, server.lan_address, server.signin_domain, "/oauth2/token", "POST", headers=headers, body=form
    )
    proof = {"Authorization": f"Bearer {json.loads(told['body'])['access_token']}"}
    assert (
        answer(stranger, server.lan_address, server.domain, "/dicom-web/studies?limit=1", headers=proof)["status"]
        == 200
    )
    assert answer(stranger, server.lan_address, server.domain, "/pacs/studies", headers=proof)["status"] == 403


def test_person_signs_in_from_outside_with_a_second_factor(server: PreparedServer, people: dict[str, Host]) -> None:
    """A new account sets its own password and registers a phone first; codes are taken once; leaving ends it."""
    login = f"ana-{secrets.token_hex(4)}"
    password = server.ask(f"pacs-account make {login} 'Ana Núñez' '' radiologist").rpartition(" ")[2].strip()
    try:
        plan = {"domain": server.domain, "address": server.address, "login": login, "password": password}
        plan |= {"new_password": "nine owls above the chapel", "path": "/pacs/studies"}
        seen = visit(people["radiologist"], **plan)
    finally:
        server.ask(f"pacs-account remove {login}")
    here, there = f"https://{server.domain}/pacs/studies", f"https://{server.signin_domain}/"
    assert seen["led_to"].startswith(there)
    assert seen["asked_for_new_password"]
    assert seen["led_to_registration"].startswith(f"{there}2fregisters")
    assert (seen["arrived"], seen["with_code"]) == (here, here)
    assert seen["with_wrong_code"].startswith(there)
    assert seen["with_used_code"].startswith(there)
    assert seen["after_leaving"].startswith(there)
    assert seen["cookies"][0] == {
        "name": "pacs_session",
        "domain": f".{server.domain}",
        "httpOnly": True,
        "secure": True,
        "sameSite": "Lax",
    }


def test_person_signs_in_with_a_security_key(server: PreparedServer, people: dict[str, Host]) -> None:
    """The second factor may be a key (WebAuthn): registered first, asked for afterwards; another key opens nothing."""
    spki = "openssl x509 -in /etc/pacs/tls/fullchain.pem -noout -pubkey | openssl pkey -pubin -outform der"
    key = server.ask(f"{spki} | openssl dgst -sha256 -binary | base64")
    with account(server, "radiologist", must_change=True) as who:
        seen = visit_with_key(
            people["radiologist"], domain=server.domain, address=server.address, key=key, path="/pacs/studies",
            login=who.login, password=who.password, new_password="nine owls above the chapel",  # noqa: S106
        )  # fmt: skip
        told = server.ask(f"pacs-account list | grep {who.login}")
    here, there = f"https://{server.domain}/pacs/studies", f"https://{server.signin_domain}/"
    assert seen["led_to_registration"].startswith(f"{there}2fregisters")
    assert seen["keys"] == 1
    assert (seen["arrived"], seen["with_key"]) == (here, here)
    assert seen["with_another_key"].startswith(there)
    assert seen["afterwards"].startswith(there)
    assert "no second factor" not in told


@pytest.mark.parametrize("unit", ["handler", "portal"])
def test_nobody_comes_in_while_the_sign_in_is_away(server: PreparedServer, stranger: Host, unit: str) -> None:
    """A sign-in that does not answer opens nothing: people are told in their language, programs by a problem."""
    site = server.domain if unit == "handler" else server.signin_domain
    server.ask(f"systemctl stop pacs-sign-in-{unit}")
    try:
        person = answer(stranger, server.lan_address, site, "/", headers=BROWSER)
        program = answer(stranger, server.lan_address, site, "/dicom-web/studies")
    finally:
        server.ask(f"systemctl start pacs-sign-in-{unit}")
    assert (person["status"], program["status"]) == (503, 503)
    for words in ("The archive is starting", "El archivo está iniciando", "O arquivo está iniciando"):
        assert words in person["body"]
    assert "retry-after" in person["headers"]
    if unit == "handler":
        assert json.loads(program["body"])["status"] == 503
    wait_until_it_answers(server, stranger)


def wait_until_it_answers(server: PreparedServer, host: Host, seconds: float = 30) -> None:
    """Wait until strangers are led to the sign-in, and its page is there."""
    deadline = time.monotonic() + seconds
    while True:
        led = answer(host, server.lan_address, server.domain, "/pacs/", headers=BROWSER)["status"]
        shown = answer(host, server.lan_address, server.signin_domain, "/", headers=BROWSER)["status"]
        if (led, shown) == (302, 200):
            return
        assert time.monotonic() < deadline, (led, shown)
        time.sleep(0.5)
