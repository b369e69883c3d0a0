"""What runs in the children of `jobs`: paths in, JSON and files out. Imports VTK: never in Orthanc's process.

Arguments of every function, beside those that it names: `images`, paths of the images; `masks`, paths of DICOM SEG and
RTSTRUCT by SOPInstanceUID; `content`, what stands for both together.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import pydicom

from pacs.mesh import encapsulated, memory, pipeline, preview, tissue
from pacs.mesh.jobs.looks import RegionLook, SeriesLook, SubVolumeLook
from pacs.mesh.jobs.packing import pack
from pacs.mesh.jobs.source_files import FileSource
from pacs.mesh.reading.series import estimate, sub_volumes
from pacs.mesh.recipe import Format, Recipe
from pacs.mesh.report import Report
from pacs.mesh.segmentation import dicom_seg, rtstruct
from pacs.ports import Json
from pacs.processes import Progress

# The longest side of a volume whose values are counted, in voxels.
_HISTOGRAM_VOXELS = 256

# A child does many jobs: what one needed is there for other children, not kept for the next.
memory.keep_little()


def look(arguments: dict[str, Json], _progress: Progress) -> Json:
    """Tell what a series of `modality` holds, a `SeriesLook`; for an estimate of its memory, of `sub_volume`."""
    source = FileSource.of(arguments)
    volumes = sub_volumes(source.images) if source.images else ()
    chosen = arguments["sub_volume"] or (volumes[0].name if volumes else None)
    sized = estimate(source.images, chosen) if source.images else None
    mask_bytes, shape = _mask_size(source)
    return SeriesLook(
        modality=arguments["modality"],
        sub_volumes=tuple(SubVolumeLook(**asdict(one)) for one in volumes),
        regions=tuple(region for uid in source.masks for region in _regions(source, uid)),
        # A ROI is rasterised on the grid of the images, a byte a voxel.
        volume_bytes=sized.bytes + math.prod(sized.shape) * bool(source.masks) if sized else mask_bytes,
        shape=sized.shape if sized else shape,
        images=None if source.images else _images_of(source),
    ).model_dump(mode="json")


def histogram(arguments: dict[str, Json], _progress: Progress) -> Json:
    """Count the values of `sub_volume`, see `pacs.mesh.tissue.Histogram`; with the presets that fit its unit."""
    source = FileSource.of(arguments)
    longest = max(source.shape(arguments["sub_volume"]))
    scale = -(-longest // _HISTOGRAM_VOXELS)
    volume = source.volume(
        arguments["sub_volume"], scale=scale, progress=lambda _fraction: None, cancelled=lambda: False
    )
    presets = {name.value: asdict(found) for name, found in tissue.PRESETS.items() if volume.unit == "HU"}
    return {**asdict(tissue.histogram(volume)), "presets": presets}


def preview_model(arguments: dict[str, Json], _progress: Progress) -> None:
    """Write a coarse model of `recipe` to the file `target`, as GLB."""
    recipe = Recipe.model_validate(arguments["recipe"])
    glb = preview.make(FileSource.of(arguments), arguments["content"], recipe)
    Path(arguments["target"]).write_bytes(glb)


def make(arguments: dict[str, Json], progress: Progress) -> Json:
    """Make the model of `recipe` in the folder `place` and return its `Report`."""
    report = pipeline.make(
        FileSource.of(arguments),
        Recipe.model_validate(arguments["recipe"]),
        Path(arguments["place"]),
        lambda stage, fraction: progress(fraction, stage),
    )
    return pack(report, Path(arguments["place"])).model_dump(mode="json")


def encapsulate(arguments: dict[str, Json], progress: Progress) -> None:
    """Write the `formats` of the finished model `model` in `folder` as DICOM files into `place`."""
    folder = Path(arguments["folder"])
    source = FileSource.of(arguments)
    header = next(iter((*source.images, *source.masks.values())))
    encapsulated.write(
        pydicom.dcmread(header.path, stop_before_pixels=True, specific_tags=encapsulated.TEMPLATE_KEYWORDS),
        Report.model_validate_json((folder / arguments["report"]).read_bytes()),
        arguments["model"],
        folder=folder,
        formats=[Format(name) for name in arguments["formats"]],
        place=Path(arguments["place"]),
        progress=lambda fraction: progress(fraction, "encapsulating"),
    )


def _regions(source: FileSource, sop_instance_uid: str) -> list[RegionLook]:
    kind = source.kind_of(sop_instance_uid)
    module = dicom_seg if kind == "segment" else rtstruct
    return [
        RegionLook(
            kind=kind,
            number=one.number,
            name=one.name,
            color=None if one.color_rgb is None else "#{:02x}{:02x}{:02x}".format(*one.color_rgb),
            sop_instance_uid=sop_instance_uid,
        )
        for one in module.segments(source.masks[sop_instance_uid])
    ]


def _mask_size(source: FileSource) -> tuple[int, tuple[int, int, int]]:
    """Return the bytes and the shape of the largest segmentation with a grid of its own."""
    shape = (0, 0, 0)
    for uid in source.masks:
        if source.kind_of(uid) == "segment":
            dataset = source.header(uid)
            found = (int(dataset.get("NumberOfFrames") or 1) + 2, int(dataset.Rows) + 2, int(dataset.Columns) + 2)
            shape = max(shape, found, key=lambda one: one[0] * one[1] * one[2])
    return shape[0] * shape[1] * shape[2], shape


def _images_of(source: FileSource) -> str | None:
    """Return the SeriesInstanceUID of the images that contours were drawn on."""
    for uid in source.masks:
        if source.kind_of(uid) == "roi":
            return source.drawn_on(uid)
    return None
