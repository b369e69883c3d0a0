"""Who may do what: the whole policy as a table of roles and addresses, and the gate before Orthanc."""

from __future__ import annotations

import logging

import pytest

from pacs.access.gate import OrthancGate
from pacs.access.orthanc_routes import ROUTES, action_of
from pacs.access.people import readable_name
from pacs.access.roles import GRANTS, Action, Role, actions_of, read_roles, roles_with, written
from pacs.metrics import Metrics

LETTERS = {"a": "admin", "r": "radiologist", "t": "technician", "f": "referring", "m": "machine", "-": "none"}
SERIES = "/dicom-web/studies/1.2/series/3.4"

# Method, address, and who may: admin, radiologist, technician, reFerring, machine.
TABLE = """
GET    /dicom-web/studies                              artfm
GET    /dicom-web/studies/1.2                          artfm
GET    /dicom-web/studies/1.2/metadata                 artfm
GET    /dicom-web/studies/1.2/series                   artfm
GET    /dicom-web/studies/1.2/series/3.4/instances/5/frames/1 artfm
GET    /dicom-web/studies/1.2/series/3.4/instances/5/rendered artfm
GET    /dicom-web/studies/1.2/series/3.4/instances/5/bulk/1 artfm
GET    /dicom-web/series                               artfm
GET    /dicom-web/instances                            artfm
GET    /wado                                           artfm
POST   /dicom-web/studies                              atm
POST   /dicom-web/studies/1.2                          atm
DELETE /dicom-web/studies/1.2                          a
DELETE /dicom-web/studies/1.2/series/3.4               a
PUT    /dicom-web/studies/1.2                          a
POST   /dicom-web/studies/1.2/series/3.4               a
GET    /dicom-web/app/client/index.html                art
GET    /dicom-web/libs/js/vue.js                       art
GET    /dicom-web/info                                 art
GET    /dicom-web/servers                              art
POST   /dicom-web/servers/x/stow                       art
GET    /dicom-web/servers/x                            a
POST   /dicom-web/servers/x/get                        a
POST   /dicom-web/servers/x/retrieve                   a
PUT    /dicom-web/servers/x                            a
GET    /dicom-web                                      a
GET    /dicom-web/unheard-of                           a
GET    /web-viewer/app/viewer.html                     artf
GET    /web-viewer/series/x                            artf
GET    /web-viewer/instances/jpeg95-x_0                artf
POST   /web-viewer/series/x                            a
GET    /                                               art
GET    /app/explorer.html                              art
GET    /app/libs/jquery.min.js                         art
GET    /system                                         art
GET    /plugins                                        art
GET    /plugins/explorer.js                            art
GET    /statistics                                     a
GET    /changes                                        a
DELETE /changes                                        a
GET    /exports                                        a
GET    /patients                                       art
GET    /patients/x                                     art
GET    /patients/x/protected                           art
PUT    /patients/x/protected                           a
DELETE /patients/x                                     a
POST   /patients/x/anonymize                           a
GET    /patients/x/archive                             art
GET    /studies                                        art
GET    /studies/x                                      art
GET    /studies/x/series                               art
GET    /studies/x/shared-tags                          art
GET    /studies/x/statistics                           art
GET    /studies/x/archive                              art
POST   /studies/x/archive                              art
GET    /studies/x/media                                art
POST   /studies/x/media                                art
DELETE /studies/x                                      a
POST   /studies/x/modify                               a
POST   /studies/x/anonymize                            a
POST   /studies/x/merge                                a
POST   /studies/x/split                                a
POST   /studies/x/reconstruct                          a
PUT    /studies/x/labels/y                             a
DELETE /studies/x/labels/y                             a
PUT    /studies/x/metadata/1024                        a
DELETE /studies/x/attachments/dicom                    a
GET    /series/x                                       art
GET    /series/x/archive                               art
GET    /series/x/media                                 art
POST   /series/x/archive                               art
POST   /series/x/media                                 art
POST   /patients/x/archive                             art
GET    /patients/x/media                               art
POST   /patients/x/media                               art
GET    /series/x/numpy                                 art
DELETE /series/x                                       a
POST   /series/x/modify                                a
GET    /instances                                      art
GET    /instances/x/file                               art
GET    /instances/x/preview                            art
GET    /instances/x/simplified-tags                    art
GET    /instances/x/attachments/dicom/data             art
POST   /instances                                      at
POST   /instances/x/export                             a
POST   /instances/x/modify                             a
POST   /instances/x/reconstruct                        a
DELETE /instances/x                                    a
PUT    /instances                                      a
GET    /instances/x/archive                            art
POST   /instances/x/archive                            art
GET    /instances/x/media                              art
POST   /instances/x/media                              art
GET    /modalities                                     art
POST   /modalities/x/store                             art
POST   /modalities/x/echo                              art
POST   /modalities/x/query                             art
POST   /modalities/x/move                              art
GET    /modalities/x                                   a
GET    /modalities/x/configuration                     a
PUT    /modalities/x                                   a
DELETE /modalities/x                                   a
POST   /modalities/x/store-straight                    a
POST   /modalities/x/find-worklist                     a
POST   /modalities/x/storage-commitment                a
GET    /queries                                        art
GET    /queries/x/answers                              art
POST   /queries/x/retrieve                             art
POST   /queries/x/answers/0/retrieve                   art
DELETE /queries/x                                      art
GET    /peers                                          art
POST   /peers/x/store                                  art
PUT    /peers/x                                        a
GET    /jobs                                           art
GET    /jobs/x                                         art
GET    /jobs/x/archive                                 art
GET    /jobs/x/attachment                              a
POST   /jobs/x/cancel                                  a
POST   /jobs/x/resubmit                                a
DELETE /jobs/x/archive                                 a
POST   /tools/find                                     art
POST   /tools/lookup                                   art
POST   /tools/bulk-content                             art
POST   /tools/count-resources                          art
GET    /tools/labels                                   art
GET    /tools/create-archive                           art
POST   /tools/create-archive                           art
GET    /tools/create-media                             art
POST   /tools/create-media                             art
GET    /tools/create-media-extended                    art
POST   /tools/create-media-extended                    art
POST   /tools/create-dicom                             a
POST   /tools/bulk-delete                              a
POST   /tools/bulk-modify                              a
POST   /tools/bulk-anonymize                           a
POST   /tools/execute-script                           a
POST   /tools/reconstruct                              a
POST   /tools/reset                                    a
POST   /tools/shutdown                                 a
POST   /tools/invalidate-tags                          a
POST   /tools/dicom-echo                               a
PUT    /tools/log-level                                a
PUT    /tools/default-encoding                         a
GET    /tools/metrics-prometheus                       a
GET    /tools                                          a
GET    /storage-commitment/x                           a
GET    /webdav/uploads                                 a
GET    /Studies/x                                      a
GET    /STUDIES                                        a
GET    /system;x                                       a
GET    /studiesx                                       a
GET    /dicom-web/studiesx                             a
GET    /wado/x                                         a
GET    /system/x                                       a
PATCH  /studies/x                                      a
get    /studies/x                                      a
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]


@pytest.mark.parametrize(("method", "path", "who"), ROWS, ids=[f"{row[0]} {row[1]}" for row in ROWS])
def test_each_address_of_orthanc_is_for_these_roles_alone(method: str, path: str, who: str) -> None:
    """Whoever is not named in the table is refused, and so is whoever has no role."""
    gate = OrthancGate(Metrics("1"))
    admitted = {letter for letter, role in LETTERS.items() if gate.admits(method, path, {"pacs-roles": role})}
    assert admitted == set(who)


def test_table_above_tries_every_route() -> None:
    """No line of the policy is there untested."""
    tried = {(method, path) for method, path, _ in ROWS}
    for methods, address, action in ROUTES:
        for method in methods.split():
            fitting = [path for one, path in tried if one == method and fits(address, path)]
            assert any(action_of(method, path) is action for path in fitting), (method, address)


def fits(address: str, path: str) -> bool:
    """Compare part by part, as somebody reads it."""
    wanted, found = address.split("/"), path.split("/")
    if wanted[-1] == "**":
        wanted = wanted[:-1]
        found = found[: len(wanted)]
    return len(wanted) == len(found) and all(part in ("*", one) for part, one in zip(wanted, found, strict=True))


@pytest.mark.parametrize("path", ["/studies/", "/system/", "/dicom-web/studies/", "/web-viewer/"])
def test_slash_at_the_end_changes_nothing(path: str) -> None:
    """Orthanc takes /system/ for /system."""
    assert action_of("GET", path) is action_of("GET", path[:-1])
    assert action_of("GET", path) is not Action.ADMINISTER


@pytest.mark.parametrize("path", ["", "x", "//system", "/studies/\n", "/system\n", "/\x00", "/studies/../tools/reset"])
def test_odd_paths_are_for_administrators_or_what_they_seem(path: str) -> None:
    """What Orthanc never asks with is no way around the table either."""
    assert action_of("POST", path) is Action.ADMINISTER
    assert action_of("DELETE", path) is Action.ADMINISTER


@pytest.mark.parametrize(
    ("header", "roles"),
    [
        ("none", set()),
        ("", set()),
        ("admin", {Role.ADMIN}),
        ("referring,technician", {Role.REFERRING, Role.TECHNICIAN}),
        (" referring , technician ", {Role.REFERRING, Role.TECHNICIAN}),
        ("Admin", set()),
        ("ADMIN,referring", {Role.REFERRING}),
        ("administrator", set()),
        ("admin;referring", set()),
        ("admin referring", set()),
        ("adm\u0131n", set()),
        ("superuser,machine", {Role.MACHINE}),
        (",,,", set()),
    ],
)
def test_roles_are_read_as_the_sign_in_writes_them(header: str, roles: set[Role]) -> None:
    """What is no role of ours counts for nothing, spelled however."""
    assert read_roles(header) == roles


def test_several_roles_add_up() -> None:
    """Who is two things may do what either may."""
    both = actions_of(read_roles("referring,machine"))
    assert both == GRANTS[Role.REFERRING] | GRANTS[Role.MACHINE]
    assert actions_of(frozenset()) == {Action.COME_IN}


def test_only_administrators_administer() -> None:
    """What has no other action is theirs alone."""
    assert roles_with(Action.ADMINISTER) == [Role.ADMIN]
    assert set(GRANTS) == set(Role)
    assert written({Role.MACHINE, Role.ADMIN}) == "admin,machine"


def test_process_of_this_server_needs_no_roles() -> None:
    """Plugins that ask by HTTP, monitoring and the self-check don't come through NGINX and say no roles."""
    assert OrthancGate(Metrics("1")).admits("DELETE", "/studies/x", {"host": "127.0.0.1:8042"})


