"""Who may do what, in the real archive behind a sign-in: NGINX, Orthanc and the pages."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fixtures.fictitious_studies import as_file, dicom_image
from fixtures.signed_in_pacs import SignedInPacs, signed_in_pacs
from pacs.archive_http import HttpArchive

SECRET = "SECRET^PATIENT"  # noqa: S105 - a patient's name
INDEX_SECONDS = 30.0
BOUNDARY = "cut-here"
STOW = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'}
# What a person tries, and who gets through: admin, radiologist, technician, reFerring, machine.
TABLE = """
GET  /dicom-web/studies                                   artfm
GET  /dicom-web/studies/{uid}/metadata                    artfm
GET  /dicom-web/studies/{uid}/series/{series}/instances/{sop}/frames/1 artfm
POST /dicom-web/studies                                   atm
GET  /web-viewer/app/viewer.html                          artf
GET  /pacs/studies                                        artf
GET  /pacs/studies/{uid}                                  artf
POST /pacs/studies/{uid}/send                             art
GET  /pacs/worklist                                       art
GET  /pacs/upload                                         at
GET  /pacs/aes                                            at
GET  /pacs/hl7                                            a
GET  /pacs/system                                         a
GET  /pacs/metrics                                        a
GET  /app/explorer.html                                   art
GET  /studies                                             art
POST /tools/find                                          art
GET  /studies/{id}/archive                                art
POST /instances                                           at
GET  /modalities                                          art
POST /modalities/NOBODY/echo                              art
PUT  /modalities/NOBODY                                   a
POST /studies/{id}/anonymize                              a
GET  /jobs                                                art
GET  /statistics                                          a
GET  /tools/metrics-prometheus                            a
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]
LETTERS = {
    "a": "admin", "r": "radiologist", "t": "technician", "f": "referring", "m": "machine", "-": "none", "e": "empty"
}  # fmt: skip
# The ways in which a path may be written that lead Orthanc to /PATH.
TRICKS = [
    "/{path}", "//{path}", "/./{path}", "/x/../{path}", "/studies/../{path}", "/studies/%2e%2e/{path}",
    "/studies/%2E%2E%2F{path}", "/studies/..%2f{path}", "/dicom-web/../{path}", "/dicom-web/studies/../../{path}",
    "/dicom-web/studies/..%2f..%2f{path}", "/web-viewer/..%2f{path}", "/web-viewer/%2e%2e/{path}",
    "/pacs/../{path}", "/pacs/..%2f{path}", "/wado/../{path}", "/{path}/", "/{path}//", "/{path}/.", "/{path}%00",
    "/{path}%00/archive", "/{path}?x=/dicom-web/studies", "/{path}%3Fx", "/{path};x", "/%2f{path}", "\\{path}",
    "/studies\\..\\{path}", "/dicom-web/studies\\..\\..\\{path}", "/{upper}", "/{encoded}", "/{twice}",
    "http://127.0.0.1/{path}", "/dicom-web/studies/%2e%2e/%2e%2e/{path}", "/web-viewer/.%2e/{path}",
    "/web-viewer//../{path}", "/web-viewer/%5c..%5c{path}", "/dicom-web/studies/.%00./{path}", "/.;/{path}",
]  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """One study in the archive."""

    orthanc_study_id: str
    study_instance_uid: str
    names: dict[str, str]


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedInPacs]:
    """Run the archive behind a sign-in."""
    with signed_in_pacs(tmp_path_factory.mktemp("signed")) as started:
        yield started


@pytest.fixture(scope="module")
def archive(signed: SignedInPacs) -> HttpArchive:
    """Return Orthanc's REST API as a process of the server has it."""
    return HttpArchive(f"http://127.0.0.1:{signed.inside.orthanc_http_port()}")


@pytest.fixture(scope="module")
def stored(archive: HttpArchive) -> Stored:
    """Store a study."""
    image = dicom_image(PatientName=SECRET, PatientID="ACCESS-1", Modality="CT")
    study = archive.post_bytes("/instances", as_file(image))["ParentStudy"]
    archive.put_json("/modalities/NOBODY", {"AET": "NOBODY", "Host": "127.0.0.1", "Port": 1})
    uids = {"uid": image.StudyInstanceUID, "series": image.SeriesInstanceUID, "sop": image.SOPInstanceUID}
    return Stored(study, str(image.StudyInstanceUID), {"id": study, **{name: str(uid) for name, uid in uids.items()}})


