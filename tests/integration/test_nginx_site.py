"""The NGINX site: real NGINX in front of upstreams that tell what reached them."""

from __future__ import annotations

import http.client
import json
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fixtures.fictitious_studies import as_file, dicom_image
from fixtures.ports import free_port
from fixtures.running_pacs import RunningPacs

VIEWER_CONFIG = Path(__file__).parents[2] / "viewer-config"
BUILD = "build-0123456789ab"
FILE = b"0123456789" * 1000
START_TIMEOUT_SECONDS = 10


class Echo(BaseHTTPRequestHandler):
    """Answers with the request as it arrived; /file with FILE, whole even when a part was asked; /refused with 403."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Answer any method."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told = {"path": self.path, "method": self.command, "headers": dict(self.headers), "body": len(body)}
        content = FILE if self.path.endswith("/file") else json.dumps(told).encode()
        if self.path.endswith("/refused"):
            content = b""
        self.send_response(200 if content else 403)
        self.send_header("Content-Type", "application/octet-stream" if content is FILE else "application/json")
        self.send_header("Content-Length", str(len(content)))
        # As Orthanc and the pages do with some of their answers.
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class UnixHTTPServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """The same at a Unix socket, where the pages are."""

    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, Any]:
        """Give the handler a peer's address that it can print."""
        connection, _ = super().get_request()
        return connection, ("pages", 0)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def echo(self) -> dict[str, Any]:
        """Return what the upstream told."""
        told: dict[str, Any] = json.loads(self.body)
        return told


@dataclass
class Site:
    """NGINX that answers at a port."""

    port: int
    directory: Path

    def ask(self, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        """Send one request with its path exactly as given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            length = {"Content-Length": str(len(body))} if body else {}
            for name, value in ({"Host": f"127.0.0.1:{self.port}"} | length | (headers or {})).items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()


def render(directory: Path, port: int, orthanc_port: int, **changes: object) -> Path:
    """Write nginx.conf and the site into `directory` and return the former's path."""
    variables: dict[str, object] = {
        "nginx_run_directory": directory,
        "nginx_site_file": directory / "site.conf",
        "nginx_site_listen": [f"127.0.0.1:{port}"],
        "nginx_site_names": ["127.0.0.1", "pacs.hospital.example"],
        "nginx_site_tls": None,
        "nginx_site_redirect_listen": [],
        "nginx_site_orthanc": f"127.0.0.1:{orthanc_port}",
        "nginx_site_pages": f"unix:{directory}/pages.sock",
        "nginx_site_viewers_directory": directory / "viewers",
        "nginx_site_errors_directory": VIEWER_CONFIG / "nginx" / "errors",
        "nginx_site_access_log": directory / "access.log",
        "nginx_site_error_log": directory / "error.log",
        "nginx_site_upload_limit": "1m",
        "nginx_site_auth_include": "",
    }
    # Ansible trims the line end after a block, Jinja by itself does not: both must give a valid file.
    trim = bool(changes.pop("trim_blocks", False))
    loader = FileSystemLoader(VIEWER_CONFIG / "nginx")
    templates = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=trim, autoescape=False)  # noqa: S701
    for template, name in (("pacs-site.conf.j2", "site.conf"), ("nginx.conf.j2", "nginx.conf")):
        text = templates.get_template(template).render(variables | changes)
        (directory / name).write_text(text, encoding="utf-8")
    return directory / "nginx.conf"


def write_viewers(directory: Path) -> None:
    """Write files as the viewers' build leaves them."""
    build = directory / "ohif" / BUILD
    build.mkdir(parents=True)
    (directory / "ohif" / "index.html").write_text("<title>viewer</title>")
    (directory / "ohif" / "app-config.js").write_text("window.config = {}")
    (build / "app.js").write_text("plain")
    (build / "app.js.gz").write_bytes(b"\x1f\x8bpacked")


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """Run an upstream for the length of a with statement."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def nginx(configuration: Path, port: int) -> Iterator[Site]:
    """Run NGINX for the length of a with statement."""
    process = subprocess.Popen(["nginx", "-e", "stderr", "-c", str(configuration), "-g", "daemon off;"])
    try:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, "NGINX ended"
            assert time.monotonic() < deadline, "NGINX does not listen"
            time.sleep(0.05)
        yield Site(port, configuration.parent)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run the site before upstreams that echo."""
    directory = tmp_path_factory.mktemp("site")
    write_viewers(directory / "viewers")
    with ExitStack() as stack:
        orthanc = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        stack.enter_context(serving(orthanc))
        stack.enter_context(serving(UnixHTTPServer(str(directory / "pages.sock"), Echo)))
        port = free_port()
        yield stack.enter_context(nginx(render(directory, port, orthanc.server_port), port))


