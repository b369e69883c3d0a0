"""Binary glTF 2.0 (Khronos): indexed, with normals, each part a mesh with name and material.

The root turns the patient upright (glTF's y is up, superior here) and says by its scale that lengths are in mm.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacs.mesh.surface import Surface
from pacs.mesh.writers.model import Model, NamedSurface

_FLOAT, _UNSIGNED_INT = 5126, 5125
_VERTICES, _INDICES = 34962, 34963
_HALF_ROOT = 0.7071067811865476
# Quaternions (x, y, z, w) that bring superior to +y and anterior to +z, as glTF's front.
_UPRIGHT = {"LPS": [_HALF_ROOT, 0.0, 0.0, -_HALF_ROOT], "RAS": [0.0, _HALF_ROOT, _HALF_ROOT, 0.0]}
_MM = 0.001
_STRAIGHT_PART = 0.04045
_PER_PART = 3  # accessors and buffers: positions, normals, indices


def write(model: Model, place: Path, name: str) -> list[Path]:
    """Write all parts into one file."""
    path = place / f"{name}.glb"
    with path.open("wb") as file:
        file.writelines(pieces(model))
    return [path]


def pieces(model: Model) -> list[bytes]:
    """Return the file in pieces."""
    parts = [part for part in model.parts if len(part.surface.triangles)]
    buffers = [array for part in parts for array in _arrays(part.surface)]
    document = json.dumps(_document(model, parts, buffers), separators=(",", ":")).encode()
    document += b" " * (-len(document) % 4)
    size = sum(array.nbytes for array in buffers)
    binary = [size.to_bytes(4, "little"), b"BIN\0", *(array.tobytes() for array in buffers)] if buffers else []
    chunks = [len(document).to_bytes(4, "little"), b"JSON", document, *binary]
    total = 12 + sum(map(len, chunks))
    return [b"glTF", (2).to_bytes(4, "little"), total.to_bytes(4, "little"), *chunks]


def _arrays(surface: Surface) -> tuple[NDArray[Any], ...]:
    """Positions, normals, indices; each a multiple of four bytes long, as accessors want them aligned."""
    return (
        np.ascontiguousarray(surface.points, "<f4"),
        _normals(surface),
        np.ascontiguousarray(surface.triangles, "<u4"),
    )


def _normals(surface: Surface) -> NDArray[np.float32]:
    """Return a unit vector for each vertex: the mean of its triangles, weighted by their areas."""
    corners = [surface.points[surface.triangles[:, corner]] for corner in range(3)]
    faces = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    at = surface.triangles.reshape(-1)
    sums = [np.bincount(at, np.repeat(faces[:, axis], 3), len(surface.points)) for axis in range(3)]
    normals = np.stack(sums, axis=1)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    upward = np.broadcast_to([0.0, 0.0, 1.0], normals.shape)
    return np.where(lengths > 0, normals / np.where(lengths > 0, lengths, 1), upward).astype("<f4")


def _document(model: Model, parts: Sequence[NamedSurface], buffers: Sequence[NDArray[Any]]) -> dict[str, Any]:
    numbers = range(len(parts))
    root = {"name": "model", "rotation": _UPRIGHT[model.coordinates], "scale": [_MM] * 3}
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "PACS Cloud, not for diagnosis"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [root | ({"children": [1 + number for number in numbers]} if parts else {})],
    }
    document["nodes"] += [{"name": part.name, "mesh": number} for number, part in enumerate(parts)]
    if parts:
        document |= {
            "meshes": [_mesh(part.name, number) for number, part in enumerate(parts)],
            "materials": [_material(part) for part in parts],
            "accessors": [
                one for number, part in enumerate(parts) for one in _accessors(part.surface, _PER_PART * number)
            ],
            "bufferViews": _views(buffers),
            "buffers": [{"byteLength": sum(array.nbytes for array in buffers)}],
        }
    return document


def _mesh(name: str, number: int) -> dict[str, Any]:
    first = _PER_PART * number
    attributes = {"POSITION": first, "NORMAL": first + 1}
    primitive = {"attributes": attributes, "indices": first + 2, "material": number}
    return {"name": name, "primitives": [primitive]}


def _material(part: NamedSurface) -> dict[str, Any]:
    color = [*(_linear(channel / 255) for channel in part.color_rgb), 1.0]
    surface = {"baseColorFactor": color, "metallicFactor": 0.0, "roughnessFactor": 0.8}
    return {"name": part.name, "pbrMetallicRoughness": surface}


def _linear(channel: float) -> float:
    """Return a channel of sRGB in linear light, as glTF wants it (IEC 61966-2-1)."""
    return round(channel / 12.92 if channel <= _STRAIGHT_PART else ((channel + 0.055) / 1.055) ** 2.4, 6)


def _accessors(surface: Surface, view: int) -> list[dict[str, Any]]:
    low, high = surface.points.min(axis=0), surface.points.max(axis=0)
    vectors = {"componentType": _FLOAT, "count": len(surface.points), "type": "VEC3"}
    indices = {"componentType": _UNSIGNED_INT, "count": surface.triangles.size, "type": "SCALAR"}
    return [
        {"bufferView": view, **vectors, "min": low.tolist(), "max": high.tolist()},
        {"bufferView": view + 1, **vectors},
        {"bufferView": view + 2, **indices},
    ]


def _views(buffers: Sequence[NDArray[Any]]) -> list[dict[str, Any]]:
    views, offset = [], 0
    for number, array in enumerate(buffers):
        target = _INDICES if number % _PER_PART == _PER_PART - 1 else _VERTICES
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": array.nbytes, "target": target})
        offset += array.nbytes
    return views