def request_of(method: str, path: str) -> tuple[bytes | None, dict[str, str]]:
    """Return the body and the headers that an address wants, so that it does something if one gets there."""
    image = as_file(dicom_image(PatientID="ACCESS-2"))
    if path == "/dicom-web/studies" and method == "POST":
        part = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        return part + image + f"\r\n--{BOUNDARY}--\r\n".encode(), STOW
    if path == "/instances":
        return image, {}
    if path == "/tools/find":
        return json.dumps({"Level": "Study", "Query": {}}).encode(), {}
    if path.startswith("/pacs/"):
        return b"modality=NOBODY", {"Content-Type": "application/x-www-form-urlencoded"}
    bodies = {"PUT": {"AET": "NOBODY", "Host": "127.0.0.1", "Port": 1}, "POST": {"Timeout": 1}}
    return json.dumps(bodies[method]).encode() if method in bodies else None, {}


@pytest.mark.parametrize(("method", "path", "who"), ROWS, ids=[f"{row[0]} {row[1]}" for row in ROWS])
def test_each_way_is_open_to_these_roles_alone(
    signed: SignedInPacs, stored: Stored, method: str, path: str, who: str
) -> None:
    """Who is not named gets 403 whoever answers, Orthanc or the pages; who is named gets through to what answers."""
    found = {}
    for letter, session in LETTERS.items():
        address = path.format(**stored.names)
        body, headers = request_of(method, address)
        found[letter] = signed.ask(session, method, address, body, headers).status
    assert {letter for letter, status in found.items() if status != 403} == set(who), found
    assert not {status for letter, status in found.items() if letter in who and status in (401, 404, 405)}, found


def test_nothing_answers_who_is_not_signed_in(signed: SignedInPacs, stored: Stored) -> None:
    """The sign-in comes before roles."""
    for _, path, _ in ROWS:
        assert signed.ask("nobody", "GET", path.format(**stored.names)).status == 401


def spellings(path: str) -> list[str]:
    """Return a path in every trick's spelling."""
    encoded = "".join(f"%{ord(letter):02x}" if index % 2 else letter for index, letter in enumerate(path))
    twice = f"%25{ord(path[0]):02x}{path[1:]}"
    return [trick.format(path=path, upper=path.upper(), encoded=encoded, twice=twice) for trick in TRICKS]


def raw(port: int, method: str, target: str, *headers: str) -> tuple[int, bytes]:
    """Send a request line as it is, which no client library would, and return the status and all that came."""
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split(b" ", 2)[1]) if answer else 0, answer


@pytest.mark.parametrize("way", ["through NGINX", "at Orthanc's port"])
@pytest.mark.parametrize("session", ["referring", "machine"])
def test_no_spelling_of_a_path_gets_past_the_policy(
    signed: SignedInPacs, stored: Stored, way: str, session: str
) -> None:
    """However it is written: nobody reads or deletes what they may not. Decided is by the path that Orthanc acts on."""
    through_nginx = way == "through NGINX"
    port = signed.port if through_nginx else signed.inside.orthanc_http_port()
    who = f"Cookie: session={session}" if through_nginx else f"Pacs-Roles: {session}"
    for target in spellings("statistics"):
        assert b"CountStudies" not in raw(port, "GET", target, who)[1], target
    study = f"studies/{stored.orthanc_study_id}"
    for target in spellings(study):
        assert b"ParentPatient" not in raw(port, "GET", target, who)[1], target
        for tried in (
            raw(port, "DELETE", target, who),
            raw(port, "GET", target, who, "X-HTTP-Method-Override: DELETE"),
            raw(port, "POST", target, who, "X-HTTP-Method-Override: DELETE", "Content-Length: 0"),
            raw(port, "POST", f"{target}{'&' if '?' in target else '?'}_method=DELETE", who, "Content-Length: 0"),
        ):
            assert tried[0] != 200, target
    # It is all there, and the tricks are none of the test: an administrator's reach it.
    assert signed.ask_inside("GET", f"/{study}").status == 200
    admin = "Cookie: session=admin" if through_nginx else "Pacs-Roles: admin"
    reached = [target for target in spellings("statistics") if b"CountStudies" in raw(port, "GET", target, admin)[1]]
    assert len(reached) > 10, reached


