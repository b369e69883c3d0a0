"""Worklist: what is to be done today, by modality and room; entries added and changed by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from itertools import groupby

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydicom.datadict import dictionary_description, tag_for_keyword
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as WerkzeugResponse

from pacs.errors import ArchiveError, InvalidInput
from pacs.studies.models import StudyRecord
from pacs.web.language import N_, hospital_now
from pacs.web.modalities import list_modalities
from pacs.web.navigation import NavigationEntry, PageModule
from pacs.web.pages.studies import USUAL_MODALITIES
from pacs.web.person import current_actor
from pacs.web.search_page import render_search
from pacs.web.services import Services
from pacs.web.step_form import PRIORITIES, SEXES, StepForm
from pacs.web.worklist_form import WorklistForm
from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import StepDetails, StepRow, StepSelector

MOST_STEPS = 500
_LONGEST_REASON = 500
# What a person may say of a step; canceling asks first.
BY_HAND = tuple(status for status in StepStatus if status is not StepStatus.CANCELED)

blueprint = Blueprint("worklist", __name__)
PAGES = PageModule(blueprint, (NavigationEntry(N_("Worklist"), "worklist.index", 15, "worklist"),))


@dataclass(frozen=True)
class Room:
    """The steps of one modality in one room, first start first."""

    modality: str
    location: str
    steps: tuple[StepRow, ...]


@blueprint.app_template_filter("attribute_name")
def attribute_name(keyword: str) -> str:
    """Return DICOM's name of an attribute."""
    tag = tag_for_keyword(keyword)
    return dictionary_description(tag) if tag is not None else keyword


@blueprint.get("/worklist")
def index() -> Response:
    """Show a day; only the list when htmx asks."""
    worklist = Services.current().worklist
    form = WorklistForm.read(request.args, hospital_now().date())
    with Services.current().database.session() as session:
        steps = worklist.page(
            session,
            day=form.day,
            modality=form.modality,
            location=form.room,
            text=form.q,
            status=form.status,
            limit=MOST_STEPS + 1,
        )
        places = worklist.locations(session, form.day)
    return render_search(
        "worklist.html",
        "parts/worklist_results.html",
        form.address(),
        form=form,
        rooms=_by_room(steps[:MOST_STEPS]),
        counts=_counts(steps),
        most_steps=MOST_STEPS,
        is_cut=len(steps) > MOST_STEPS,
        modalities=_offered([modality for modality, _ in places], form.modality),
        locations=_offered([room for _, room in places], form.room),
        statuses=list(StepStatus),
    )


@blueprint.get("/worklist/steps/<int:row_id>")
def show(row_id: int) -> str:
    """Show an entry with its history."""
    services = Services.current()
    with services.database.session() as session:
        details = services.worklist.get(session, row_id)
        study = _stored_study(session, details.step)
    return render_template(
        "worklist_step.html", step=details.step, history=details.history[::-1], statuses=BY_HAND, study=study
    )


@blueprint.get("/worklist/new")
def new() -> str:
    """Show an empty form, for the place on the list that one came from."""
    form = WorklistForm.read(request.args, hospital_now().date())
    return _form(StepForm.empty(form.day, form.modality, form.room), {}, None)


@blueprint.post("/worklist/new")
def add() -> ResponseReturnValue:
    """Add an entry by hand."""
    form = StepForm.read(request.form)
    faults = form.faults(hospital_now().date(), is_new=True)
    row_id = 0
    if not faults:
        row_id, faults = _add(form)
    if faults:
        return _form(form, faults, None), HTTPStatus.UNPROCESSABLE_ENTITY
    return redirect(url_for("worklist.show", row_id=row_id, done="added"), HTTPStatus.SEE_OTHER)


@blueprint.get("/worklist/steps/<int:row_id>/edit")
def edit(row_id: int) -> str:
    """Show the form of an entry."""
    step = _get(row_id).step
    return _form(StepForm.of(step), {}, step)


@blueprint.post("/worklist/steps/<int:row_id>/edit")
def change(row_id: int) -> ResponseReturnValue:
    """Change an entry by hand, unless it was changed since the form was shown."""
    step, form = _get(row_id).step, StepForm.read(request.form)
    if request.form.get("seen") != step.changed_at.isoformat():
        return _form(StepForm.of(step), {}, step, is_outdated=True), HTTPStatus.CONFLICT
    if faults := form.faults(hospital_now().date(), is_new=False):
        return _form(form, faults, step), HTTPStatus.UNPROCESSABLE_ENTITY
    services = Services.current()
    if changed := form.changed_step(step):
        with services.database.session(write=True) as session:
            services.worklist.upsert(session, [changed], version=None, actor=current_actor())
    return redirect(url_for("worklist.show", row_id=row_id, done="changed"), HTTPStatus.SEE_OTHER)


