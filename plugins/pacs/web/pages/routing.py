"""Routing: what is on its way to whom, one delivery, one study's journey, and the outside readers."""

from __future__ import annotations

import logging
from http import HTTPStatus

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as WerkzeugResponse

from pacs.errors import NotFound
from pacs.routing.rules.triggers import Event
from pacs.studies import find_study
from pacs.web.language import N_
from pacs.web.navigation import NavigationEntry, PageModule
from pacs.web.person import current_actor
from pacs.web.routing_views import CHOICE_TITLES, STATE_TITLES, LedgerForm, lines
from pacs.web.search_page import render_search
from pacs.web.services import Services

_log = logging.getLogger(__name__)

EVENT_TITLES = {
    Event.INSTANCE: N_("an image came"),
    Event.SERIES_STABLE: N_("a series is stable"),
    Event.STUDY_STABLE: N_("the study is stable"),
    Event.STUDY_COMPLETE: N_("the order is complete"),
    Event.LABEL_SET: N_("a label was set"),
    Event.BY_HAND: N_("by hand"),
    Event.SCHEDULE: N_("by the clock"),
    Event.APPOINTMENT: N_("an appointment is near"),
}
_MOST_READ = 200

blueprint = Blueprint("routing", __name__)
PAGES = PageModule(
    blueprint,
    (NavigationEntry(N_("Routing"), "routing.index", 65, "routing", covers=("routing_rules", "routing_targets")),),
)


@blueprint.get("/routing")
def index() -> Response:
    """Show the queues by target and the ledger, newest first; only the list when htmx asks."""
    services = Services.current()
    targets = services.routing.targets
    form = LedgerForm.read(request.args)
    size, overview = services.web.page_size, services.routing.overview
    found = overview.listed(target=form.target or None, states=form.states, most=size + 1, before_id=form.before)
    return render_search(
        "routing.html",
        "parts/routing_ledger.html",
        _address(form),
        form=form,
        lines=lines(services.database, found[:size]),
        older=found[size - 1].id if len(found) > size else None,
        targets=[one for one in overview.targets(targets.names()) if one.name not in targets.own],
        choices=CHOICE_TITLES,
        states=STATE_TITLES,
        link=_address,
    )


@blueprint.get("/routing/deliveries/<int:delivery_id>")
def delivery(delivery_id: int) -> str:
    """Show one delivery: how far it is, what went wrong, in the target's own words."""
    services = Services.current()
    row = services.routing.overview.get(delivery_id)
    return render_template(
        "routing_delivery.html",
        line=lines(services.database, [row])[0],
        refusals=services.routing.overview.refusals(delivery_id),
        events=EVENT_TITLES,
        states=STATE_TITLES,
    )


@blueprint.post("/routing/deliveries/<int:delivery_id>/<any(replay, skip, again, hurry):what>")
def decide(delivery_id: int, what: str) -> WerkzeugResponse:
    """Replay a dead letter, set it aside, send all of it once more, or put it before all others."""
    ledger = Services.current().routing.ledger
    decided = {"replay": ledger.replay, "skip": ledger.skip, "again": ledger.send_again, "hurry": ledger.hurry}
    decided[what](delivery_id)
    _log.info("delivery %d: %s by %s", delivery_id, what, current_actor())
    return redirect(url_for("routing.delivery", delivery_id=delivery_id, done=what), HTTPStatus.SEE_OTHER)


@blueprint.get("/routing/studies/<orthanc_study_id>")
def journey(orthanc_study_id: str) -> str:
    """Show what was decided for a study, and how its deliveries go."""
    services = Services.current()
    with services.database.session() as session:
        study = find_study(session, orthanc_study_id)
    decisions = services.rules.decisions.about(orthanc_study_id)
    deliveries = services.routing.overview.of_study(orthanc_study_id)
    copies = services.rules.copies.about(orthanc_study_id, study.study_instance_uid if study else "")
    if study is None and not decisions and not deliveries and not copies:
        raise NotFound("Nothing is known of such a study here.")
    return render_template(
        "routing_journey.html",
        orthanc_study_id=orthanc_study_id,
        study=study,
        decisions=decisions,
        lines=lines(services.database, deliveries, with_reports=True),
        copies=copies,
        events=EVENT_TITLES,
        states=STATE_TITLES,
    )


@blueprint.post("/routing/studies/<orthanc_study_id>")
def route(orthanc_study_id: str) -> WerkzeugResponse:
    """Have the rules asked about a study now, by hand or as if it had just become stable."""
    services = Services.current()
    with services.database.session() as session:
        if find_study(session, orthanc_study_id) is None:
            raise NotFound("This study is not in the archive any more.")
    event = Event.STUDY_STABLE if request.form.get("event") == Event.STUDY_STABLE else Event.BY_HAND
    again = request.form.get("again") == "yes"
    services.rules.route(orthanc_study_id, actor=current_actor(), event=event, again=again)
    return redirect(url_for("routing.journey", orthanc_study_id=orthanc_study_id, asked="1"), HTTPStatus.SEE_OTHER)


@blueprint.post("/routing/copies/<int:copy_id>/undo")
def undo(copy_id: int) -> WerkzeugResponse:
    """Remove a copy that a rule made; the study that it was made of stays as it came."""
    orthanc_study_id = Services.current().rules.copies.undo(copy_id, actor=current_actor()).orthanc_study_id
    return redirect(url_for("routing.journey", orthanc_study_id=orthanc_study_id, undone="1"), HTTPStatus.SEE_OTHER)


@blueprint.get("/routing/readers")
def readers() -> str:
    """Show what an outside reader was sent, what is confirmed there, and what was reported back."""
    services = Services.current()
    targets = services.routing.targets
    names = targets.readers()
    chosen = request.args.get("target", "")
    chosen = chosen if chosen in names else next(iter(names), "")
    found = services.routing.overview.listed(target=chosen, most=_MOST_READ) if chosen else []
    return render_template(
        "routing_readers.html",
        names=names,
        file=targets.file,
        chosen=chosen,
        lines=lines(services.database, found, with_reports=True),
        states=STATE_TITLES,
    )


def _address(form: LedgerForm, **others: str | int | None) -> str:
    """Return the address that repeats a search, with other values where they are given."""
    values = {"state": form.state, "target": form.target, "before": form.before} | others
    return url_for("routing.index", **{name: value for name, value in values.items() if value})  # type: ignore[arg-type]
