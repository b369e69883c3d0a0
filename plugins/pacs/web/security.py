"""What keeps the pages from being used against the person who looks at them."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Flask, Response, request

from pacs.errors import PacsError

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES = frozenset({"same-origin", "none"})

# Scripts and styles only as files of this server: text that a modality sent can't become a script.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)


class ForeignOrigin(PacsError):
    """A page of another site tried to act here with this person's browser."""

    code = "foreign-origin"
    status = HTTPStatus.FORBIDDEN


def install(app: Flask) -> None:
    """Refuse writes that come from other sites, and send the headers that bind the browser."""
    app.before_request(refuse_foreign_writes)
    app.after_request(_add_headers)


def refuse_foreign_writes() -> None:
    """Stop cross-site request forgery. Browsers tell the origin of every write; other programs need not.

    Raises
    ------
    ForeignOrigin : Sec-Fetch-Site or Origin say that another site's page sent this.
    """
    if request.method in _SAFE_METHODS:
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    foreign_site = site is not None and site not in _OWN_SITES
    foreign_origin = origin is not None and urlsplit(origin).netloc != request.host
    if foreign_site or foreign_origin:
        message = f"Expected a request from a page of {request.host}, found one from {origin or site}."
        raise ForeignOrigin(message, remedy="Open the page here and repeat it.")


def _add_headers(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    headers.setdefault("Cache-Control", "no-store")
    return response