@pytest.mark.parametrize("headers", [{"x-forwarded-for": "203.0.113.9"}, {"x-forwarded-for": ""}])
def test_request_through_nginx_without_roles_is_refused(
    headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """A location that forgot to pass the roles on lets nobody in, and says so."""
    metrics = Metrics("1")
    assert not OrthancGate(metrics).admits("GET", "/dicom-web/studies", headers)
    assert 'pacs_access_refused_total{action="unsigned",door="orthanc"} 1.0' in metrics.render().decode()
    assert "without Pacs-Roles" in caplog.text


def test_refusal_tells_the_person_and_nothing_of_a_patient(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the name that NGINX gave and what was tried; the address, which may name a patient, stays out."""
    metrics = Metrics("1")
    headers = {"pacs-roles": "referring", "remote-user": "dra.gómez\nforged line"}
    with caplog.at_level(logging.WARNING):
        assert not OrthancGate(metrics).admits("DELETE", "/patients/NAME^SECRET", headers)
    assert 'pacs_access_refused_total{action="administer",door="orthanc"} 1.0' in metrics.render().decode()
    [line] = [record.getMessage() for record in caplog.records]
    assert line == (
        "refused at orthanc: dra.gómezforged line (roles: referring) may not administer (DELETE), which needs admin"
    )


@pytest.mark.parametrize(
    ("name", "readable"), [("", "local"), ("  ", "local"), ("a\x1b[2Jb", "a[2Jb"), ("x" * 500, "x" * 200), ("ñ", "ñ")]
)
def test_name_is_fit_for_a_line(name: str, readable: str) -> None:
    """No control characters, no endless names."""
    assert readable_name(name) == readable
