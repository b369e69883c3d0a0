"""Studies: search and list."""

from __future__ import annotations

from flask import Blueprint, Response, request

from pacs.studies import StudyPage, StudyQuery, search
from pacs.web.language import N_, hospital_now
from pacs.web.navigation import NavigationEntry, PageModule
from pacs.web.period import PERIOD_TITLES
from pacs.web.search_page import render_search
from pacs.web.services import Services
from pacs.web.study_form import StudyForm

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
    return render_search(
        "studies.html",
        "parts/study_results.html",
        form.address(found.page),
        only_by_form=False,
        form=form,
        found=found,
        page_size=services.web.page_size,
        periods=PERIOD_TITLES,
        modalities=_modalities_offered(form),
    )


def _find(services: Services, form: StudyForm) -> StudyPage:
    """Search; a page beyond the last becomes the last."""
    size = services.web.page_size
    with services.database.session() as session:
        found = search(session, _query(form, form.page, size))
        if form.page > found.pages:
            found = search(session, _query(form, found.pages, size))
    return found


def _query(form: StudyForm, page: int, size: int) -> StudyQuery:
    first_day, last_day = form.dates(hospital_now().date())
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
