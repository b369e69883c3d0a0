"""Wavefront OBJ with MTL: text, indexed; each part is an object with a material of its color."""

from __future__ import annotations

from pathlib import Path

from pacs.mesh.writers.model import Model
from pacs.mesh.writers.text import lines


def write(model: Model, place: Path, name: str) -> list[Path]:
    """Write the geometry and, beside it, the materials."""
    path, materials = place / f"{name}.obj", place / f"{name}.mtl"
    slugs = model.slugs()
    with path.open("wb") as file:
        file.write(f"# PACS Cloud, not for diagnosis\n# units mm, patient coordinates {model.coordinates}\n".encode())
        file.write(f"mtllib {materials.name}\n".encode())
        offset = 1
        for part, slug in zip(model.parts, slugs, strict=True):
            file.write(f"o {slug}\n".encode())
            file.writelines(lines("v %.5f %.5f %.5f\n", part.surface.points))
            file.write(f"usemtl {slug}\n".encode())
            file.writelines(lines("f %d %d %d\n", part.surface.triangles + offset))
            offset += len(part.surface.points)
    materials.write_text(
        "".join(_material(slug, part.color_rgb) for part, slug in zip(model.parts, slugs, strict=True))
    )
    return [path, materials]


def _material(slug: str, color_rgb: tuple[int, int, int]) -> str:
    color = " ".join(f"{channel / 255:.4f}" for channel in color_rgb)
    return f"newmtl {slug}\nKd {color}\nKa 0.0000 0.0000 0.0000\nKs 0.0000 0.0000 0.0000\nd 1.0\nillum 1\n"
