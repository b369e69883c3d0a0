"""What protects the people who use the pages: headers, origins, static files, words of errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Blueprint, render_template

from fixtures.pages import pages
from pacs.errors import ArchiveError, Conflict, DatabaseError, InvalidInput, NotFound, TooLarge
from pacs.web.navigation import NavigationEntry, PageModule
from pacs.web.pages import STANDARD_PAGES

WEB = Path(__file__).parents[2] / "plugins" / "pacs" / "web"
UPDATE = "/preferences"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "none"}, 303),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://localhost"}, 303),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"}, 403),
        ({}, 303),
    ],
)
def test_writes_of_other_sites_are_refused(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    """A page elsewhere can't act with this person's browser; programs, which tell no origin, can."""
    with pages(tmp_path) as made:
        assert made.client().post(UPDATE, headers=headers).status_code == status


def test_reading_is_open_to_links_from_elsewhere(tmp_path: Path) -> None:
    """A link in a mail or in the hospital's system opens a page."""
    with pages(tmp_path) as made:
        assert made.client().get("/upload", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_pages_bind_the_browser(tmp_path: Path) -> None:
    """No foreign or inline script, no framing by others, no guessing of types, no copy in caches."""
    with pages(tmp_path) as made:
        headers = made.client().get("/upload").headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'self'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_templates_have_no_inline_script_or_style() -> None:
    """The policy would break them; nobody shall be tempted to loosen it."""
    # A report is a document of its own, kept and printed far from here, and is never shown as a page.
    for template in set((WEB / "templates").rglob("*.html")) - {WEB / "templates" / "report.html"}:
        content = template.read_text()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", content), template.name


def test_static_files_are_kept_for_ever_by_their_content(tmp_path: Path) -> None:
    """The address changes with the content, so browsers never ask again; another edition's address asks each time."""
    with pages(tmp_path) as made:
        client = made.client()
        page = client.get("/upload").get_data(as_text=True)
        found = re.search(r'href="/pacs(/static/[0-9a-f]{12}/pacs\.css)"', page)
        assert found
        answer = client.get(found[1])
        assert (answer.status_code, answer.mimetype) == (200, "text/css")
        assert "immutable" in answer.headers["Cache-Control"]
        old = client.get("/static/000000000000/pacs.css")
        assert (old.status_code, old.headers["Cache-Control"]) == (200, "no-cache")
        assert client.get("/static/x/../../settings.py").status_code == 404


def test_missing_library_is_told_with_what_to_do(tmp_path: Path) -> None:
    """A server without the viewers' files says so instead of an empty answer."""
    with pages(tmp_path, VendorFolder=str(tmp_path), HtmxFile=str(tmp_path / "no.js")) as made:
        answer = made.client().get("/vendor/zip.min.js", headers={"Accept": "*/*"})
    assert answer.status_code == 404
    assert "make run" in answer.get_json()["detail"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFound("Expected a study, found none."), 404, "not-found"),
        (InvalidInput("Expected a date."), 400, "invalid-input"),
        (Conflict("Expected it to be new."), 409, "conflict"),
        (TooLarge("Expected less."), 413, "too-large"),
        (ArchiveError("Orthanc did not answer."), 502, "archive"),
        (DatabaseError("Locked."), 503, "database"),
        (ZeroDivisionError("secret PATIENT^NAME"), 500, "internal"),
    ],
)
def test_every_fault_has_an_answer_for_programs_people_and_parts(
    tmp_path: Path, error: Exception, status: int, code: str
) -> None:
    """One fault: a JSON problem, a page in the person's language, a notice for htmx, and a count."""
    with pages(tmp_path) as made:
        made.archive.answers["/system"] = error
        made.archive.answers["/modalities?expand"] = {}
        client = made.client("es")
        program = client.get("/aes", headers={"Accept": "application/json"})
        assert (program.status_code, program.mimetype) == (status, "application/problem+json")
        assert program.get_json()["type"] == f"urn:pacs-cloud:problem:{code}"
        assert "secret" not in program.get_data(as_text=True)
        page = client.get("/aes")
        assert (page.status_code, page.mimetype) == (status, "text/html")
        assert "Ir a los estudios" in page.get_data(as_text=True)
        part = client.get("/aes", headers={"HX-Request": "true"})
        assert (part.status_code, part.headers["HX-Retarget"]) == (status, "#notices")
        assert "<html" not in part.get_data(as_text=True)
        assert f'pacs_errors_total{{code="{code}"}} 3.0' in made.metrics.render().decode()


def test_unknown_page_is_told_in_the_language(tmp_path: Path) -> None:
    """A wrong address gets a page with a way on, and the status says it too."""
    with pages(tmp_path) as made:
        answer = made.client("pt").get("/nothing")
    assert answer.status_code == 404
    assert "Não está aqui" in answer.get_data(as_text=True)


def test_requests_are_counted_by_route(tmp_path: Path) -> None:
    """The metrics tell endpoints, never addresses, which carry identifiers."""
    with pages(tmp_path) as made:
        client = made.client()
        client.get("/upload")
        client.get("/secret-path")
        text = client.get("/metrics").get_data(as_text=True)
    assert 'pacs_http_requests_total{endpoint="upload.index",method="GET",status="200"} 1.0' in text
    assert 'endpoint="none",method="GET",status="404"' in text
    assert "secret-path" not in text


def test_health_tells_what_does_not_answer(tmp_path: Path) -> None:
    """200 while database and archive answer, else 503 and which of them."""
    with pages(tmp_path) as made:
        made.archive.answers["/system"] = {"Version": "1.12.7"}
        client = made.client()
        assert client.get("/health").get_json() == {"status": "ok", "database": "ok", "archive": "ok"}
        made.archive.broken = True
        answer = client.get("/health")
        assert answer.status_code == 503
        assert answer.get_json() == {"status": "failed", "database": "ok", "archive": "failed"}


def test_navigation_takes_the_pages_of_other_capabilities(tmp_path: Path) -> None:
    """A capability's module brings its routes and its entry, which stands where its order says."""
    orders = Blueprint("orders", __name__)
    orders.add_url_rule("/orders", "index", lambda: render_template("upload.html"))
    module = PageModule(orders, (NavigationEntry("Orders", "orders.index", 16, "studies"),))
    with pages(tmp_path, modules=(*STANDARD_PAGES, module)) as made:
        page = made.client().get("/orders").get_data(as_text=True)
    assert re.findall(r'<a href="/pacs/(\w+)"[^>]*><svg', page)[:4] == ["studies", "worklist", "orders", "upload"]
    assert 'href="/pacs/orders" aria-current="page"' in page
