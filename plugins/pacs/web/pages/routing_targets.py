"""Targets: where studies can be sent, how it stands with each, and a try whether it is there."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, render_template, request

from pacs.errors import NotFound, PacsError
from pacs.web.navigation import PageModule
from pacs.web.services import Services

blueprint = Blueprint("routing_targets", __name__)
PAGES = PageModule(blueprint)


@dataclass(frozen=True)
class Outcome:
    """How a try went. `words` and `remedy`: why not, "" when it went well."""

    name: str
    words: str = ""
    remedy: str = ""


@blueprint.get("/routing/targets")
def index() -> str:
    """List the targets."""
    return _list(None)


@blueprint.post("/routing/targets/<name>/test")
def test(name: str) -> str:
    """Try a target: C-ECHO, a query, a sign-in, whatever it knows; tell the outcome, in its row when htmx asks."""
    routing = Services.current().routing
    if name not in routing.targets.names():
        raise NotFound("Expected the name of a target, found another.")
    try:
        routing.test(name)
        outcome = Outcome(name)
    except PacsError as error:
        outcome = Outcome(name, error.message, error.remedy)
    if "HX-Request" in request.headers:
        return render_template("parts/routing_outcome.html", outcome=outcome)
    return _list(outcome)


def _list(outcome: Outcome | None) -> str:
    routing = Services.current().routing
    names = routing.targets.names()
    overview = {one.name: one for one in routing.overview.targets(names)}
    return render_template(
        "routing_targets.html",
        targets=[(name, routing.targets.get(name), overview[name]) for name in names],
        mistakes=routing.targets.faults,
        file=routing.targets.file,
        outcome=outcome,
    )
