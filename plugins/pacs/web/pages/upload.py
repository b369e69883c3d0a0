"""Upload: the page and what it asks about the studies that arrived. The files go to Orthanc's /instances directly."""

from __future__ import annotations

from flask import Blueprint, jsonify, render_template, request, url_for
from flask.wrappers import Response

from pacs.errors import InvalidInput, NotFound
from pacs.web.formatting import person_name, show_date
from pacs.web.language import N_
from pacs.web.navigation import NavigationEntry, PageModule
from pacs.web.services import Services

MOST_STUDIES_ASKED = 100
_ID_CHARACTERS = frozenset("0123456789abcdef-")

blueprint = Blueprint("upload", __name__)
PAGES = PageModule(blueprint, (NavigationEntry(N_("Upload"), "upload.index", 20, "upload"),))


@blueprint.get("/upload")
def index() -> str:
    """Show the page."""
    return render_template("upload.html")


@blueprint.get("/upload/studies")
def studies() -> Response:
    """Tell name, date, description and address of studies that were just stored, by Orthanc's identifiers."""
    ids = list(filter(None, request.args.get("ids", "").split(",")))
    if len(ids) > MOST_STUDIES_ASKED or any(not _ID_CHARACTERS.issuperset(one) for one in ids):
        message = f"Expected at most {MOST_STUDIES_ASKED} of Orthanc's study identifiers, parted by commas."
        raise InvalidInput(message)
    return jsonify([entry for one in ids if (entry := _summary(one))])


def _summary(orthanc_study_id: str) -> dict[str, str] | None:
    try:
        study = Services.current().archive.get_json(f"/studies/{orthanc_study_id}")
    except NotFound:
        return None
    tags, patient = study["MainDicomTags"], study["PatientMainDicomTags"]
    uid = tags.get("StudyInstanceUID", "")
    return {
        "orthancStudyId": orthanc_study_id,
        "patient": str(person_name(patient.get("PatientName", ""))),
        "patientId": patient.get("PatientID", ""),
        "date": show_date(tags.get("StudyDate", "")),
        "description": tags.get("StudyDescription", ""),
        "address": url_for("study.show", study_instance_uid=uid, id=orthanc_study_id) if uid else "",
    }
