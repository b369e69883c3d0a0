"""Binary PLY (Turk 1994): indexed, a color for each vertex; names and ranges of the parts stand in comments."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pacs.mesh.writers.model import Model

_VERTEX = np.dtype([("position", "<f4", 3), ("color", "u1", 3)])
_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])
_AT_ONCE = 100_000


def write(model: Model, place: Path, name: str) -> list[Path]:
    """Write all parts into one file."""
    path = place / f"{name}.ply"
    with path.open("wb") as file:
        file.write(_header(model).encode())
        for part in model.parts:
            for first in range(0, len(part.surface.points), _AT_ONCE):
                points = part.surface.points[first : first + _AT_ONCE]
                vertices = np.empty(len(points), _VERTEX)
                vertices["position"], vertices["color"] = points, part.color_rgb
                file.write(vertices.data)
        offset = 0
        for part in model.parts:
            for first in range(0, len(part.surface.triangles), _AT_ONCE):
                triangles = part.surface.triangles[first : first + _AT_ONCE]
                faces = np.empty(len(triangles), _FACE)
                faces["count"], faces["corners"] = 3, triangles + offset
                file.write(faces.data)
            offset += len(part.surface.points)
    return [path]


def _header(model: Model) -> str:
    lines = ["ply", "format binary_little_endian 1.0", "comment PACS Cloud, not for diagnosis"]
    lines.append(f"comment units mm, patient coordinates {model.coordinates}")
    vertices = triangles = 0
    for part, slug in zip(model.parts, model.slugs(), strict=True):
        lines.append(f"comment part {slug}: vertices from {vertices}, faces from {triangles}")
        vertices += len(part.surface.points)
        triangles += len(part.surface.triangles)
    lines.append(f"element vertex {vertices}")
    lines += [f"property float {axis}" for axis in "xyz"]
    lines += [f"property uchar {color}" for color in ("red", "green", "blue")]
    lines += [f"element face {triangles}", "property list uchar int vertex_indices", "end_header", ""]
    return "\n".join(lines)