@blueprint.post("/worklist/steps/<int:row_id>/status")
def set_status(row_id: int) -> WerkzeugResponse:
    """Say how far a step is."""
    wanted = request.form.get("status", "")
    if wanted not in BY_HAND:
        raise InvalidInput("Expected a status of a step that a person may give, found another.")
    _set_status(row_id, StepStatus(wanted))
    return redirect(url_for("worklist.show", row_id=row_id), HTTPStatus.SEE_OTHER)


@blueprint.get("/worklist/steps/<int:row_id>/cancel")
def ask_cancel(row_id: int) -> str:
    """Ask before an entry is canceled."""
    return render_template("worklist_cancel.html", step=_get(row_id).step)


@blueprint.post("/worklist/steps/<int:row_id>/cancel")
def cancel(row_id: int) -> WerkzeugResponse:
    """Cancel an entry: modalities no longer get it."""
    _set_status(row_id, StepStatus.CANCELED, request.form.get("reason", "").strip()[:_LONGEST_REASON])
    return redirect(url_for("worklist.show", row_id=row_id, done="canceled"), HTTPStatus.SEE_OTHER)


def _by_room(steps: Iterable[StepRow]) -> list[Room]:
    def place(step: StepRow) -> tuple[str, str]:
        return step.modality, step.location

    return [Room(*key, tuple(group)) for key, group in groupby(sorted(steps, key=place), key=place)]


def _counts(steps: Iterable[StepRow]) -> list[tuple[StepStatus, int]]:
    found = [step.status for step in steps]
    return [(status, found.count(status)) for status in StepStatus if status in found]


def _offered(found: Iterable[str], chosen: str) -> list[str]:
    return sorted({name for name in (*found, chosen) if name})


def _get(row_id: int) -> StepDetails:
    services = Services.current()
    with services.database.session() as session:
        return services.worklist.get(session, row_id)


def _stored_study(session: Session, step: StepRow) -> StudyRecord | None:
    """Return the study of a step where images of the same patient are there already."""
    named = StudyRecord.study_instance_uid == step.study_instance_uid
    statement = select(StudyRecord).where(named, StudyRecord.patient_id == step.patient_id)
    return session.scalars(statement).first() if step.study_instance_uid else None


def _add(form: StepForm) -> tuple[int, dict[str, str]]:
    """Insert an entry and return its row; a number that is there already belongs to an order, maybe of another."""
    services = Services.current()
    with services.database.session(write=True) as session:
        number = form["accession"]
        if number and services.worklist.select(session, StepSelector(accession_number=number)):
            return 0, {"accession": N_("An entry has this number already. Change that one, or cancel it.")}
        changes = services.worklist.upsert(session, [form.new_step()], version=None, actor=current_actor())
    return changes[0].step.id, {}


def _set_status(row_id: int, status: StepStatus, reason: str = "") -> None:
    services = Services.current()
    _get(row_id)
    with services.database.session(write=True) as session:
        services.worklist.set_status(
            session,
            StepSelector(row_id=row_id),
            status,
            actor=current_actor(),
            detail={"reason": reason} if reason else {},
        )


def _form(form: StepForm, faults: dict[str, str], step: StepRow | None, *, is_outdated: bool = False) -> str:
    return render_template(
        "worklist_form.html",
        form=form,
        faults=faults,
        step=step,
        is_new=step is None,
        is_outdated=is_outdated,
        modalities=USUAL_MODALITIES,
        priorities=PRIORITIES,
        sexes=SEXES,
        stations=_stations(),
        locations=_locations(form),
    )


def _stations() -> list[str]:
    try:
        return sorted({one.ae_title for one in list_modalities(Services.current().archive)})
    except ArchiveError:
        # Only a help for typing.
        return []


def _locations(form: StepForm) -> list[str]:
    services = Services.current()
    try:
        day = date.fromisoformat(form["date"])
    except ValueError:
        return []
    with services.database.session() as session:
        return _offered([room for _, room in services.worklist.locations(session, day)], "")
