"""Jobs of 3D models as programs get them, and the words for what people are told of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from babel.numbers import format_decimal
from flask import Response, url_for

from pacs.errors import PacsError
from pacs.mesh.jobs.orders import JobState, ModelJob, OrderKind
from pacs.mesh.recipe import Format
from pacs.mesh.report import ModelFile, Notice, Report
from pacs.web.language import N_, current_language, gettext
from pacs.web.problems import answer_pacs_error

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9]+")
_SHORT = 8

STATE_WORDS = {
    JobState.WAITING: N_("Waiting"),
    JobState.WORKING: N_("Being made"),
    JobState.DONE: N_("Done"),
    JobState.FAILED: N_("Failed"),
    JobState.CANCELLED: N_("Cancelled"),
}
STAGE_WORDS = {
    "reading": N_("Reading the images"),
    "surface": N_("Finding the surface"),
    "selecting": N_("Choosing the tissue"),
    "smoothing": N_("Smoothing"),
    "reducing": N_("Taking away triangles"),
    "checking": N_("Checking"),
    "writing": N_("Writing the files"),
    "encapsulating": N_("Writing DICOM"),
    "storing": N_("Storing in the archive"),
}
# Why no model can be made, by the code of the fault.
REASON_WORDS = {
    "mesh-too-large": N_(
        "It would need more memory than the server has for models. Choose a smaller part, "
        "or tell whoever looks after the PACS."
    ),
    "mesh-no-images": N_("There are no images in it that a model could be made of."),
    "mesh-unreadable-instance": N_("An image in it is damaged."),
    "mesh-truncated-instance": N_("An image in it is not complete. Send the study again from the modality."),
    "mesh-undecodable-instance": N_("An image in it can't be decoded."),
    "mesh-unsuitable-pixels": N_("Its images are pictures, not measurements."),
    "mesh-localizers": N_("It holds overviews (scouts), not slices. Choose another series."),
    "mesh-single-image": N_("One image is no volume. Choose a series with slices."),
    "mesh-no-position": N_("Its images don't say where in the patient they are."),
    "mesh-mixed-sizes": N_("Its slices are not all of one size."),
    "mesh-missing-slice": N_("A slice is missing. Send the series again from the modality."),
    "mesh-slices-out-of-line": N_("Its slices are shifted against each other."),
    "mesh-same-place-twice": N_("Several images are in the same place, and nothing tells which belong together."),
    "mesh-several-volumes": N_("It holds several volumes. Choose one of them."),
    "mesh-unknown-sub-volume": N_("It has no volume of this name."),
    "mesh-empty-part": N_("There is nothing in it with these values. Choose another threshold or box."),
    "mesh-empty-segment": N_("There is nothing in this segment."),
    "mesh-no-segmentation": N_("The segmentation can't be used."),
    "mesh-unknown-segment": N_("The segmentation has no such segment."),
    "mesh-unsuitable-contour": N_("A contour does not lie in a slice."),
    "mesh-other-frame-of-reference": N_("The segmentation belongs to other images."),
    "mesh-busy": N_("Others look at series right now. Try again in a moment."),
    "mesh-too-many-waiting": N_("Too many models wait already. Try again later."),
    "process-crashed": N_("The program that made it ended twice in the middle. It was given up."),
    "process-out-of-memory": N_(
        "It needed more memory than the server has for models. Choose a smaller part or a coarser result."
    ),
    "process-timeout": N_("It took too long. Choose a smaller part or a coarser result."),
    "not-found": N_("The series is not in the archive any more."),
}
# Names of parts that are presets, and the color each begins with.
PART_WORDS = {
    "bone": N_("Bone"),
    "compact-bone": N_("Compact bone"),
    "skin": N_("Skin"),
    "lung": N_("Lungs"),
    "vessel": N_("Vessels with contrast"),
    "metal": N_("Metal"),
    "teeth": N_("Teeth"),
    "otsu": N_("Automatic"),
    "window": N_("Own threshold"),
}
# What each format is for.
FORMAT_WORDS = {
    Format.STL: N_("for every printer"),
    Format.PLY: N_("for research"),
    Format.OBJ: N_("with colors, ZIP"),
    Format.GLB: N_("to show, in the browser and on a phone"),
    Format.THREE_MF: N_("for printers, with colors and units"),
}
PART_COLORS = {
    "bone": "#e8dcc3",
    "compact-bone": "#f2ead8",
    "skin": "#d9a98c",
    "lung": "#c98f9b",
    "vessel": "#c0392b",
    "metal": "#9aa7b3",
    "teeth": "#f6f1e4",
}
# Of segments that have none of their own, one after the other.
REGION_COLORS = ("#e8dcc3", "#c0392b", "#7fa8c9", "#8bb174", "#d9a441", "#a58fc2")
OTHER_REASON = N_("It failed in a way that is not usual. The technical words below tell more.")
# What whoever uses a model should know, by the code of the notice.
NOTICE_WORDS = {
    "slice_gap": N_(
        "The slices are %(gap_mm)s mm apart: small things between them are missing, and slopes look like steps."
    ),
    "tilt": N_("The gantry was tilted by %(degrees)s°. The model is corrected for it."),
    "uneven_gaps_resampled": N_("The distance between slices changes. Slices were computed in between."),
    "duplicates_dropped": N_("Images that were there twice and were used once: %(count)s."),
    "images_left_out": N_("Images that don't belong to the volume and were left out: %(count)s."),
    "kernel_sharp": N_("The images have a sharp kernel (%(kernel)s): the surface is rough and noisy."),
    "kernel_soft": N_("The images have a soft kernel (%(kernel)s): thin walls and fine details may be lost."),
    "metal": N_("There is metal in the images: streaks around it may be part of the model."),
    "truncated_field_of_view": N_("The body reaches beyond the images: the model ends there in a flat cut."),
    "lossy_compression": N_("The images were compressed with loss."),
    "inverted": N_("The images are inverted."),
    "slices_shifted": N_("The slices are shifted against each other by %(off_mm)s mm. The model is corrected for it."),
    "open_edges": N_("%(part)s: the surface has %(edges)s open edges and is not ready for printing."),
    "touching_edges": N_(
        "%(part)s: the surface touches itself along %(edges)s edges. Some programs report them in the STL; "
        "the other formats are clean."
    ),
    "thin_wall": N_("%(part)s: some walls are only %(p01_mm)s mm thick, which may be too thin to print."),
    "target_missed": N_("It has %(triangles)s triangles, asked for were %(wanted)s: fewer would have damaged it."),
    "deviation_missed": N_(
        "%(part)s: in places it is %(max_mm)s mm off the full surface, asked for was %(wanted_mm)s mm at most. "
        "Smoothing counts, too."
    ),
    "volume_lost": N_(
        "%(part)s: the model encloses %(volume_mm3)s mm³, the voxels of the segment fill %(mask_mm3)s mm³: what is "
        "thin or small loses volume."
    ),
    "specks_dropped": N_(
        "%(part)s: specks under %(size_mm)s mm, pieces or cavities, were left out: %(count)s. A smaller deviation "
        "keeps more of them."
    ),
}


def answer_fault(error: PacsError) -> Response:
    """Answer why no model can be made: to programs also in the person's language (`words`), for our own scripts."""
    response = answer_pacs_error(error)
    if response.is_json and error.code in REASON_WORDS:
        response.set_data(json.dumps(response.get_json() | {"words": gettext(REASON_WORDS[error.code])}))
    return response


