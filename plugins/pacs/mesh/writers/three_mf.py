"""3MF (3MF Consortium, core specification 1.3): a ZIP with XML, in mm, each part an object with name and color."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import quoteattr

from pacs.mesh.writers.model import Model, NamedSurface
from pacs.mesh.writers.text import lines

_CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_CONTENT_TYPES = (
    f'{_XML}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/></Types>'
)
_RELATIONSHIPS = (
    f'{_XML}<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Target="/3D/3dmodel.model" Id="rel0" '
    'Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/></Relationships>'
)
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_MATERIALS_ID = 1


def write(model: Model, place: Path, name: str) -> list[Path]:
    """Write all parts into one file."""
    path = place / f"{name}.3mf"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(_entry("[Content_Types].xml"), _CONTENT_TYPES, zipfile.ZIP_DEFLATED, 1)
        archive.writestr(_entry("_rels/.rels"), _RELATIONSHIPS, zipfile.ZIP_DEFLATED, 1)
        with archive.open(_entry("3D/3dmodel.model"), "w", force_zip64=True) as file:
            for piece in _document(model):
                file.write(piece)
    return [path]


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _NO_TIME)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    entry._compresslevel = 1  # type: ignore[attr-defined]  # noqa: SLF001 - open() has no other way to say it
    return entry


def _document(model: Model) -> Iterator[bytes]:
    yield f'{_XML}<model unit="millimeter" xml:lang="en-US" xmlns="{_CORE}">\n'.encode()
    yield b'<metadata name="Application">PACS Cloud</metadata>\n'
    text = f"Not for diagnosis. Patient coordinates {model.coordinates}."
    yield f'<metadata name="Description">{text}</metadata>\n<resources>\n'.encode()
    yield f'<basematerials id="{_MATERIALS_ID}">'.encode()
    for part in model.parts:
        color = "#{:02X}{:02X}{:02X}".format(*part.color_rgb)
        yield f'<base name={quoteattr(part.name)} displaycolor="{color}"/>'.encode()
    yield b"</basematerials>\n"
    numbers = [number for number, part in enumerate(model.parts) if len(part.surface.triangles)]
    for number in numbers:
        yield from _object(model.parts[number], number)
    yield b"</resources>\n<build>"
    for number in numbers:
        yield f'<item objectid="{_object_id(number)}"/>'.encode()
    yield b"</build>\n</model>\n"


def _object(part: NamedSurface, number: int) -> Iterator[bytes]:
    attributes = f'id="{_object_id(number)}" type="model" name={quoteattr(part.name)}'
    yield f'<object {attributes} pid="{_MATERIALS_ID}" pindex="{number}"><mesh><vertices>\n'.encode()
    yield from lines('<vertex x="%.5f" y="%.5f" z="%.5f"/>\n', part.surface.points)
    yield b"</vertices><triangles>\n"
    yield from lines('<triangle v1="%d" v2="%d" v3="%d"/>\n', part.surface.triangles)
    yield b"</triangles></mesh></object>\n"


def _object_id(number: int) -> int:
    return _MATERIALS_ID + 1 + number