@pytest.fixture
def deserted(tmp_path: Path) -> Iterator[Site]:
    """Run the site with nothing behind it."""
    write_viewers(tmp_path / "viewers")
    port = free_port()
    with nginx(render(tmp_path, port, free_port()), port) as started:
        yield started


@pytest.mark.parametrize(
    ("method", "path", "status", "location"),
    [
        ("GET", "/", 302, "/pacs/"),
        ("GET", "/pacs", 301, "/pacs/"),
        ("GET", "/ohif", 301, "/ohif/"),
        ("GET", "/ohif?StudyInstanceUIDs=1.2", 301, "/ohif/?StudyInstanceUIDs=1.2"),
        ("GET", "/ohif/", 200, None),
        ("GET", "/ohif/viewer?StudyInstanceUIDs=1.2", 200, None),
        ("GET", f"/ohif/{BUILD}/gone.js", 404, None),
        ("GET", "/ohif/../../etc/passwd", 400, None),
        ("GET", "/webdav/", 404, None),
        ("PROPFIND", "/webdav/", 405, None),
        ("TRACE", "/", 405, None),
        ("PATCH", "/studies/1", 405, None),
        ("POST", "/ohif/", 405, None),
        ("GET", "/.pacs-errors/unavailable.html", 404, None),
    ],
)
def test_site_answers_as_the_table_says(site: Site, method: str, path: str, status: int, location: str | None) -> None:
    """Redirections stay on this site, the viewer's states are its page, and what is not offered is refused."""
    answer = site.ask(path, method)
    assert (answer.status, answer.headers["Location"]) == (status, location)


@pytest.mark.parametrize(
    "path",
    ["/studies?expand", "/dicom-web/studies?limit=9", "/wado?requestType=WADO", "/app/explorer.html", "/web-viewer/x"],
)
def test_site_passes_to_orthanc_with_its_own_word_about_the_client(site: Site, path: str) -> None:
    """Orthanc hears the site's name and no claim of the client about who it is or where it came from."""
    claims = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil", "Forwarded": "host=evil", "Remote-User": "root"}
    claims |= {"Pacs-Roles": "admin"}
    echo = site.ask(path, headers=claims).echo()
    headers = {name.lower(): value for name, value in echo["headers"].items()}
    assert echo["path"] == path
    assert headers["host"] == headers["x-forwarded-host"] == f"127.0.0.1:{site.port}"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["pacs-roles"] == "none"
    assert not {"forwarded", "remote-user", "accept-encoding"} & set(headers)


@pytest.mark.parametrize(
    ("asked", "arrived"),
    [
        ("/dicom-web/studies", "/dicom-web/studies?&limit=100000"),
        ("/dicom-web/series?offset=5", "/dicom-web/series?offset=5&limit=100000"),
        ("/dicom-web/studies?unlimit=1", "/dicom-web/studies?unlimit=1&limit=100000"),
        ("/dicom-web/instances?limit=3", "/dicom-web/instances?limit=3"),
        ("/dicom-web/studies/1.2/series", "/dicom-web/studies/1.2/series"),
    ],
)
def test_site_gives_a_search_of_the_whole_archive_a_limit(site: Site, asked: str, arrived: str) -> None:
    """A search that states no limit gets one, at which Orthanc's own limits begin to hold; one study stays whole."""
    assert site.ask(asked).echo()["path"] == arrived


