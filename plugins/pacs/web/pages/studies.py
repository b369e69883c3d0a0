"""Studies: search and list."""

from __future__ import annotations

from datetime import UTC, date, datetime

from flask import Blueprint, Response, make_response, render_template, request

from pacs.studies import StudyPage, StudyQuery, search
from pacs.web.language import N_, current_language
from pacs.web.navigation import NavigationEntry, PageModule
from pacs.web.services import Services
from pacs.web.study_form import PERIOD_TITLES, StudyForm

# Offered when the archive is empty, and always first: what most studies of a hospital are.
USUAL_MODALITIES = ("CR", "CT", "DX", "MG", "MR", "US", "XA", "NM", "PT", "ES")

blueprint = Blueprint("studies", __name__)
PAGES = PageModule(blueprint, (NavigationEntry(N_("Studies"), "studies.index", 10, "studies", covers=("study",)),))


@blueprint.get("/studies")
def index() -> Response:
    """Show the search form and what it finds; only the results when htmx asks."""
    services = Services.current()
    form = StudyForm.read(request.args)
    found = _find(services, form)
    is_part = "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers
    response = make_response(
        render_template(
            "parts/study_results.html" if is_part else "studies.html",
            form=form,
            found=found,
            page_size=services.web.page_size,
            periods=PERIOD_TITLES,
            modalities=_modalities_offered(form),
        )
    )
    response.headers["Vary"] = "HX-Request, Cookie, Accept-Language"
    if is_part:
        response.headers["HX-Push-Url"] = form.address(found.page)
    return response


def hospital_today() -> date:
    """Return the date in the hospital's time zone."""
    return datetime.now(UTC).astimezone(current_language().time_zone).date()


def _find(services: Services, form: StudyForm) -> StudyPage:
    """Search; a page beyond the last becomes the last."""
    size = services.web.page_size
    with services.database.session() as session:
        found = search(session, _query(form, form.page, size))
        if form.page > found.pages:
            found = search(session, _query(form, found.pages, size))
    return found


def _query(form: StudyForm, page: int, size: int) -> StudyQuery:
    first_day, last_day = form.dates(hospital_today())
    return StudyQuery(
        text=form.q,
        patient_name=form.name,
        patient_id=form.id,
        accession_number=form.accession,
        description=form.description,
        date_from=first_day,
        date_to=last_day,
        modalities=form.modalities,
        offset=(page - 1) * size,
        limit=size,
    )


def _modalities_offered(form: StudyForm) -> list[str]:
    """Return the modalities to choose from: the usual ones, and whatever is chosen already."""
    return [*USUAL_MODALITIES, *(one for one in form.modalities if one not in USUAL_MODALITIES)]
