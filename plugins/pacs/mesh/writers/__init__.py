"""Files of models: binary STL, binary PLY, OBJ with MTL, GLB and 3MF.

Lengths are in mm; GLB says so by the scale of its root, glTF knows only metres. The same model gives the same bytes:
no file holds a time, and none a name but those of the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pacs.mesh.recipe import Format
from pacs.mesh.surface import Surface
from pacs.mesh.writers import glb, obj, ply, stl, three_mf
from pacs.mesh.writers.model import Model, NamedSurface

__all__ = ["MEDIA_TYPES", "WRITERS", "Model", "NamedSurface", "Surface", "WrittenFile", "write"]


@dataclass(frozen=True)
class WrittenFile:
    """A file that was written, and what it is."""

    path: Path
    format: Format
    media_type: str


# Of each format, what writes a model into a folder under a name without suffix, and returns the files.
WRITERS: dict[Format, Callable[[Model, Path, str], Sequence[Path]]] = {
    Format.STL: stl.write,
    Format.PLY: ply.write,
    Format.OBJ: obj.write,
    Format.GLB: glb.write,
    Format.THREE_MF: three_mf.write,
}
MEDIA_TYPES = {
    ".stl": "model/stl",
    ".ply": "application/octet-stream",
    ".obj": "model/obj",
    ".mtl": "model/mtl",
    ".glb": "model/gltf-binary",
    ".3mf": "model/3mf",
}
"""By suffix, as registered at IANA; PLY is not registered."""


def write(model: Model, kind: Format, place: Path, name: str = "model") -> list[WrittenFile]:
    """Write `model` into the folder `place` as files called `name` with the suffix of their kind."""
    paths = WRITERS[kind](model, place, name)
    return [WrittenFile(path, kind, MEDIA_TYPES[path.suffix]) for path in paths]
