"""One study: its series, its viewers, its ways out."""

from __future__ import annotations

import re
from functools import partial
from http import HTTPStatus
from urllib.parse import urlencode

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as WerkzeugResponse

from pacs.errors import InvalidInput, NotFound
from pacs.ports import Archive
from pacs.web.access import allowed
from pacs.web.jobs import Job, get_job
from pacs.web.modalities import list_modalities
from pacs.web.navigation import PageModule
from pacs.web.services import Services
from pacs.web.study_details import StudyDetails, load_study, weasis_link
from pacs.web.thumbnails import SeriesKind, draw, picture_source

_ORTHANC_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")
_UID = re.compile(r"[0-9.]{1,64}")
_JOB_ID = re.compile(r"[0-9a-f-]{36}")
_HOUR_SECONDS, _DAY_SECONDS = 3600, 86_400

blueprint = Blueprint("study", __name__)
PAGES = PageModule(blueprint)


@blueprint.get("/studies/<study_instance_uid>")
def show(study_instance_uid: str) -> str:
    """Show a study."""
    services = Services.current()
    study = _load(services.archive, study_instance_uid)
    may_send = allowed("study.send")
    job_id = request.args.get("job", "") if may_send else ""
    return render_template(
        "study.html",
        study=study,
        modalities=list_modalities(services.archive) if may_send else [],
        job=_known_job(services.archive, job_id) if job_id else None,
        ohif=_ohif_link(study.study_instance_uid),
        ohif_of_series=partial(_ohif_link, study.study_instance_uid),
        weasis=weasis_link(f"{request.host_url.rstrip('/')}{services.web.dicom_web_path}", study.study_instance_uid),
    )


@blueprint.get("/studies/by-orthanc-id/<orthanc_study_id>")
def by_orthanc_id(orthanc_study_id: str) -> WerkzeugResponse:
    """Lead from Orthanc's identifier to the study's page."""
    entry = Services.current().archive.get_json(f"/studies/{_checked(_ORTHANC_ID, orthanc_study_id)}")
    uid = entry["MainDicomTags"].get("StudyInstanceUID", "")
    return redirect(url_for("study.show", study_instance_uid=uid, id=orthanc_study_id))


@blueprint.get("/studies/<study_instance_uid>/<any(archive, media):form>")
def download(study_instance_uid: str, form: str) -> WerkzeugResponse:
    """Lead to Orthanc's ZIP under a file name that does not tell the patient. Orthanc streams it itself."""
    study = _load(Services.current().archive, study_instance_uid)
    suffix = "_media" if form == "media" else ""
    name = urlencode({"filename": f"{study.file_stem}{suffix}.zip"})
    return redirect(f"/studies/{study.orthanc_study_id}/{form}?{name}")


@blueprint.post("/studies/<study_instance_uid>/send")
def send(study_instance_uid: str) -> WerkzeugResponse:
    """Start sending a study to a DICOM node (C-STORE); Orthanc does it in a job."""
    archive = Services.current().archive
    study = _load(archive, study_instance_uid)
    target = request.form.get("modality", "")
    if target not in {one.name for one in list_modalities(archive)}:
        message = "Expected the name of a DICOM node of this archive, found another."
        raise InvalidInput(message, remedy="Choose one of the list.")
    # Not "Permissive": Orthanc 1.12.7 would call the job a success when nothing arrived at all.
    order = {"Resources": [study.orthanc_study_id], "Synchronous": False, "Permissive": False}
    job_id = archive.post_json(f"/modalities/{target}/store", order)["ID"]
    if "HX-Request" in request.headers:
        return make_response(render_template("parts/send_progress.html", job=get_job(archive, job_id), target=target))
    address = url_for("study.show", study_instance_uid=study_instance_uid, id=request.args.get("id"), job=job_id)
    return redirect(address, HTTPStatus.SEE_OTHER)


@blueprint.get("/sending/<job_id>")
def sending(job_id: str) -> Response:
    """Show how far the sending is."""
    job = _known_job(Services.current().archive, job_id)
    return make_response(render_template("parts/send_progress.html", job=job, target=request.args.get("target", "")))


@blueprint.get("/series/<orthanc_series_id>/thumbnail")
def thumbnail(orthanc_series_id: str) -> WerkzeugResponse:
    """Answer a small picture of a series, or lead to the symbol of what it is."""
    services = Services.current()
    source = picture_source(services.archive, _checked(_ORTHANC_ID, orthanc_series_id))
    if isinstance(source, SeriesKind):
        return _symbol_answer(source)
    # An instance never changes: whoever has its picture has the right one, and it is not drawn again.
    if source in request.if_none_match:
        return _picture_answer(source, b"")
    png = draw(services.archive, services.decoder, source)
    return _symbol_answer(SeriesKind.OTHER) if png is None else _picture_answer(source, png)


@blueprint.get("/kinds/<kind>.svg")
def kind_picture(kind: str) -> Response:
    """Answer the symbol that stands for series without a picture."""
    if kind not in list(SeriesKind):
        raise NotFound(f"Expected a kind of series, found {kind!r}.")
    response = make_response(render_template("parts/kind.svg", kind=SeriesKind(kind)))
    response.mimetype = "image/svg+xml"
    response.headers["Cache-Control"] = f"public, max-age={_DAY_SECONDS}"
    return response


def _symbol_answer(kind: SeriesKind) -> WerkzeugResponse:
    response: WerkzeugResponse = redirect(url_for("study.kind_picture", kind=kind.value))
    response.headers["Cache-Control"] = f"private, max-age={_HOUR_SECONDS}"
    return response


def _picture_answer(orthanc_instance_id: str, png: bytes) -> WerkzeugResponse:
    response = make_response(png)
    response.mimetype = "image/png"
    response.set_etag(orthanc_instance_id)
    response.headers["Cache-Control"] = f"private, max-age={_DAY_SECONDS}"
    return response.make_conditional(request)


def _load(archive: Archive, study_instance_uid: str) -> StudyDetails:
    return load_study(archive, _checked(_UID, study_instance_uid), request.args.get("id", ""))


def _known_job(archive: Archive, job_id: str) -> Job | None:
    try:
        return get_job(archive, _checked(_JOB_ID, job_id))
    except NotFound:
        return None


def _checked(pattern: re.Pattern[str], text: str) -> str:
    """Return a part of the address only when it has the form it should: it becomes a part of Orthanc's."""
    if not pattern.fullmatch(text):
        raise NotFound(f"Expected an identifier of the form {pattern.pattern}, found {text[:80]!r}.")
    return text


def _ohif_link(study_instance_uid: str, series_instance_uid: str = "") -> str:
    query = {"StudyInstanceUIDs": study_instance_uid, "initialSeriesInstanceUID": series_instance_uid}
    query = {name: uid for name, uid in query.items() if uid}
    return f"{Services.current().web.ohif_path}?{urlencode(query)}"