def notice_words(notice: Notice) -> str:
    """Say what somebody who uses a model should know, in the language of the request."""
    values = {name: _shown(value) for name, value in notice.values.items()}
    code = f"{notice.code}_{notice.values['is']}" if "is" in notice.values else notice.code
    try:
        return gettext(NOTICE_WORDS[code]) % values
    except KeyError:
        return f"{notice.code} {values or ''}".strip()


def part_name(name: str) -> str:
    """Return the name of a part, in the language of the request where it is a tissue that we named."""
    return gettext(PART_WORDS[name]) if name in PART_WORDS else name


def _shown(value: float | str | None) -> str:
    if isinstance(value, int | float):
        return show_measure(value)
    return part_name(str(value))


def show_measure(value: float) -> str:
    """Write a number with three digits that count."""
    return format_decimal(float(f"{value:.3g}"), locale=current_language().locale)


def job_as_json(job: ModelJob, report: Report | None) -> dict[str, Any]:
    """Return a job as programs get it.

    Parameters
    ----------
    report : of its finished model, where that is kept.
    """
    content: dict[str, Any] = {
        "id": job.job_id,
        "kind": job.order.kind.value,
        "state": job.state.value,
        "stage": job.stage,
        "progress": round(job.fraction, 3),
        "attempts": job.attempts,
        "series": job.order.series.model_dump(),
        "recipe": job.order.recipe.model_dump(mode="json"),
        "ordered_at": job.ordered_at.isoformat(),
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
        "self": url_for("mesh.job", job_id=job.job_id),
    }
    if job.error:
        content["error"] = {"type": f"urn:pacs-cloud:problem:{job.error_code}", "detail": job.error}
    if job.saved:
        content["instances"] = list(job.saved)
    if report is not None and job.order.kind is OrderKind.MODEL:
        content |= {"cached": job.cached, "files": [_file(job, one) for one in report.files]}
        content["report"] = url_for("mesh.report", job_id=job.job_id)
    return content


def _file(job: ModelJob, file: ModelFile) -> Mapping[str, Any]:
    return {
        "name": file_name(job, file),
        "format": file.format.value,
        "media_type": file.media_type,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "href": url_for("mesh.file", job_id=job.job_id, name=file.name),
    }


def file_name(job: ModelJob, file: ModelFile) -> str:
    """Return a name for a downloaded file that tells models apart and not whose they are."""
    stem, _, ending = file.name.rpartition(".")
    tissues = "-".join(part.name for part in job.order.recipe.parts)
    words = (tissues, stem.removeprefix("model"), job.order.series.modality, job.model[-_SHORT:])
    return "_".join(filter(None, (_NOT_IN_NAMES.sub("-", word).strip("-")[:40] for word in words))) + f".{ending}"
