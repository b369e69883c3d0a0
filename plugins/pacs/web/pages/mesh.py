"""3D: choose what of a series becomes a model, watch it being made, turn it, take it away. For programs: JSON."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, make_response, redirect, render_template, request, send_file, url_for
from flask.typing import ResponseReturnValue

from pacs.errors import InvalidInput, NotFound, PacsError, ProcessError
from pacs.mesh.errors import MeshError
from pacs.mesh.jobs.orders import JobState, ModelJob, OrderKind
from pacs.mesh.jobs.packing import downloads
from pacs.mesh.jobs.shelf import ShelvedModel
from pacs.mesh.recipe import Format, Preset
from pacs.studies import find_study
from pacs.web.language import N_, gettext
from pacs.web.model_openapi import description
from pacs.web.model_orders import read_formats, read_recipe, recipe_of_address
from pacs.web.model_views import (
    FORMAT_WORDS,
    OTHER_REASON,
    PART_COLORS,
    PART_WORDS,
    REASON_WORDS,
    REGION_COLORS,
    STAGE_WORDS,
    STATE_WORDS,
    answer_fault,
    file_name,
    job_as_json,
    notice_words,
    part_name,
    show_measure,
)
from pacs.web.navigation import NavigationEntry, PageModule
from pacs.web.person import current_actor
from pacs.web.services import Services
from pacs.web.study_details import SeriesDetails, load_study

_log = logging.getLogger(__name__)
# Series of these modalities are offered; others may hold volumes too, and are tried when asked for.
OFFERED_MODALITIES = frozenset({"CT", "MR", "PT", "NM", "SEG", "RTSTRUCT"})
_SAVED_FORMATS = frozenset({Format.STL, Format.OBJ})
# A simple request waits so long for its model, then is led to itself, which clients follow some twenty times.
_PATIENCE_SECONDS = 45.0
# Of the threads that answer requests, how many may wait for models.
_MOST_WAITING = 2
_waiting = threading.BoundedSemaphore(_MOST_WAITING)

blueprint = Blueprint("mesh", __name__)
blueprint.register_error_handler(MeshError, answer_fault)
blueprint.register_error_handler(ProcessError, answer_fault)
blueprint.app_template_filter("notice_words")(notice_words)
blueprint.app_template_filter("part_name")(part_name)
blueprint.app_template_filter("measure")(show_measure)


@blueprint.app_context_processor
def _words() -> dict[str, Any]:
    return {"part_words": PART_WORDS, "part_colors": PART_COLORS, "model_modalities": OFFERED_MODALITIES}


PAGES = PageModule(blueprint, (NavigationEntry(N_("3D"), "mesh.index", 30, "model"),))


class NoRoomToWait(PacsError):
    """As many requests wait for their models as may."""

    code = "mesh-busy"
    status = HTTPStatus.SERVICE_UNAVAILABLE


@dataclass(frozen=True)
class ListedModel:
    """A line of the list of models; `patient_name` as the index of studies has it, None where the study is gone."""

    job: ModelJob
    patient_name: str | None


@blueprint.get("/mesh")
def index() -> ResponseReturnValue:
    """List the newest models."""
    services = Services.current()
    jobs = services.models.latest()
    if _wants_json():
        return jsonify(jobs=[job_as_json(job, None) for job in jobs])
    with services.database.session() as session:
        ids = {job.order.series.orthanc_study_id for job in jobs}
        names = {one: study.patient_name if (study := find_study(session, one)) else None for one in ids}
    listed = [ListedModel(job, names[job.order.series.orthanc_study_id]) for job in jobs]
    return render_template("mesh.html", listed=listed, states=STATE_WORDS)


@blueprint.get("/mesh/<series>")
def workbench(series: str) -> ResponseReturnValue:
    """Show what can be chosen of a series; as JSON, what it holds."""
    services = Services.current()
    sub_volume = request.args.get("sub_volume") or None
    try:
        sources, look = services.models.lookout.look(series, sub_volume)
    except NotFound:
        raise
    except PacsError as error:
        if _wants_json():
            raise
        reason = REASON_WORDS.get(error.code, OTHER_REASON)
        return render_template("mesh_refused.html", error=error, reason=reason), error.status
    if _wants_json():
        return jsonify(orthanc_series_id=sources.named.orthanc_series_id, **look.model_dump(mode="json"))
    study = load_study(services.archive, sources.named.study_instance_uid, sources.named.orthanc_study_id)
    return render_template(
        "mesh_workbench.html",
        series=sources.named,
        look=look,
        study=study,
        siblings=[one for one in study.series if may_have_volume(one)],
        sub_volume=sub_volume,
        presets=list(Preset),
        region_colors=REGION_COLORS,
    )


@blueprint.post("/mesh/<series>")
def order(series: str) -> ResponseReturnValue:
    """Order a model of a series by a recipe in JSON."""
    recipe = read_recipe(_posted())
    job = Services.current().models.order(series, recipe, current_actor())
    return _accepted(job)


@blueprint.get("/mesh/<series>/histogram")
def histogram(series: str) -> Response:
    """Answer how often each value is in a series, and the presets that fit it."""
    return jsonify(Services.current().models.lookout.histogram(series, request.args.get("sub_volume") or None))


@blueprint.post("/mesh/<series>/preview")
def preview(series: str) -> Response:
    """Answer a coarse model of a recipe at once."""
    response = make_response(Services.current().models.lookout.preview(series, read_recipe(_posted())))
    response.mimetype = "model/gltf-binary"
    return response


@blueprint.get("/mesh/<series>/model.<any(stl, ply, obj, glb, '3mf'):form>")
def simple(series: str, form: str) -> ResponseReturnValue:
    """Answer a model as a file, for scripts: ordered, waited for, and led to itself while it is not done."""
    models = Services.current().models
    words = request.args.to_dict()
    number = words.pop("job", "")
    with _place_to_wait():
        if number.isdecimal():
            job = _of_series(models.get(int(number)), series)
        else:
            job = models.order(series, recipe_of_address(words, form), current_actor())
        job = models.wait(job.job_id, _PATIENCE_SECONDS)
    if job.state in {JobState.FAILED, JobState.CANCELLED}:
        raise InvalidInput(job.error or "The model was cancelled.")
    if job.state is not JobState.DONE:
        # By the path that was asked for, which NGINX knows by another name.
        return redirect(f"?{request.query_string.decode()}{'' if number else f'&job={job.job_id}'}", 307)
    shelved = models.shelved(job)
    wanted = next((one.name for one in shelved.report.files if one.format == form), f"model.{form}")
    return _file_answer(job, shelved, wanted)


@blueprint.get("/mesh/jobs/<int:job_id>")
def job(job_id: int) -> ResponseReturnValue:
    """Show how a job is doing, then its model; JSON for programs, a part of the page for htmx."""
    models = Services.current().models
    found = models.get(job_id)
    shelved = _shelved_or_none(found)
    if _wants_json():
        return jsonify(job_as_json(found, shelved.report if shelved else None))
    template = "parts/mesh_job.html" if "HX-Request" in request.headers else "mesh_job.html"
    is_waiting = found.state is JobState.WAITING
    return render_template(
        template,
        job=found,
        report=shelved.report if shelved else None,
        ahead=models.ahead_of(found) if is_waiting else 0,
        format_words={one: gettext(words) for one, words in FORMAT_WORDS.items()},
        downloads=downloads(shelved.report) if shelved else [],
        saved_formats=_SAVED_FORMATS,
        states=STATE_WORDS,
        stages=STAGE_WORDS,
        reason=REASON_WORDS.get(found.error_code, OTHER_REASON),
    )


@blueprint.delete("/mesh/jobs/<int:job_id>")
def cancel(job_id: int) -> ResponseReturnValue:
    """Withdraw a job."""
    Services.current().models.cancel(job_id, current_actor())
    return job(job_id)


@blueprint.get("/mesh/jobs/<int:job_id>/saving")
def saving(job_id: int) -> str:
    """Show how far the saving in the study is, as a part of the model's page."""
    return render_template("parts/mesh_saving.html", job=Services.current().models.get(job_id))


