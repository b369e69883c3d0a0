"""Status: green, or what is wrong, for everybody; past monthly reports for administrators."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, jsonify, redirect, render_template, request, send_file, url_for
from werkzeug.wrappers import Response as WerkzeugResponse

from pacs.web.language import N_, current_language
from pacs.web.navigation import NavigationEntry, PageModule
from pacs.web.services import Services
from pacs.web.status_view import read_status

blueprint = Blueprint("status", __name__)
PAGES = PageModule(blueprint, (NavigationEntry(N_("Status"), "status.index", 50, "status"),))
_TYPES = {".html": "text/html; charset=utf-8", ".pdf": "application/pdf"}


@blueprint.get("/status")
def index() -> str:
    """Show the state; only what changes when htmx asks."""
    services = Services.current()
    template = "parts/status_state.html" if "HX-Request" in request.headers else "status.html"
    return render_template(template, state=read_status(services), runbooks=services.monitoring.runbooks)


@blueprint.get("/status/runbooks/<name>")
def runbook(name: str) -> str:
    """Show what to do about an alert, in the reader's language; where it holds now, in its own words."""
    monitoring = Services.current().monitoring
    page, snapshot = monitoring.runbooks.read(name, current_language().code), monitoring.figures.latest()
    holding = [alert for alert in snapshot.alerts if alert.runbook == name] if snapshot else []
    return render_template("status_runbook.html", runbook=page, holding=holding)


@blueprint.post("/status/reports")
def order_report() -> WerkzeugResponse:
    """Have the report of a month made, in the language asked for or the person's."""
    reports = Services.current().monitoring.reports
    month, language = request.form.get("month", ""), request.form.get("language") or current_language().code
    reports.order(month, language)
    if request.accept_mimetypes.best == "application/json":
        answer = jsonify(month=month, language=language)
        answer.status_code = HTTPStatus.ACCEPTED
        return answer
    return redirect(url_for("status.index", asked="1"), HTTPStatus.SEE_OTHER)


@blueprint.get("/status/reports/<name>")
def report(name: str) -> Response:
    """Give a file of a report, to be kept: its page has a style of its own, which these pages don't allow."""
    path = Services.current().monitoring.reports.path(name)
    return send_file(path, _TYPES[path.suffix], as_attachment=True, download_name=name)
