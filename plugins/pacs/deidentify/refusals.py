"""Which instances a project can't de-identify, told before anything is done, each with its cure."""

from __future__ import annotations

from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset

from pacs.deidentify.errors import Refused
from pacs.deidentify.masks import Mask
from pacs.deidentify.project import Project
from pacs.deidentify.values import text

_DICOMDIR = "1.2.840.10008.1.3.10"
_VOICES = "1.2.840.10008.5.1.4.1.1.9.4."
_ENCAPSULATED = "1.2.840.10008.5.1.4.1.1.104."
# What is empty in these kinds of document; a model of a body (STL, OBJ) is no text that could be replaced.
REPLACED_DOCUMENTS = {
    "1.2.840.10008.5.1.4.1.1.104.1": "application/pdf",
    "1.2.840.10008.5.1.4.1.1.104.2": "text/XML",
}
# Where people and machines write names into pictures: captured screens, ultrasound, endoscopes, cameras, scanned paper.
_RISKY_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.6.2",
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.77.1",
    "1.2.840.10008.5.1.4.1.1.12.77",
)
_RISKY_WORDS = ("SCREEN SAVE", "SCREENSHOT", "SCREEN", "DOSE_INFO", "REPORT", "CAPTURE")


def refuse_what_cannot_be(dataset: Dataset, project: Project) -> None:
    """Look at what kind of instance it is.

    Raises
    ------
    Refused : it is of a kind that the profile does not define, or that this project does not let through.
    """
    sop_class_uid = text(dataset, "SOPClassUID")
    if sop_class_uid == _DICOMDIR or "DirectoryRecordSequence" in dataset:
        raise Refused("This is a DICOMDIR, a list of other instances.", remedy="De-identify the instances instead.")
    if not sop_class_uid:
        raise Refused("The instance does not say what it is (SOPClassUID).", remedy="Leave it out.")
    if sop_class_uid not in UID_dictionary and not project.private_classes:
        raise Refused(
            "The instance is of a manufacturer's own SOP class, for which the standard defines no de-identification.",
            remedy="Leave it out, or write `private_classes: accept` in the project after a look at what they hold.",
        )
    if sop_class_uid.startswith(_ENCAPSULATED):
        _refuse_document(sop_class_uid, project)
    if sop_class_uid.startswith(_VOICES):
        raise Refused("The instance is the recording of a voice, which tells who speaks.", remedy="Leave it out.")
    if text(dataset, "RecognizableVisualFeatures") == "YES" and project.faces == "refuse":
        raise Refused(
            "The image says that a person can be recognized in it (RecognizableVisualFeatures).",
            remedy="Leave it out, or write `faces: accept` in the project; nothing here makes faces unrecognizable.",
        )


def _refuse_document(sop_class_uid: str, project: Project) -> None:
    if project.documents == "refuse" or sop_class_uid not in REPLACED_DOCUMENTS:
        raise Refused(
            "The instance is a document or a model in a file of its own, which can't be looked through.",
            remedy="Leave it out; PDF and CDA documents can be replaced by empty ones with `documents: replace`.",
        )


def refuse_unmasked(dataset: Dataset, project: Project, fitting: tuple[Mask, ...]) -> None:
    """Look at whether names may be burned into an image of which nobody said where.

    Raises
    ------
    Refused : they are, or may be.
    """
    if is_free_of_text(dataset, fitting) or "PixelData" not in dataset:
        return
    declared = text(dataset, "BurnedInAnnotation").upper() == "YES"
    if declared or project.unmasked == "refuse":
        reason = "says that it has" if declared else "is of a kind that often has"
        raise Refused(
            f"The image {reason} text burned into its pixels, and no mask of the project fits it.",
            remedy="Choose `pixel data` under `clean:` and add a mask for its device to the file of masks: rectangles "
            "to blank, or `blank: nothing` where a person has looked and there is no text.",
        )


def is_free_of_text(dataset: Dataset, fitting: tuple[Mask, ...]) -> bool:
    """Tell whether there is no reason to expect burned-in text, once the fitting masks are laid on an image."""
    declared = text(dataset, "BurnedInAnnotation").upper()
    return bool(fitting) or declared == "NO" or (declared != "YES" and not _is_risky(dataset))


def _is_risky(dataset: Dataset) -> bool:
    sop_class_uid = text(dataset, "SOPClassUID")
    image_type = text(dataset, "ImageType").upper()
    return sop_class_uid.startswith(_RISKY_CLASSES) or any(word in image_type for word in _RISKY_WORDS)
