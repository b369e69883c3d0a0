"""One instance in, one instance out that does not say whose it is (PS3.15 annex E)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from pacs.deidentify.changes import Change, Done
from pacs.deidentify.documents import empty_document
from pacs.deidentify.errors import broken
from pacs.deidentify.keys import Keys
from pacs.deidentify.masks import masks_for
from pacs.deidentify.options import BASIC_PROFILE, CODES, Clean, Option, Retain
from pacs.deidentify.pixels import clean_pixels
from pacs.deidentify.project import Project
from pacs.deidentify.refusals import is_free_of_text, refuse_unmasked, refuse_what_cannot_be
from pacs.deidentify.subject import Subject, subject_of
from pacs.deidentify.treatment import Treatment
from pacs.deidentify.values import UNREADABLE, text

# Ours, below the root for UUIDs: of this de-identifier, as PS3.15 E.1.1 asks of the file meta information.
_IMPLEMENTATION_CLASS_UID = UID("2.25.245203826113061868017226837936216342087")
_IMPLEMENTATION_VERSION_NAME = "PACS-CLOUD-DEID"
_METHOD = "PACS Cloud"


@dataclass(frozen=True)
class Result:
    """An instance of nobody.

    Attributes
    ----------
    dataset : ready to be written with `enforce_file_format=True`; its preamble is empty.
    changes : what was done, without any value.
    """

    dataset: Dataset
    changes: tuple[Change, ...]


def deidentify(dataset: Dataset, project: Project, secret: bytes) -> Result:
    """De-identify an instance.

    Parameters
    ----------
    dataset : whole, with its file meta information if it has one. It is changed in place, and useless if this raises.
    secret : of the project.

    Raises
    ------
    Refused : this project can't; nothing of it may go out. The message holds no value of it.
    """
    try:
        return _deidentified(dataset, project, _keys(secret, project.name))
    except UNREADABLE as fault:
        raise broken(fault) from None


def _deidentified(dataset: Dataset, project: Project, keys: Keys) -> Result:
    refuse_what_cannot_be(dataset, project)
    fitting = masks_for(dataset, project.masks) if Clean.PIXELS in project.clean else ()
    refuse_unmasked(dataset, project, fitting)
    subject = subject_of(dataset, project, keys)
    options = _options(project, is_clean=is_free_of_text(dataset, fitting))
    changes = clean_pixels(dataset, fitting)
    document = empty_document(dataset)
    treatment = Treatment(project, keys, subject)
    treatment.run(dataset)
    if document:
        dataset.EncapsulatedDocument, dataset.EncapsulatedDocumentLength = document, len(document)
    _sign(dataset, project, subject, options)
    _replace_file_meta(dataset)
    return Result(dataset, (*changes, *treatment.changes))


@lru_cache(maxsize=64)
def _keys(secret: bytes, project: str) -> Keys:
    return Keys(secret, project)


def _options(project: Project, *, is_clean: bool) -> list[Option]:
    """Return the options that an instance can claim; that its pixels are clean only where that is so."""
    chosen: set[Option] = {*project.retain, *project.clean}
    if not is_clean:
        chosen.discard(Clean.PIXELS)
    return sorted(chosen, key=lambda option: CODES[option][0])


def _sign(dataset: Dataset, project: Project, subject: Subject, options: list[Option]) -> None:
    """Write the pseudonym, what was done, and what the project gives every instance."""
    dataset.PatientName = dataset.PatientID = subject.pseudonym
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = [_METHOD, *(option.value for option in options)]
    dataset.DeidentificationMethodCodeSequence = [_code(*BASIC_PROFILE), *(_code(*CODES[option]) for option in options)]
    dataset.LongitudinalTemporalInformationModified = _temporal(project)
    if Clean.PIXELS in options and "PixelData" in dataset:
        dataset.BurnedInAnnotation = "NO"
    for keyword, value in project.settings.items():
        setattr(dataset, keyword, value)


def _temporal(project: Project) -> str:
    if Retain.FULL_DATES in project.retain:
        return "UNMODIFIED"
    return "MODIFIED" if Retain.MODIFIED_DATES in project.retain else "REMOVED"


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _replace_file_meta(dataset: Dataset) -> None:
    """Begin the file meta information anew: of the former only the transfer syntax stays."""
    former = getattr(dataset, "file_meta", None)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(text(dataset, "SOPClassUID"))
    meta.MediaStorageSOPInstanceUID = UID(text(dataset, "SOPInstanceUID"))
    if former is not None and "TransferSyntaxUID" in former:
        meta.TransferSyntaxUID = former.TransferSyntaxUID
    meta.ImplementationClassUID = _IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = _IMPLEMENTATION_VERSION_NAME
    dataset.file_meta = meta
    dataset.preamble = bytes(128)


__all__ = ["Change", "Done", "Result", "deidentify"]
