"""What writers are given."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from pacs.mesh.surface import Surface


@dataclass(frozen=True)
class NamedSurface:
    """One part of a model; its color is sRGB, 0 to 255."""

    name: str
    color_rgb: tuple[int, int, int]
    surface: Surface

    @property
    def slug(self) -> str:
        """The name in letters, digits and hyphens of ASCII, for files and for formats that know no others."""
        plain = unicodedata.normalize("NFKD", self.name).encode("ascii", "ignore").decode()
        return re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-").lower() or "part"


@dataclass(frozen=True)
class Model:
    """Parts in mm of the patient, and the name of their coordinates, LPS or RAS."""

    parts: tuple[NamedSurface, ...]
    coordinates: str = "LPS"

    def slugs(self) -> list[str]:
        """Return a slug for each part, none twice."""
        slugs: list[str] = []
        for part in self.parts:
            slug, number = part.slug, 2
            while slug in slugs:
                slug, number = f"{part.slug}-{number}", number + 1
            slugs.append(slug)
        return slugs
