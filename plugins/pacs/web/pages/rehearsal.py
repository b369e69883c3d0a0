"""Go-live rehearsal: every modality tried with an order of fiction, and a sheet to sign."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from pacs.hl7.rehearse.fiction import ORDER_TYPES
from pacs.hl7.rehearse.sheet import Check
from pacs.web.navigation import PageModule
from pacs.web.pages.studies import USUAL_MODALITIES
from pacs.web.person import current_actor
from pacs.web.services import Services

blueprint = Blueprint("rehearsal", __name__)
PAGES = PageModule(blueprint)


@blueprint.get("/hl7/rehearsal")
def index() -> str:
    """Show the modalities to choose from, and earlier sheets."""
    rehearsals = Services.current().rehearsals
    return render_template(
        "rehearsal.html",
        stations=rehearsals.site.stations(),
        message_types=ORDER_TYPES,
        peers=[peer.name for peer in rehearsals.site.peers],
        told=rehearsals.site.told(),
        forwarded_to=rehearsals.site.forwarded_to,
        reports=rehearsals.site.mpps_address is not None,
        modalities=(*USUAL_MODALITIES, "RF", "BMD", "OT"),
        records=rehearsals.latest(),
    )


@blueprint.post("/hl7/rehearsal")
def start() -> ResponseReturnValue:
    """Have modalities rehearsed; done by a thread of its own. Programs are answered in JSON."""
    prefix = "modality."
    chosen = {name.removeprefix(prefix): value for name, value in request.form.items() if name.startswith(prefix)}
    rehearsal_id = Services.current().rehearsals.start(
        request.form.getlist("station"),
        actor=current_actor(),
        message_type=request.form.get("message_type", ORDER_TYPES[0]),
        sender=request.form.get("sender", ""),
        modalities=chosen,
    )
    if _wants_json():
        return jsonify(id=rehearsal_id), HTTPStatus.ACCEPTED
    return redirect(url_for("rehearsal.show", rehearsal_id=rehearsal_id), HTTPStatus.SEE_OTHER)


@blueprint.get("/hl7/rehearsal/<int:rehearsal_id>")
def show(rehearsal_id: int) -> ResponseReturnValue:
    """Show a sheet, which renews itself while it goes on; JSON for programs."""
    record = Services.current().rehearsals.get(rehearsal_id)
    if _wants_json():
        return jsonify(record.as_json())
    template = "parts/rehearsal_sheet.html" if "HX-Request" in request.headers else "rehearsal_sheet.html"
    return render_template(template, record=record, sheet=record.sheet, checks=list(Check))


def _wants_json() -> bool:
    return "HX-Request" not in request.headers and "text/html" not in request.headers.get("Accept", "")
