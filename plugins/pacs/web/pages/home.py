"""The way in, a person's preferences, and the answers for machines that watch the server."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus

from flask import Blueprint, Response, jsonify, redirect, request, url_for
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response as WerkzeugResponse

from pacs.errors import PacsError
from pacs.web.language import COOKIE as LANGUAGE_COOKIE
from pacs.web.language import LOCALES
from pacs.web.navigation import PageModule
from pacs.web.services import Services

_logger = logging.getLogger(__name__)
_YEAR_SECONDS = 365 * 86_400
THEME_COOKIE = "pacs_theme"
THEMES = ("auto", "light", "dark")

blueprint = Blueprint("home", __name__)
PAGES = PageModule(blueprint)


@blueprint.app_context_processor
def _theme() -> dict[str, str]:
    theme = request.cookies.get(THEME_COOKIE, "auto")
    return {"theme": theme if theme in THEMES else "auto"}


@blueprint.get("/")
def index() -> WerkzeugResponse:
    """Lead to the studies."""
    return redirect(url_for("studies.index"))


@blueprint.post("/preferences")
def preferences() -> WerkzeugResponse:
    """Keep the language or the theme that a person chose, and lead back."""
    response = redirect(_way_back(request.form.get("next", "")), HTTPStatus.SEE_OTHER)
    choices = ((LANGUAGE_COOKIE, "language", tuple(LOCALES)), (THEME_COOKIE, "theme", THEMES))
    for cookie, field, allowed in choices:
        value = request.form.get(field, "")
        if value in allowed:
            response.set_cookie(
                cookie, value, max_age=_YEAR_SECONDS, path=request.script_root or "/", samesite="Lax", httponly=True
            )
    return response


@blueprint.get("/health")
def health() -> tuple[Response, int]:
    """Answer 200 when the database and the archive answer, else 503."""
    services = Services.current()
    checks = {"database": _answers(_ask_database), "archive": _answers(lambda: services.archive.get_json("/system"))}
    healthy = all(checks.values())
    words = {name: "ok" if fine else "failed" for name, fine in checks.items()}
    status = HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE
    return jsonify(status="ok" if healthy else "failed", **words), status


@blueprint.get("/metrics")
def metrics() -> Response:
    """Answer Prometheus."""
    registry = Services.current().metrics
    return Response(registry.render(), content_type=registry.content_type)


def _ask_database() -> None:
    with Services.current().database.session() as session:
        session.execute(text("SELECT 1"))


def _answers(question: Callable[[], object]) -> bool:
    try:
        question()
    except (PacsError, SQLAlchemyError):
        _logger.warning("Health check failed", exc_info=True)
        return False
    return True


def _way_back(path: str) -> str:
    """Return a path of these pages: never another site, whatever the form says."""
    root = request.script_root
    inside = path.startswith(f"{root}/") and not path.startswith("//") and "\\" not in path
    return path if inside else url_for("studies.index")
