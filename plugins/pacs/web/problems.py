"""Faults as answers: a JSON problem (RFC 9457) for programs, a page for people, a notice for parts of a page."""

from __future__ import annotations

import logging
from http import HTTPStatus

from flask import Flask, Response, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException

from pacs.errors import PacsError, Problem
from pacs.web.language import N_
from pacs.web.services import Services

_logger = logging.getLogger(__name__)

# What each kind of fault is called on the page, and what to do about it.
_WORDS: dict[int, tuple[str, str]] = {
    400: (N_("This can't be understood"), N_("Check what was entered and try again.")),
    403: (N_("Not allowed"), N_("Open the page here and try again.")),
    404: (N_("Not here"), N_("It may have been removed, or the address is not complete.")),
    405: (N_("Not allowed"), N_("Open the page here and try again.")),
    409: (N_("This does not fit the present state"), N_("Reload the page to see how things are now.")),
    413: (N_("Too large"), N_("Send less at once.")),
    502: (
        N_("The archive did not do it"),
        N_("Try again in a moment. If it stays, tell whoever looks after the PACS."),
    ),
    503: (N_("Not available right now"), N_("Try again in a moment. If it stays, tell whoever looks after the PACS.")),
}
_OTHER = (
    N_("Something went wrong"),
    N_("Try again. If it stays, tell whoever looks after the PACS; the log has the details."),
)


def install(app: Flask) -> None:
    """Give every error an answer."""
    app.register_error_handler(PacsError, answer_pacs_error)
    app.register_error_handler(HTTPException, answer_http_error)
    app.register_error_handler(Exception, answer_unexpected)


def answer_pacs_error(error: PacsError) -> Response:
    """Answer a fault that this project names."""
    Services.current().metrics.count_error(error)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _logger.warning("%s %s: %s: %s", request.method, request.path, error.code, error)
    return _answer(Problem.of(error))


def answer_http_error(error: HTTPException) -> Response:
    """Answer what Flask found wrong: no such page, a method that it does not take."""
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return make_response(error.get_response())
    status = HTTPStatus(error.code)
    kind = status.phrase.lower().replace(" ", "-")
    return _answer(Problem(f"urn:pacs-cloud:problem:{kind}", status.phrase, int(status), error.description or ""))


def answer_unexpected(error: Exception) -> Response:
    """Answer a fault of the program itself: the log gets the traceback, the person a calm word."""
    Services.current().metrics.count_error(error)
    _logger.error("Unexpected fault at %s %s", request.method, request.path, exc_info=error)
    return _answer(Problem.of(error))


def _answer(problem: Problem) -> Response:
    return answer(problem, *_WORDS.get(problem.status, _OTHER))


def answer(problem: Problem, title: str, advice: str) -> Response:
    """Answer a program with the problem, a person with a page or a notice that says `title` and `advice`."""
    if _wants_json():
        response = jsonify(problem.as_dict())
        response.mimetype = "application/problem+json"
    else:
        template = "parts/notice.html" if "HX-Request" in request.headers else "problem.html"
        response = make_response(render_template(template, problem=problem, title=title, advice=advice))
        response.headers["HX-Retarget"] = "#notices"
        response.headers["HX-Reswap"] = "afterbegin"
    response.status_code = problem.status
    return response


def _wants_json() -> bool:
    """Tell whether a program asks: browsers name HTML among what they accept, programs don't."""
    return "HX-Request" not in request.headers and "text/html" not in request.headers.get("Accept", "")
