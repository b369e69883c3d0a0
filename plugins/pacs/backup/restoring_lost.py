"""Images that the index names and no backup has: listed by study, and taken out of the index.

PostgreSQL's log reaches further than the last run of `files`, so a server that was lost comes back with the names of
images that came in its last minutes. Orthanc replaces nothing: sent again, such an image would be acknowledged as one
that is there, and be lost for good. Once its name is gone, the second sending is stored.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from pacs.archive_http import HttpArchive
from pacs.backup import consistency, packs, restoring_files
from pacs.backup.errors import PlaceError
from pacs.backup.orthanc_index import DICOM, Attachment, StudyName
from pacs.backup.places import Place
from pacs.backup.plans import Plan
from pacs.backup.restoring_files import Asked
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
    asked : which places were asked, what more each has of what lacks its file, and which could not be asked.
    """

    studies: dict[StudyName | None, list[Attachment]]
    asked: Asked

    @property
    def images(self) -> int:
        """How many images are lost; other attachments are made anew."""
        return sum(one.kind == DICOM for those in self.studies.values() for one in those)


def find(site: Site, places: Sequence[Place]) -> Lost:
    """Compare index, storage area and the lists of every place."""
    with site.index() as index:
        missing = consistency.compare(index, site.storage).missing
    names = {one.uuid for those in missing.values() for one in those}
    asked = restoring_files.look_for(places, names)
    there = set().union(*asked.by_place.values())
    lost = {study: [one for one in those if one.uuid not in there] for study, those in missing.items()}
    return Lost({study: those for study, those in lost.items() if those}, asked)


def plan(site: Site, lost: Lost) -> Plan:
    """Tell what will be taken out of the index."""
    images, studies = lost.images, len(lost.studies)
    nowhere = f"neither the storage area nor a place has ({', '.join(lost.asked.by_place) or 'none had to be asked'})"
    steps = [
        f"list {images} images of {studies} studies whose file {nowhere}",
        f"write that list, by study, into {site.settings.state / FOLDER}",
        "take them out of the index: a modality that sends them again is then heard",
    ]
    losses = [f"the names of these {images} images; their files are lost already"] if images else []
    shares = lost.asked.shares("at")
    kept = [f"what lacks its file and is in a backup: {shares}. `restore files` brings it"] if shares else []
    kept += [f"all of it, until this is mended: {lost.asked.told_faults}"] if lost.asked.faults else []
    return Plan("Images that no backup has", steps, losses, kept)


def forget(site: Site, lost: Lost) -> str:
    """List them and take them out of the index, as root. After a cut another run lists and takes what is left.

    Raises PlaceError: not every place could be asked. What nothing names any more, `prune` lets go there some day.
    """
    if not lost.studies:
        return "No image is lost: every file that the index names is there, or at a place."
    if lost.asked.faults:
        raise PlaceError(
            f"{lost.images} images may be lost, and nothing was done. {lost.asked.told_faults}",
            remedy="Again when it answers. A place that is gone for good is left out: --without NAME.",
        )
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
