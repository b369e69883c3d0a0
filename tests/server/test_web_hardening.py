"""What strangers find out about TLS here with the usual tools, and whether every answer binds the browser."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.hospital_network import Host
from fixtures.provisioned_server import PreparedServer
from fixtures.sessions import PAGE, account, sign_in
from fixtures.strangers_requests import answer

# Who may knock at each port that speaks TLS.
PORTS = {443: "radiologist", 2762: "partner", 2576: "his"}
PROTOCOLS = {"TLSv1.2", "TLSv1.3"}
# Authenticated encryption with a key of its own for each connection, and nothing else.
CIPHERS = {
    "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305",
}  # fmt: skip
SEVERITIES = {"LOW", "MEDIUM", "HIGH", "CRITICAL"}
CURVES = {"x25519", "secp256r1", "secp384r1", "X25519MLKEM768"}


@pytest.fixture(scope="module", params=PORTS)
def scan(request: pytest.FixtureRequest, server: PreparedServer, people: dict[str, Host]) -> ET.Element:
    """Return what sslscan finds at a port."""
    host = people[PORTS[request.param]]
    address = server.lan_address if host.address.startswith("10.") else server.address
    options = ["--xml=-", "--no-colour", "--show-sigs", f"--sni-name={server.domain}"]
    if address == server.lan_address:
        # On the LAN it is so quick that it meets the firewall's limit of 50 new connections a second, and takes what
        # is dropped for an answer.
        options.append("--sleep=25")
    done = host.run("sslscan", *options, f"{address}:{request.param}", timeout_seconds=180)
    found = ET.fromstring(done.stdout).find("ssltest")  # noqa: S314 - sslscan's own words
    assert found is not None, done.stdout + done.stderr
    return found


def test_tls_speaks_no_outdated_protocol(scan: ET.Element) -> None:
    """TLS 1.2 and 1.3 answer, SSL and the first two versions of TLS do not."""
    offered = {f"{one.attrib['type'].upper()}v{one.attrib['version']}" for one in scan.iter("protocol") if one.attrib["enabled"] == "1"}  # fmt: skip # noqa: E501
    assert offered == PROTOCOLS


def test_tls_takes_good_ciphers_alone(scan: ET.Element) -> None:
    """No cipher without forward secrecy or authenticated encryption, no weak curve, no SHA-1 signature."""
    assert {one.attrib["cipher"] for one in scan.iter("cipher")} - CIPHERS == set()
    assert {one.attrib["sslversion"] for one in scan.iter("cipher")} == PROTOCOLS
    assert {one.attrib["name"].partition(" ")[0] for one in scan.iter("group")} - CURVES == set()
    signatures = [one.attrib["name"] for one in scan.iter("connection-signature-algorithm")]
    assert [name for name in signatures if "sha1" in name.lower() or "md5" in name.lower()] == []


def test_tls_has_none_of_the_known_holes(scan: ET.Element) -> None:
    """No compression (CRIME), no renegotiation by the client, no Heartbleed, no step down to an older version."""
    assert [one.attrib["supported"] for one in scan.iter("compression")] == ["0"]
    assert [one.attrib["supported"] for one in scan.iter("renegotiation")] == ["0"]
    assert {one.attrib["vulnerable"] for one in scan.iter("heartbleed")} == {"0"}
    assert [one.attrib["supported"] for one in scan.iter("fallback")] == ["1"]


def test_certificate_is_sound(scan: ET.Element) -> None:
    """SHA-256, a key of 256 bits on a curve, not expired."""
    certificate = scan.find(".//certificate")
    assert certificate is not None
    assert (certificate.findtext("signature-algorithm") or "").split()[-1:] == ["ecdsa-with-SHA256"]
    key = certificate.find("pk")
    assert key is not None
    assert (key.attrib["type"], key.attrib["error"]) == ("EC", "false")
    assert certificate.findtext("expired") == "false"


# What testssl calls a weakness and is none of the server's: why.
ARGUED = {
    "cert_revocation": "a self-made certificate names nobody to ask; others do as their CA likes",
    "DNS_CAArecord": "which authorities may give certificates is written in the hospital's public DNS",
}


@pytest.mark.soak
def test_testssl_finds_no_weakness(server: PreparedServer, people: dict[str, Host], tmp_path: Path) -> None:
    """Testssl, which tries the attacks that have a name, finds nothing above "info" but what is argued here."""
    # (Debian's testssl wants an awk; the one that is there has no such name, as no package's scripts ran.)
    (tmp_path / "awk").symlink_to("/usr/bin/mawk")
    found = tmp_path / "testssl.json"
    options = ("--quiet", "--color", "0", "--warnings", "batch", "--severity", "LOW", "--jsonfile", found)
    parts = ("--protocols", "--std", "--fs", "--server-defaults", "--headers", "--vulnerable")
    authority = server.project / f"certificates/{server.domain}-ca.crt"
    people["radiologist"].run(
        *("env", f"PATH={tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin", "testssl", *options, *parts, "--add-ca", authority),
        *("--ip", server.address, f"https://{server.domain}"),
        timeout_seconds=600,
    )
    weak = {one["id"]: one for one in json.loads(found.read_text()) if one["severity"] in SEVERITIES}
    assert {name: one for name, one in weak.items() if name not in ARGUED} == {}


# Every kind of answer, as whom, and its status: what a role may see, refusals of each origin, the sign-in's own pages.
ANSWERS = [
    ("domain", "/pacs/studies", "radiologist", 200),
    ("domain", "/pacs/not-here", "radiologist", 404),
    ("domain", "/pacs/aes", "radiologist", 403),
    ("domain", "/", "radiologist", 302),
    ("domain", "/ohif/", "radiologist", 200),
    ("domain", "/ohif/app-config.js", "radiologist", 200),
    ("domain", "/dicom-web/studies?limit=1", "radiologist", 200),
    ("domain", "/dicom-web/studies/1.2/series/1.2/metadata", "radiologist", None),
    ("domain", "/wado?requestType=WADO", "radiologist", None),
    ("domain", "/web-viewer/app/viewer.html", "radiologist", None),
    ("domain", "/statistics", "radiologist", 403),
    ("domain", "/webdav/", "radiologist", 404),
    ("domain", "/.well-known/security.txt", "nobody", 200),
    ("domain", "/pacs/studies", "nobody", 302),
    ("domain", "/dicom-web/studies", "nobody", None),
    ("domain", "/logout", "nobody", 302),
    ("signin_domain", "/", "nobody", 200),
    ("signin_domain", "/not-here", "nobody", None),
    ("signin_domain", "/config/latest", "nobody", 404),
    ("signin_domain", "/static/pacs/sign-in.css", "nobody", 200),
]
# Of the list of OWASP's Secure Headers Project, with the values that each kind of answer may have.
REQUIRED = {
    "strict-transport-security": {"max-age=31536000; includeSubDomains"},
    "x-content-type-options": {"nosniff"},
    # The viewer is framed by nobody but this site's own pages.
    "x-frame-options": {"DENY", "SAMEORIGIN"},
    "x-permitted-cross-domain-policies": {"none"},
    # same-origin: our pages may see where a form of theirs was sent from; other sites learn nothing.
    "referrer-policy": {"no-referrer", "same-origin"},
    "cross-origin-opener-policy": {"same-origin"},
    "cross-origin-resource-policy": {"same-origin"},
}
# What OWASP says to remove: they tell an attacker what runs here.
TELLTALES = {
    "x-powered-by",
    "x-aspnet-version",
    "via",
    "x-generator",
    "x-runtime",
    "lm-remote-user",
    "lm-remote-custom",
}


@pytest.fixture(scope="module")
def sessions(server: PreparedServer, people: dict[str, Host]) -> Iterator[dict[str, dict[str, str]]]:
    """Sign somebody in; return the headers of each person."""
    with account(server, "radiologist") as made:
        yield {"nobody": {}, "radiologist": sign_in(people["stranger"], server, made)}


@pytest.mark.parametrize("asked", ANSWERS, ids=[f"{site}{path} {who}" for site, path, who, _ in ANSWERS])
def test_answer_binds_the_browser(
    server: PreparedServer,
    people: dict[str, Host],
    sessions: dict[str, dict[str, str]],
    asked: tuple[str, str, str, int | None],
) -> None:
    """Whatever the answer is, it has the headers of OWASP's list, each once, and none that tells what runs here."""
    site, path, who, status = asked
    told = answer(people["stranger"], server.lan_address, getattr(server, site), path, headers=PAGE | sessions[who])
    headers = told["headers"]
    assert status in {None, told["status"]}, told
    assert {name: headers.get(name) for name, allowed in REQUIRED.items() if headers.get(name) not in allowed} == {}
    assert TELLTALES & set(headers) == set()
    assert headers.get("server") in {None, "nginx"}
    assert "camera=()" in headers["permissions-policy"]
    # (A style sheet runs nothing, and security.txt is for everybody.)
    if path.startswith("/static/"):
        return
    policies = headers["content-security-policy"].split("\n")
    assert len(policies) == 1
    assert "default-src" in policies[0]
    assert "frame-ancestors 'none'" in policies[0] or "frame-ancestors 'self'" in policies[0]
    assert "*" not in policies[0]
    assert "http:" not in policies[0]
    if told["status"] in {200, 302, 401, 403} and not path.startswith("/.well-known/"):
        caching = headers.get("cache-control", "")
        assert "no-store" in caching or "no-cache" in caching or "private" in caching, caching


def test_wrong_host_gets_the_headers_too(server: PreparedServer, people: dict[str, Host]) -> None:
    """Even who asks for another site by this address is told how to treat the answer."""
    told = answer(people["stranger"], server.lan_address, "evil.example", "/")
    assert told["status"] == 421
    assert {name for name, allowed in REQUIRED.items() if told["headers"].get(name) not in allowed} == set()
