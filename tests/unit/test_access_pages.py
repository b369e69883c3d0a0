"""The policy at the pages: who may ask for which, what is offered, and what a refusal says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from fixtures.pages import Pages, pages
from pacs.access.page_routes import PAGES
from pacs.access.roles import Role

LETTERS = {"a": "admin", "r": "radiologist", "t": "technician", "f": "referring", "m": "machine", "-": "none"}
EVERYBODY = "artfm-"
JOB = "b53485d8-ae3c-4a66-83ae-f39d9d0b70f5"
ID = "11111111-22222222-33333333-44444444-55555555"

# Method, address, and who may: admin, radiologist, technician, reFerring, machine, - for no role.
TABLE = f"""
GET  /                                   artfm-
POST /preferences                        artfm-
GET  /health                             artfm-
GET  /static/x/pacs.css                  artfm-
GET  /vendor/htmx.min.js                 artfm-
GET  /metrics                            a
GET  /studies                            artf
GET  /studies/1.2.3                      artf
GET  /studies/by-orthanc-id/{ID}         artf
GET  /series/{ID}/thumbnail              artf
GET  /kinds/other.svg                    artf
GET  /studies/1.2.3/archive              art
GET  /studies/1.2.3/media                art
POST /studies/1.2.3/send                 art
GET  /sending/{JOB}                      art
GET  /dicom-web/studies/1/series/2/instances/3/frames/1 artfm
GET  /mesh                               art
GET  /mesh/{ID}                          art
POST /mesh/{ID}                          art
GET  /mesh/{ID}/histogram                art
POST /mesh/{ID}/preview                  art
GET  /mesh/{ID}/model.stl                art
GET  /mesh/jobs/1                        art
DELETE /mesh/jobs/1                      art
GET  /mesh/jobs/1/files/model.stl        art
GET  /mesh/jobs/1/report.json            art
POST /mesh/jobs/1/study                  art
GET  /mesh/jobs/1/saving                 art
GET  /mesh/openapi.json                  art
GET  /upload                             at
GET  /upload/studies                     at
GET  /worklist                           art
GET  /worklist/steps/1                   art
GET  /worklist/new                       at
POST /worklist/new                       at
GET  /worklist/steps/1/edit              at
POST /worklist/steps/1/edit              at
POST /worklist/steps/1/status            at
GET  /worklist/steps/1/cancel            at
POST /worklist/steps/1/cancel            at
GET  /aes                                at
POST /aes/CT1/echo                       at
GET  /aes/new                            a
POST /aes/new                            a
GET  /aes/CT1/edit                       a
POST /aes/CT1/edit                       a
GET  /aes/CT1/remove                     a
POST /aes/CT1/remove                     a
GET  /hl7                                a
GET  /hl7/messages/1                     a
POST /hl7/messages/1/replay              a
GET  /hl7/messages/1/skip                a
POST /hl7/messages/1/skip                a
GET  /hl7/messages/1/edit                a
POST /hl7/messages/1/edit                a
GET  /hl7/mapping                        a
POST /hl7/mapping                        a
GET  /routing                            art
GET  /routing/deliveries/1               art
POST /routing/deliveries/1/replay        a
GET  /routing/studies/{ID}               art
POST /routing/studies/{ID}               a
GET  /routing/readers                    art
POST /routing/copies/1/undo              a
GET  /routing/rules                      a
GET  /routing/rules/edit                 a
POST /routing/rules/edit                 a
POST /routing/rules/activate             a
POST /routing/rules/dry-runs             a
GET  /routing/rules/dry-runs/1           a
GET  /routing/rules/versions/1           a
POST /routing/rules/versions/1           a
GET  /routing/test                       a
GET  /routing/targets                    a
POST /routing/targets/x/test             a
GET  /hl7/rehearsal                      a
POST /hl7/rehearsal                      a
GET  /hl7/rehearsal/1                    a
GET  /status                             artfm-
GET  /status/runbooks/ArchiveDown        artfm-
POST /status/reports                     a
GET  /status/reports/none                a
GET  /backups                            a
POST /backups/drill                      a
GET  /backups/reports/none               a
GET  /system                             a
POST /system/jobs/{JOB}/cancel           a
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]
NAVIGATION = {
    "admin": ["studies", "worklist", "upload", "mesh", "status", "hl7", "routing", "aes", "backups", "system"],
    "technician": ["studies", "worklist", "upload", "mesh", "status", "routing", "aes"],
    "radiologist": ["studies", "worklist", "mesh", "status", "routing"],
    "referring": ["studies", "status"],
    "machine,referring": ["studies", "status"],
    "none": ["status"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """Return the pages where signing in is required."""
    with pages(tmp_path_factory.mktemp("pages"), access_required=True) as made:
        made.archive.answers |= {
            "/modalities?expand": {"CT1": {"AET": "CT1_AE", "Host": "192.168.10.21", "Port": 104}},
            "/system": {"Version": "1.12.7", "DicomAet": "PACS", "DicomPort": 4242, "DatabaseBackendPlugin": None},
        }
        yield made


def signed_in(made: Pages, roles: str, language: str = "en") -> FlaskClient:
    """Return the browser of somebody with roles, as NGINX passes its requests on."""
    client = made.client(language)
    client.environ_base |= {"HTTP_PACS_ROLES": roles, "HTTP_REMOTE_USER": "somebody"}
    return client


@pytest.mark.parametrize(("method", "path", "who"), ROWS, ids=[f"{row[0]} {row[1]}" for row in ROWS])
def test_each_page_is_for_these_roles_alone(made: Pages, method: str, path: str, who: str) -> None:
    """Whoever is not named in the table gets 403; to whoever is, the page says what it has to say."""
    answers = {letter: signed_in(made, role).open(path, method=method).status_code for letter, role in LETTERS.items()}
    assert {letter for letter, status in answers.items() if status != 403} == set(who)


def test_table_above_tries_every_page(made: Pages) -> None:
    """Every route stands in the policy, every line of the policy is a route, and the table asks for each."""
    adapter = made.app.url_map.bind("", script_name="/pacs")
    tried = {adapter.match(path, method=method)[0] for method, path, _ in ROWS}
    routes = {rule.endpoint for rule in made.app.url_map.iter_rules()}
    assert set(PAGES) == routes == tried


@pytest.mark.parametrize(("roles", "names"), NAVIGATION.items())
def test_navigation_shows_what_one_may_open(made: Pages, roles: str, names: list[str]) -> None:
    """A page that one may not open is not offered."""
    # A page that is not here has the frame too, and everybody may see it.
    page = signed_in(made, roles).get("/not-here").get_data(as_text=True)
    navigation = page[page.index("<nav") : page.index("</nav>")]
    found = re.findall(r'<a href="/pacs/(\w+)', navigation)
    assert list(dict.fromkeys(found)) == names


@pytest.mark.parametrize(
    ("language", "title", "words"),
    [
        ("en", "Not for your role", "These roles may do it: administrator, technician."),
        ("es", "Su rol no lo permite", "Pueden hacerlo estos roles: administrador, técnico."),
        ("pt", "Seu perfil não permite isso", "Podem fazê-lo estes perfis: administrador, técnico."),
    ],
)
def test_refusal_says_in_ones_language_which_roles_may(made: Pages, language: str, title: str, words: str) -> None:
    """People get a page, parts of a page a notice, programs a problem; each names the roles."""
    client = signed_in(made, "referring", language)
    page = client.get("/upload")
    assert title in page.get_data(as_text=True)
    assert words in page.get_data(as_text=True)
    notice = client.get("/upload", headers={"HX-Request": "true"})
    assert words in notice.get_data(as_text=True)
    assert notice.headers["HX-Retarget"] == "#notices"
    problem = client.get("/upload", headers={"Accept": "application/json"})
    assert problem.mimetype == "application/problem+json"
    assert problem.get_json()["type"] == "urn:pacs-cloud:problem:not-permitted"
    assert words in problem.get_json()["detail"]
    assert (page.status_code, notice.status_code, problem.status_code) == (403, 403, 403)


@pytest.mark.parametrize("path", ["/studies", "/static/x/pacs.css", "/metrics", "/not-here", "/"])
def test_request_without_roles_gets_nothing(made: Pages, path: str) -> None:
    """The socket is NGINX's alone, and NGINX always says the roles."""
    answer = made.client().get(path)
    assert answer.status_code == 403
    assert "urn:pacs-cloud" not in answer.get_data(as_text=True)
    asked_by_program = made.client().get(path, headers={"Accept": "application/json"})
    assert asked_by_program.get_json()["type"] == "urn:pacs-cloud:problem:not-signed-in"


def test_health_answers_processes_of_this_server(made: Pages) -> None:
    """What starts and watches the server asks without roles, and hears no more than whether all is well."""
    answer = made.client().get("/health")
    assert answer.status_code == 200
    assert answer.get_json() == {"status": "ok", "database": "ok", "archive": "ok"}


@pytest.mark.parametrize(("language", "words"), [("en", "Sign out"), ("es", "Salir"), ("pt", "Sair")])
def test_shell_says_who_is_signed_in_and_leads_out(made: Pages, language: str, words: str) -> None:
    """Every page shows whose session this is, with the way to end it."""
    page = signed_in(made, "referring", language).get("/studies").get_data(as_text=True)
    link = re.search(r'<a class="[^"]*sign-out" href="/logout".*?</a>', page, re.DOTALL)
    assert link is not None
    assert words in link[0]
    assert "somebody" in link[0]


def test_shell_shows_no_way_out_where_nobody_signs_in(tmp_path: Path) -> None:
    """An archive without a sign-in has nobody to show and nothing to leave."""
    with pages(tmp_path) as open_to_all:
        assert "/logout" not in open_to_all.client().get("/studies").get_data(as_text=True)


@pytest.mark.parametrize("name", ["Pacs_Roles", "PACS-ROLES"])
def test_case_of_the_header_is_no_matter(made: Pages, name: str) -> None:
    """NGINX writes one header; its case is HTTP's to ignore."""
    assert made.client().get("/upload", headers={name.replace("_", "-"): "technician"}).status_code == 200


def test_refusals_are_counted_and_logged_with_the_name(made: Pages, caplog: pytest.LogCaptureFixture) -> None:
    """The log says who tried what, without the address."""
    signed_in(made, "referring").post("/studies/1.2.840.77777/send")
    assert "refused at pages: somebody (roles: referring) may not send (POST)" in caplog.text
    assert "77777" not in caplog.text
    assert 'pacs_access_refused_total{action="send",door="pages"}' in made.metrics.render().decode()


@pytest.mark.parametrize(
    ("roles", "offered"),
    [("admin", {"upload", "panel"}), ("technician", {"upload", "panel"}), ("radiologist", set()), ("referring", set())],
)
def test_studies_page_offers_uploading_to_whom_may(made: Pages, roles: str, offered: set[str]) -> None:
    """Without the right there is no button, no panel, and nothing to drop files on."""
    page = signed_in(made, roles).get("/studies").get_data(as_text=True)
    found = {name for name, mark in (("upload", 'href="/pacs/upload"'), ("panel", "drop-veil")) if mark in page}
    assert found == offered


@pytest.mark.parametrize(("roles", "edits"), [("admin", True), ("technician", False)])
def test_stations_are_changed_by_administrators_alone(made: Pages, roles: str, edits: bool) -> None:  # noqa: FBT001
    """A technician sees the stations and tries C-ECHO; buttons to change them are not there."""
    page = signed_in(made, roles).get("/aes").get_data(as_text=True)
    assert "CT1_AE" in page
    assert "C-ECHO" in page
    assert ("/aes/CT1/edit" in page, "/aes/CT1/remove" in page, "/aes/new" in page) == (edits, edits, edits)


def test_everybody_may_everything_where_nobody_signs_in(tmp_path: Path) -> None:
    """`make run` is as it was: no header, every page, whatever roles somebody claims."""
    with pages(tmp_path) as made:
        assert made.client().get("/upload").status_code == 200
        assert made.client().get("/upload", headers={"Pacs-Roles": "referring"}).status_code == 200
        assert len(Role) == 5
