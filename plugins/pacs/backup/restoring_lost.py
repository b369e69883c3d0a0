"""Images that the index names and no backup has: listed by study, and taken out of the index.

PostgreSQL's log reaches further than the last run of `files`, so a server that was lost comes back with the names of
images that came in its last minutes. Orthanc replaces nothing: sent again, such an image would be acknowledged as one
that is there, and be lost for good. Once its name is gone, the second sending is stored.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from pacs.archive_http import HttpArchive
from pacs.backup import consistency, packs, points, restoring
from pacs.backup.orthanc_index import DICOM, Attachment, StudyName
from pacs.backup.places import Place
from pacs.backup.plans import Plan
from pacs.backup.site import Site
from pacs.errors import NotFound

FOLDER = "lost"
_COLUMNS = ("StudyInstanceUID", "StudyDate", "AccessionNumber", "PatientID", "StudyDescription", "LostImages")


@dataclass(frozen=True)
class Lost:
    """What is lost.

    Attributes
    ----------
    studies : attachments without a file, by study; None: of a patient.
    elsewhere : how many more lack their file, which the place has.
    """

    studies: dict[StudyName | None, list[Attachment]]
    elsewhere: int

    @property
    def images(self) -> int:
        """How many images are lost; other attachments are made anew."""
        return sum(one.kind == DICOM for those in self.studies.values() for one in those)


def find(site: Site, place: Place) -> Lost:
    """Compare index, storage area and the lists of a place."""
    with site.index() as index:
        missing = consistency.compare(index, site.storage).missing
    names = {one.uuid for those in missing.values() for one in those}
    there = set().union(*(names & restoring.names_in(batch) for batch in points.batches(place))) if names else set()
    lost = {study: [one for one in those if one.uuid not in there] for study, those in missing.items()}
    return Lost({study: those for study, those in lost.items() if those}, len(there))


def plan(site: Site, place: Place, lost: Lost) -> Plan:
    """Tell what will be taken out of the index."""
    images, studies = lost.images, len(lost.studies)
    steps = [
        f"list {images} images of {studies} studies whose file neither the storage area nor {place.name} has",
        f"write that list, by study, into {site.settings.state / FOLDER}",
        "take them out of the index: a modality that sends them again is then heard",
    ]
    losses = [f"the names of these {images} images; their files are lost already"] if images else []
    kept = [f"{lost.elsewhere} whose file {place.name} has: `restore files` brings them"] if lost.elsewhere else []
    return Plan("Images that no backup has", steps, losses, kept)


def forget(site: Site, lost: Lost) -> str:
    """List them and take them out of the index, as root. After a cut another run lists and takes what is left."""
    if not lost.studies:
        return "No image is lost: every file that the index names is there, or at the place."
    path = site.settings.state / FOLDER / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.csv"
    path.parent.mkdir(mode=0o700, exist_ok=True)  # it names patients
    with HttpArchive(site.settings.orthanc_url) as archive:
        packs.write_durably(path, _table(archive, lost))
        path.chmod(0o600)
        for address in _addresses(site, lost):
            with suppress(NotFound):  # gone with its last image
                archive.delete(address)
    site.runs.audit("lost images forgotten", images=lost.images, studies=len(lost.studies), listed=path.name)
    return (
        f"{lost.images} images of {len(lost.studies)} studies are lost: have the modalities send them again, by {path}."
    )


def _table(archive: HttpArchive, lost: Lost) -> str:
    """Return the studies as people ask for them at a modality."""
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, extrasaction="ignore")
    table.writeheader()
    for study, those in lost.studies.items():
        if study is not None:
            told = archive.get_json(f"/studies/{study.orthanc_study_id}")
            number = sum(one.kind == DICOM for one in those)
            table.writerow({**told["PatientMainDicomTags"], **told["MainDicomTags"], "LostImages": number})
    return text.getvalue()


def _addresses(site: Site, lost: Lost) -> Iterator[str]:
    """Yield what is to be deleted by Orthanc's API: images, and what plugins attached to what stays."""
    attachments = [one for those in lost.studies.values() for one in those]
    with site.index() as index, index.reading() as reading:
        names = reading.names_of(one.resource for one in attachments)
    for one in sorted(attachments, key=lambda one: one.kind):
        if one.resource in names:
            yield names[one.resource] if one.kind == DICOM else f"{names[one.resource]}/attachments/{one.kind}"