def test_site_asks_orthanc_for_documents_in_the_one_way_it_answers(site: Site) -> None:
    """OHIF asks for a PDF as application/pdf, which Orthanc's plugin refuses; it is asked for whatever it has."""
    path = "/dicom-web/studies/1/series/2/instances/3/bulk/00420011"
    headers = site.ask(path, headers={"Accept": "application/pdf, application/octet-stream"}).echo()["headers"]
    assert headers["Accept"] == "*/*"
    assert headers["Host"] == f"127.0.0.1:{site.port}"


@pytest.mark.parametrize(
    ("asked", "arrived"),
    [
        (
            "/dicom-web/studies?limit=9&includefield=" + "%2C".join(["00081030"] * 16),
            "/dicom-web/studies?limit=9&includefield=" + ",".join(["00081030"] * 16),
        ),
        ("/dicom-web/studies?limit=9&PatientName=DEMO%5ECT%2a", "/dicom-web/studies?limit=9&PatientName=DEMO^CT*"),
        ("/dicom-web/studies?limit=9&PatientName=MU%C3%91OZ%20ANA", "/dicom-web/studies?limit=9&PatientName=MU*OZ?ANA"),
        ("/dicom-web/studies?limit=9&ModalitiesInStudy=CT%5CMR", "/dicom-web/studies?limit=9&ModalitiesInStudy=CT,MR"),
        (
            "/dicom-web/studies?limit=9&PatientName=A%26limit=1%0d%0aX:1",
            "/dicom-web/studies?limit=9&PatientName=A%26limit=1%0d%0aX:1",
        ),
        ("/dicom-web/studies/1.2/series?includefield=1%2C2", "/dicom-web/studies/1.2/series?includefield=1,2"),
        (
            "/wado?contentType=application%2Fdicom%3Btransfer-syntax%3D*",
            "/wado?contentType=application/dicom;transfer-syntax=*",
        ),
        (
            "/studies?expand&requestedTags=PatientName%3BPatientID",
            "/studies?expand&requestedTags=PatientName;PatientID",
        ),
        ("/pacs/?name=MU%C3%91OZ%20ANA", "/pacs/?name=MU%C3%91OZ%20ANA"),
    ],
)
def test_site_decodes_query_strings_that_orthanc_can_not(site: Site, asked: str, arrived: str) -> None:
    """What clients must encode arrives as Orthanc reads it; nothing that would change the request is decoded."""
    assert site.ask(asked).echo()["path"] == arrived


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"Host": "evil.example"}, 421),
        ("GET", {"Host": ""}, 400),
        ("GET", {"Host": "PACS.hospital.example"}, 200),
        ("POST", {"Origin": "http://evil.example"}, 403),
        ("POST", {"Origin": "null"}, 403),
        ("DELETE", {"Origin": "https://127.0.0.1:{port}"}, 403),
        ("POST", {"Origin": "http://127.0.0.1:1"}, 403),
        ("POST", {"Origin": "http://127.0.0.1:{port}"}, 200),
        ("POST", {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
        ("POST", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
        ("POST", {}, 200),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ("GET", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ("GET", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200),
    ],
)
@pytest.mark.parametrize("path", ["/instances", "/dicom-web/studies", "/pacs/x"])
def test_site_refuses_what_other_sites_send(
    site: Site, method: str, headers: dict[str, str], status: int, path: str
) -> None:
    """Another site's page can't act or read here, nor by a name of its own; programs and links can."""
    filled = {name: value.format(port=site.port) for name, value in headers.items()}
    answer = site.ask(path, method, filled, b"x" if method == "POST" else b"")
    assert answer.status == status
    if status in (403, 421):
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert answer.echo()["status"] == status


@pytest.mark.parametrize(
    ("path", "policy", "cache"),
    [
        ("/ohif/viewer", "script-src 'self';", "no-cache"),
        ("/ohif/app-config.js", "script-src 'self';", "no-cache"),
        (
            f"/ohif/{BUILD}/app.js",
            "script-src 'self' 'unsafe-eval' 'wasm-unsafe-eval';",
            "public, max-age=31536000, immutable",
        ),
        ("/dicom-web/studies", "default-src 'none'", "private, no-cache"),
        ("/dicom-web/studies/1/series/2/metadata", "default-src 'none'", "private, max-age=10"),
        ("/dicom-web/studies/1/series/2/instances/3/frames/1", "default-src 'none'", "private, max-age=3600"),
        ("/studies", "default-src 'none'", "private, no-cache"),
        ("/app/explorer.html", "object-src 'none'", "no-cache"),
        ("/dicom-web/app/client/index.html", "object-src 'none'", "no-cache"),
    ],
)
def test_site_binds_browsers(site: Site, path: str, policy: str, cache: str) -> None:
    """Every answer carries its policy, how long it may be kept, and the headers that stop embedding and guessing."""
    headers = site.ask(path).headers
    assert policy in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == cache
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Server"] == "nginx"


@pytest.mark.parametrize("path", ["/system", "/dicom-web/studies", "/app/explorer.html", "/pacs/studies", "/ohif/"])
def test_site_forbids_guessing_of_types_once(site: Site, path: str) -> None:
    """Every answer carries the header, and none carries it a second time."""
    assert site.ask(path).headers.get_all("X-Content-Type-Options") == ["nosniff"]


def test_site_isolates_the_viewer_only(site: Site) -> None:
    """OHIF may share memory between its threads; Explorer, which was not made for isolation, is left alone."""
    assert site.ask("/ohif/").headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert site.ask("/app/explorer.html").headers["Cross-Origin-Embedder-Policy"] is None


def test_site_sends_the_packed_file_when_the_browser_takes_it(site: Site) -> None:
    """The viewer's files are packed once, when they are built."""
    packed = site.ask(f"/ohif/{BUILD}/app.js", headers={"Accept-Encoding": "gzip"})
    assert (packed.headers["Content-Encoding"], packed.body) == ("gzip", b"\x1f\x8bpacked")
    assert site.ask(f"/ohif/{BUILD}/app.js").body == b"plain"


def test_site_sends_a_part_of_a_file_when_orthanc_sends_the_whole(site: Site) -> None:
    """A video can be wound, and a download that broke off goes on."""
    answer = site.ask("/instances/1/file", headers={"Range": "bytes=10-19"})
    assert (answer.status, answer.body) == (206, b"0123456789")


def test_site_refuses_a_request_over_the_limit(site: Site) -> None:
    """What is too large is refused by a problem that says so, before Orthanc holds it in memory."""
    answer = site.ask("/instances", "POST", body=bytes(1024**2 + 1))
    assert (answer.status, answer.echo()["type"]) == (413, "urn:pacs-cloud:problem:too-large")


def test_site_logs_no_query_string(site: Site) -> None:
    """Patients are searched for by name: neither the query nor the page that it came from is written down."""
    site.ask("/studies/logged?PatientName=SECRET", headers={"Referer": "http://127.0.0.1/?q=SECRET"})
    log = site.directory / "access.log"
    deadline = time.monotonic() + 5
    while "/studies/logged" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert '"GET /studies/logged HTTP/1.1" 200' in log.read_text()
    assert "SECRET" not in log.read_text()


@pytest.mark.parametrize("path", ["/studies?PatientName=SECRET", "/pacs/?q=SECRET"])
@pytest.mark.parametrize(
    ("accept", "kind"), [("text/html,*/*", "text/html"), ("application/json", "application/problem+json")]
)
def test_site_tells_that_the_archive_is_away(deserted: Site, path: str, accept: str, kind: str) -> None:
    """People get a page, programs a problem, both are told when to come back; the log keeps the query to itself."""
    answer = deserted.ask(path, headers={"Accept": accept})
    assert answer.status == 503
    assert answer.headers["Content-Type"].startswith(kind)
    assert answer.headers["Retry-After"] == "10"
    assert "SECRET" not in (deserted.directory / "error.log").read_text()


def test_viewer_comes_while_the_archive_is_away(deserted: Site) -> None:
    """OHIF's files need no Orthanc."""
    assert deserted.ask("/ohif/viewer").body == b"<title>viewer</title>"


@pytest.mark.parametrize("trim_blocks", [False, True])
def test_site_is_valid_with_tls_and_sign_in(tmp_path: Path, trim_blocks: bool) -> None:  # noqa: FBT001
    """A server's rendering passes NGINX's own check, whichever way the template engine trims."""
    key, certificate, include = (tmp_path / name for name in ("key.pem", "certificate.pem", "auth.conf"))
    options = ["-x509", "-subj", "/CN=pacs.hospital.example", "-days", "1", "-nodes", "-newkey", "rsa:2048"]
    command = ["openssl", "req", *options, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    include.write_text("location = /auth { internal; return 204; }\nauth_request /auth;\n")
    configuration = render(
        tmp_path,
        free_port(),
        free_port(),
        nginx_site_tls={"certificate": certificate, "key": key},
        nginx_site_redirect_listen=[f"127.0.0.1:{free_port()}"],
        nginx_site_auth_include=include,
        trim_blocks=trim_blocks,
    )
    command = ["nginx", "-t", "-e", "stderr", "-c", str(configuration)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "warn" not in result.stderr


# A sign-in that knows whoever shows any cookie, and leads others away.
SIGN_IN = """
auth_request /.sign-in;
location = /.sign-in {
  internal;
  recursive_error_pages off;
  error_page 401 403 @refused;
  if ($http_cookie ~ "^(|sign-in is away)$") { return 401; }
  if ($http_cookie = "another account") { return 403; }
  return 204;
}
location @refused {
  auth_request off;
  if ($http_cookie ~ "^(|sign-in is away)$") { return 401; }
  return 403;
}
location @signed_out {
  auth_request off;
  if ($http_cookie = "sign-in is away") { return 503; }
  return 302 https://auth.example/;
}
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run the site with a sign-in before upstreams that echo, its watch log in a file."""
    directory = tmp_path_factory.mktemp("guarded")
    write_viewers(directory / "viewers")
    (directory / "sign-in.conf").write_text(SIGN_IN)
    with ExitStack() as stack:
        orthanc = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        stack.enter_context(serving(orthanc))
        stack.enter_context(serving(UnixHTTPServer(str(directory / "pages.sock"), Echo)))
        port = free_port()
        configuration = render(
            directory, port, orthanc.server_port, nginx_site_auth_include=directory / "sign-in.conf",
            nginx_site_auth_answers=True, nginx_site_watch_log=directory / "watch.log",
        )  # fmt: skip
        yield stack.enter_context(nginx(configuration, port))


@pytest.mark.parametrize("path", ["/refused", "/dicom-web/studies/1/refused", "/web-viewer/refused"])
@pytest.mark.parametrize("cookie", ["mine", "another account"])
def test_refusal_has_words_for_people_and_a_problem_for_programs(guarded: Site, path: str, cookie: str) -> None:
    """What Orthanc's gate or the sign-in refuses comes as a page in three languages, or as a problem; never empty."""
    page = guarded.ask(path, headers={"Cookie": cookie, "Accept": "text/html,*/*"})
    assert page.status == 403
    for words in (b"not open to your account", b"no tiene acceso", "não tem acesso".encode(), b'href="/logout"'):
        assert words in page.body
    problem = guarded.ask(path, headers={"Cookie": cookie, "Accept": "application/dicom+json"})
    assert problem.status == 403
    assert problem.headers["Content-Type"].startswith("application/problem+json")
    assert json.loads(problem.body)["status"] == 403
    assert problem.headers["Retry-After"] is None


@pytest.mark.parametrize("path", ["/", "/pacs/", "/studies", "/ohif/", "/dicom-web/studies"])
def test_sign_in_that_is_away_has_a_page(guarded: Site, path: str) -> None:
    """Nobody comes in then, and people are told why, in their languages and with the headers of any answer."""
    answer = guarded.ask(path, headers={"Cookie": "sign-in is away", "Accept": "text/html"})
    assert answer.status == 503
    assert "El archivo está iniciando".encode() in answer.body
    assert answer.headers["Retry-After"] == "10"
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"


def test_pages_refuse_in_their_own_words(guarded: Site) -> None:
    """What our pages say of a refusal is not replaced."""
    answer = guarded.ask("/pacs/refused", headers={"Cookie": "mine", "Accept": "text/html"})
    assert (answer.status, answer.body) == (403, b"")


# What may lead to a ban of who asks, and what must not: people who have no session, or whose browser was made to ask.
COUNTED = [
    ("/wp-login.php", {}, "scan"),
    ("/.env", {}, "scan"),
    ("/.git/config", {}, "scan"),
    ("/old/index.php?x=1", {}, "scan"),
    ("/vendor/phpunit/phpunit.xml", {}, "scan"),
    ("/backup.SQL", {}, "scan"),
    ("/cgi-bin/luci", {"Sec-Fetch-Site": "none"}, "scan"),
]
NOT_COUNTED = [
    ("/", {}),
    ("/pacs/", {}),
    ("/pacs/vendor/htmx.min.js", {}),
    ("/pacs/aes/CT.PHP/edit", {}),
    ("/modalities/X.ENV/echo", {}),
    ("/ohif/viewer?StudyInstanceUIDs=1.2", {}),
    ("/dicom-web/studies/1.2.3/series/4/instances/5/frames/1", {}),
    ("/favicon.ico", {}),
    ("/apple-touch-icon.png", {}),
    ("/robots.txt", {}),
    ("/.well-known/change-password", {}),
    # A page elsewhere embeds these: who reads it did nothing.
    ("/wp-login.php", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}),
    ("/x.php", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}),
    ("/pacs/", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}),
]


def test_only_what_no_person_asks_for_is_counted_for_bans(guarded: Site) -> None:
    """Files of other products are, though they are only led to the sign-in; a person without a session never is."""

    def counted() -> list[str]:
        # (Those of other tests, which NGINX may still be writing, ask for something refused.)
        lines = (guarded.directory / "watch.log").read_text().splitlines()
        return [line for line in lines if "/refused" not in line]

    for path, headers in NOT_COUNTED:
        assert guarded.ask(path, headers=headers).status in {302, 403}, path
    for path, headers, _ in COUNTED:
        assert guarded.ask(path, headers=headers).status == 302, path
    deadline = time.monotonic() + 5
    while len(counted()) < len(COUNTED) and time.monotonic() < deadline:
        time.sleep(0.05)
    expected = [
        f'refused rhost=127.0.0.1 status=302 user=- kind={kind} "GET {path.partition("?")[0]}"'
        for path, _, kind in COUNTED
    ]
    # NGINX's two processes write what they answered in no order.
    assert sorted(counted()) == sorted(expected)


def test_search_finds_an_accented_name_through_the_site(pacs: RunningPacs) -> None:
    """A real search for a name with an accent and a space, asking for a description, finds the study with it."""
    store(pacs.url, PatientName="MUÑOZ^ANA", PatientID="NGINX-1", StudyDescription="Tórax")
    wanted = {"PatientName": "MUÑOZ ANA", "PatientID": "NGINX-1", "includefield": "00080060,00081030"}
    query = urlencode(wanted, quote_via=quote)
    with urlopen(f"{pacs.url}/dicom-web/studies?{query}") as response:  # noqa: S310 - our own address
        found = json.load(response)
    assert [study["00081030"]["Value"] for study in found] == [["Tórax"]]


def store(url: str, **attributes: object) -> None:
    """Send one small image through the site's REST."""
    request = Request(f"{url}/instances", data=as_file(dicom_image(**attributes)), method="POST")  # noqa: S310 - ours
    with urlopen(request) as response:  # noqa: S310
        assert response.status == 200


@pytest.mark.parametrize("trim_blocks", [False, True])
def test_site_binds_browsers_with_its_own_answers(tmp_path: Path, trim_blocks: bool) -> None:  # noqa: FBT001
    """A redirection or refusal of NGINX itself has the headers too, whichever way the template engine trims."""
    write_viewers(tmp_path / "viewers")
    port = free_port()
    with nginx(render(tmp_path, port, free_port(), trim_blocks=trim_blocks), port) as site:
        for path in ("/", "/pacs", "/ohif", "/webdav/"):
            headers = site.ask(path).headers
            assert headers["X-Content-Type-Options"] == "nosniff", path
            assert headers["Content-Security-Policy"].startswith("default-src 'none'"), path
