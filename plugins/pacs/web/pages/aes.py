"""AEs: the DICOM nodes that this archive talks with."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from pacs.errors import NotFound
from pacs.web.association import EchoOutcome, echo
from pacs.web.language import N_
from pacs.web.modalities import MANUFACTURERS, RETRIEVE_METHODS, Permission, RemoteModality, list_modalities, read_form
from pacs.web.navigation import NavigationEntry, PageModule
from pacs.web.services import Services

ECHO_TIMEOUT_SECONDS = 10
_USUAL_PORT = 104

blueprint = Blueprint("aes", __name__)
PAGES = PageModule(blueprint, (NavigationEntry(N_("AEs"), "aes.index", 80, "aes"),))


@blueprint.get("/aes")
def index() -> str:
    """List the nodes."""
    return _list(None)


@blueprint.get("/aes/new")
def new() -> str:
    """Show an empty form."""
    return _form(RemoteModality("", "", "", _USUAL_PORT), {}, is_new=True)


@blueprint.post("/aes/new")
def add() -> ResponseReturnValue:
    """Add a node."""
    modality, faults = read_form(request.form, request.form.getlist("permissions"))
    names = {one.name.casefold() for one in list_modalities(Services.current().archive)}
    if modality.name.casefold() in names:
        faults["name"] = N_("There is one of this name already.")
    if faults:
        return _form(modality, faults, is_new=True), HTTPStatus.UNPROCESSABLE_ENTITY
    return _save(modality)


@blueprint.get("/aes/<name>/edit")
def edit(name: str) -> str:
    """Show the form of a node."""
    return _form(_find(name), {}, is_new=False)


@blueprint.post("/aes/<name>/edit")
def change(name: str) -> ResponseReturnValue:
    """Change a node. Its name stays: other things refer to it."""
    _find(name)
    modality, faults = read_form({**request.form.to_dict(), "name": name}, request.form.getlist("permissions"))
    if faults:
        return _form(modality, faults, is_new=False), HTTPStatus.UNPROCESSABLE_ENTITY
    return _save(modality)


@blueprint.get("/aes/<name>/remove")
def ask_removal(name: str) -> str:
    """Ask before a node is removed."""
    return render_template("ae_remove.html", modality=_find(name))


@blueprint.post("/aes/<name>/remove")
def remove(name: str) -> Response:
    """Remove a node."""
    Services.current().archive.delete(f"/modalities/{_find(name).name}")
    return redirect(url_for("aes.index", removed=name), HTTPStatus.SEE_OTHER)


@blueprint.post("/aes/<name>/echo")
def verify(name: str) -> str:
    """Send a C-ECHO and tell the outcome, in its row when htmx asks."""
    outcome = echo(Services.current().archive, _find(name), ECHO_TIMEOUT_SECONDS)
    if "HX-Request" in request.headers:
        return render_template("parts/echo_outcome.html", outcome=outcome)
    return _list(outcome)


def _list(outcome: EchoOutcome | None) -> str:
    archive = Services.current().archive
    return render_template(
        "aes.html",
        modalities=list_modalities(archive),
        permissions=list(Permission),
        outcome=outcome,
        system=archive.get_json("/system"),
    )


def _form(modality: RemoteModality, faults: dict[str, str], *, is_new: bool) -> str:
    return render_template(
        "ae_form.html",
        modality=modality,
        faults=faults,
        is_new=is_new,
        permissions=list(Permission),
        manufacturers=MANUFACTURERS,
        retrieve_methods=RETRIEVE_METHODS,
    )


def _save(modality: RemoteModality) -> Response:
    Services.current().archive.put_json(f"/modalities/{modality.name}", modality.as_orthanc())
    return redirect(url_for("aes.index", saved=modality.name), HTTPStatus.SEE_OTHER)


def _find(name: str) -> RemoteModality:
    """Return a node by its name, as Orthanc has it."""
    for modality in list_modalities(Services.current().archive):
        if modality.name == name:
            return modality
    message = "Expected the name of a DICOM node of this archive, found none like it."
    raise NotFound(message, remedy="Look at the list: it may have been removed.")
