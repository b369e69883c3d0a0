"""System: what runs, how full it is, what it is doing."""

from __future__ import annotations

import re
from http import HTTPStatus

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from pacs.errors import NotFound
from pacs.web.language import N_
from pacs.web.navigation import NavigationEntry, PageModule
from pacs.web.services import Services
from pacs.web.system_state import read_state

_JOB_ID = re.compile(r"[0-9a-f-]{36}")

blueprint = Blueprint("system", __name__)
PAGES = PageModule(blueprint, (NavigationEntry(N_("System"), "system.index", 100, "system"),))


@blueprint.get("/system")
def index() -> str:
    """Show the state; only what changes when htmx asks."""
    template = "parts/system_state.html" if "HX-Request" in request.headers else "system.html"
    return render_template(template, state=read_state(Services.current()))


@blueprint.post("/system/jobs/<job_id>/<any(cancel, resubmit, pause, resume):action>")
def act_on_job(job_id: str, action: str) -> Response | str:
    """Cancel, repeat, pause or go on with a job of Orthanc."""
    if not _JOB_ID.fullmatch(job_id):
        raise NotFound(f"Expected the identifier of a job, found {job_id[:80]!r}.")
    Services.current().archive.post_json(f"/jobs/{job_id}/{action}", {})
    if "HX-Request" in request.headers:
        return index()
    return redirect(url_for("system.index"), HTTPStatus.SEE_OTHER)
