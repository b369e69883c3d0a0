"""Backups: what is where, since when, how long it will fit, and whether it was ever restored."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as WerkzeugResponse

from pacs.backup.overview import FORECAST_YEARS
from pacs.web.language import N_, current_language
from pacs.web.navigation import NavigationEntry, PageModule
from pacs.web.person import current_actor
from pacs.web.services import Services

blueprint = Blueprint("backups", __name__)
PAGES = PageModule(blueprint, (NavigationEntry(N_("Backups"), "backups.index", 90, "backups"),))
_TYPES = {".json": "application/json", ".pub": "application/x-pem-file", ".sig": "application/octet-stream"}


@blueprint.get("/backups")
def index() -> str:
    """Show the state; only what changes when htmx asks."""
    services = Services.current()
    template = "parts/backups_state.html" if "HX-Request" in request.headers else "backups.html"
    return render_template(template, backups=services.backups.overview(), years=FORECAST_YEARS)


@blueprint.post("/backups/drill")
def drill() -> WerkzeugResponse:
    """Ask for a restore drill, with its report in the person's language."""
    Services.current().backups.request_drill(current_language().code, current_actor())
    return redirect(url_for("backups.index", asked="1"), HTTPStatus.SEE_OTHER)


@blueprint.get("/backups/reports/<name>")
def report(name: str) -> Response:
    """Give a report of a drill, its signature, or the key that verifies it."""
    content = Services.current().backups.report(name)
    kind = next((mime for ending, mime in _TYPES.items() if name.endswith(ending)), "text/plain; charset=utf-8")
    return Response(content, content_type=kind)