@blueprint.get("/mesh/jobs/<int:job_id>/files/<name>")
def file(job_id: int, name: str) -> ResponseReturnValue:
    """Answer a file of a finished model."""
    models = Services.current().models
    found = models.get(job_id)
    return _file_answer(found, models.shelved(found), name)


@blueprint.get("/mesh/jobs/<int:job_id>/report.json")
def report(job_id: int) -> Response:
    """Answer what was made, of what, and how good it is."""
    models = Services.current().models
    return jsonify(models.shelved(models.get(job_id)).report.model_dump(mode="json"))


@blueprint.post("/mesh/jobs/<int:job_id>/study")
def save(job_id: int) -> ResponseReturnValue:
    """Order that a finished model be saved in its study as DICOM."""
    content = request.form.getlist("format") or (_posted() or {}).get("formats", [Format.STL])
    formats = read_formats(content, _SAVED_FORMATS)
    return _accepted(Services.current().models.save(job_id, formats, current_actor()))


@blueprint.get("/mesh/openapi.json")
def openapi() -> Response:
    """Answer the description of this API."""
    return jsonify(description(Services.current().version))


def may_have_volume(series: SeriesDetails) -> bool:
    """Tell whether a 3D model of a series is offered."""
    return series.modality in OFFERED_MODALITIES


def _of_series(job: ModelJob, series: str) -> ModelJob:
    """Return a job if it is of the series that an address names."""
    if series not in (job.order.series.orthanc_series_id, job.order.series.series_instance_uid):
        raise NotFound(f"Job {job.job_id} is of another series.")
    return job


def _accepted(job: ModelJob) -> ResponseReturnValue:
    address = url_for("mesh.job", job_id=job.job_id)
    if "HX-Request" in request.headers:
        return render_template("parts/mesh_saving.html", job=job)
    return jsonify(job_as_json(job, None)), HTTPStatus.ACCEPTED, {"Location": address}


def _file_answer(job: ModelJob, shelved: ShelvedModel, name: str) -> Response:
    found = next((one for one in shelved.report.files if one.name == name), None)
    if found is None:
        raise NotFound(f"Expected a file of job {job.job_id}, found {name[:80]!r}.")
    if request.method == "GET" and "download" in request.args:
        _log.info("3D job %d: %s downloaded by %s", job.job_id, found.name, current_actor())
    response = send_file(
        shelved.folder / found.name,
        mimetype=found.media_type,
        as_attachment="show" not in request.args,
        download_name=file_name(job, found),
        etag=found.sha256,
    )
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _shelved_or_none(job: ModelJob) -> ShelvedModel | None:
    if job.order.kind is OrderKind.SAVE:
        return None
    try:
        return Services.current().models.shelved(job)
    except NotFound:
        return None


@contextmanager
def _place_to_wait() -> Iterator[None]:
    if not _waiting.acquire(blocking=False):
        raise NoRoomToWait(
            f"{_MOST_WAITING} requests wait for models already.", remedy="Try again soon, or order it by POST."
        )
    try:
        yield
    finally:
        _waiting.release()


def _posted() -> Mapping[str, Any]:
    content = request.get_json(silent=True)
    if not isinstance(content, dict):
        raise InvalidInput("Expected a JSON object as application/json.")
    return content


def _wants_json() -> bool:
    return "HX-Request" not in request.headers and "text/html" not in request.headers.get("Accept", "")