@pytest.mark.parametrize(
    "forged",
    [
        ("Pacs-Roles: admin",),
        ("pacs-roles: admin",),
        ("PACS-ROLES: admin", "Pacs-Roles: admin"),
        ("Pacs_Roles: admin",),
        ("HTTP_PACS_ROLES: admin",),
        ("Pacs-Roles : admin",),
        ("Pacs-Roles: referring\tadmin",),
        ("Auth-Roles: admin", "X-Pacs-Roles: admin"),
        ("Remote-User: ana.admin", "X-Remote-User: ana.admin", "X-Forwarded-User: ana.admin"),
        # Headers that a proxy may drop on the client's word.
        ("Connection: Pacs-Roles, X-Forwarded-For, Remote-User",),
        ("X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1"),
        ("X-Original-URL: /dicom-web/studies", "X-Rewrite-URL: /dicom-web/studies"),
        ("X-Original-Method: GET", "X-HTTP-Method: GET"),
    ],
    ids=" + ".join,
)
def test_what_a_client_says_of_itself_counts_for_nothing(
    signed: SignedInPacs, stored: Stored, forged: tuple[str, ...]
) -> None:
    """Who somebody is comes from the sign-in alone, at Orthanc and at the pages."""
    lines = ("Cookie: session=referring", *forged)
    for method, path in (
        ("GET", "/statistics"),
        ("GET", "/pacs/system"),
        ("DELETE", f"/studies/{stored.orthanc_study_id}"),
    ):
        assert raw(signed.port, method, path, *lines)[0] in (400, 403), path
    assert raw(signed.port, "GET", "/dicom-web/studies", *lines)[0] in (200, 400)


def test_refusal_is_in_the_log_with_the_name_that_nginx_gave(signed: SignedInPacs) -> None:
    """The true name, whatever the request claimed, and nothing of the patient."""
    signed.ask("referring", "DELETE", f"/patients/{SECRET}", headers={"Remote-User": "ana.admin"})
    signed.ask("referring", "GET", "/pacs/hl7", headers={"Remote-User": "ana.admin"})
    give_up_at = time.monotonic() + 5
    wanted = (
        "refused at orthanc: remigio.médico (roles: referring) may not administer (DELETE)",
        "refused at pages: remigio.médico (roles: referring) may not administer (GET)",
    )
    while not all(words in signed.inside.log() for words in wanted):
        assert time.monotonic() < give_up_at, signed.inside.log()[-2000:]
        time.sleep(0.05)
    assert "ana.admin" not in signed.inside.log()
    assert SECRET not in signed.inside.log()
    metrics = signed.ask("admin", "GET", "/pacs/metrics").body.decode()
    assert 'pacs_access_refused_total{action="administer",door="orthanc"}' in metrics
    assert 'pacs_access_refused_total{action="administer",door="pages"}' in metrics


def test_processes_of_the_server_go_on_as_before(signed: SignedInPacs) -> None:
    """Monitoring and the self-check ask Orthanc itself, and say no roles; the pages' health needs none either."""
    assert signed.ask_inside("GET", "/statistics").status == 200
    assert signed.ask_inside("GET", "/tools/metrics-prometheus").status == 200
    # But what comes through a proxy says its roles, or is refused.
    assert signed.ask_inside("GET", "/statistics", X_Forwarded_For="203.0.113.1").status == 403
    assert signed.ask_inside("GET", "/statistics", Pacs_Roles="").status == 403


@pytest.mark.parametrize(("path", "status"), [("/pacs/studies", 403), ("/pacs/metrics", 403), ("/pacs/health", 200)])
def test_pages_refuse_who_comes_past_nginx(signed: SignedInPacs, path: str, status: int) -> None:
    """At the socket itself, without roles, there is nothing but the health."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(signed.inside.pages_socket()))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nPacs_Roles: admin\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(65536).startswith(f"HTTP/1.1 {status} ".encode())


def test_several_roles_add_up(signed: SignedInPacs, stored: Stored) -> None:
    """Who is a referring doctor and a technician may do what either may, and no more."""
    assert signed.ask("two", "GET", "/pacs/upload").status == 200
    assert signed.ask("two", "DELETE", f"/studies/{stored.orthanc_study_id}").status == 403


def test_administrator_deletes(signed: SignedInPacs, archive: HttpArchive) -> None:
    """What is refused to others is not broken: it is done when an administrator asks."""
    image = dicom_image(PatientID="ACCESS-3")
    study = archive.post_bytes("/instances", as_file(image))["ParentStudy"]
    for session in ("referring", "radiologist", "technician", "machine", "none"):
        assert signed.ask(session, "DELETE", f"/studies/{study}").status == 403
    assert signed.ask("admin", "DELETE", f"/studies/{study}").status == 200
    assert study not in archive.get_json("/studies")
