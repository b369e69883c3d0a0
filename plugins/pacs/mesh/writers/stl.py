"""Binary STL: 80 bytes of header, a count, 50 bytes a triangle (3D Systems, StereoLithography Interface, 1989).

It knows no units, names, colors or shared vertices, so each part is a file of its own and the header says the units.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pacs.mesh.surface import Surface
from pacs.mesh.writers.model import Model

_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_AT_ONCE = 50_000


def write(model: Model, place: Path, name: str) -> list[Path]:
    """Write a file for each part, with its name added if there are several."""
    if len(model.parts) == 1:
        paths = [place / f"{name}.stl"]
    else:
        paths = [place / f"{name}-{slug}.stl" for slug in model.slugs()]
    for part, path in zip(model.parts, paths, strict=True):
        _write_part(part.surface, path, model.coordinates)
    return paths


def _write_part(surface: Surface, path: Path, coordinates: str) -> None:
    header = f"binary STL, units mm, patient coordinates {coordinates}, PACS Cloud, not for diagnosis"
    with path.open("wb") as file:
        file.write(header.encode()[:80].ljust(80, b" "))
        file.write(len(surface.triangles).to_bytes(4, "little"))
        records = np.zeros(_AT_ONCE, _RECORD)
        for first in range(0, len(surface.triangles), _AT_ONCE):
            triangles = surface.triangles[first : first + _AT_ONCE]
            some = records[: len(triangles)]
            corners = surface.points[triangles]
            some["corners"] = corners
            normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            lengths = np.linalg.norm(normals, axis=1, keepdims=True)
            some["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
            file.write(some.tobytes())
