"""DICOMweb frames at which Orthanc failed; NGINX leads here. No page for people."""

from __future__ import annotations

import re

from flask import Blueprint, Response, make_response, request

from pacs.errors import InvalidInput
from pacs.web.frames import multipart, read_frames
from pacs.web.instances import InstancePlace, find_instance
from pacs.web.navigation import PageModule
from pacs.web.services import Services

_NUMBERS = re.compile(r"[1-9][0-9]{0,8}(,[1-9][0-9]{0,8}){0,999}")

blueprint = Blueprint("frames", __name__)
PAGES = PageModule(blueprint)


@blueprint.get("/dicom-web/studies/<study>/series/<series>/instances/<instance>/frames/<numbers>")
def show(study: str, series: str, instance: str, numbers: str) -> Response:
    """Answer frames as PS3.18 section 10.4.1.1.6 has it, as far as Orthanc does not."""
    if not _NUMBERS.fullmatch(numbers):
        raise InvalidInput("Expected numbers of frames, from 1, with commas between them.")
    services = Services.current()
    instance_id = find_instance(services.archive, InstancePlace(study, series, instance))
    wanted = [int(number) for number in numbers.split(",")]
    accept = request.headers.get("Accept", "")
    form, parts = read_frames(services.archive, services.decoder, instance_id, wanted, accept)
    content_type, body = multipart(form, parts)
    response = make_response(body)
    response.headers["Content-Type"] = content_type
    return response
