"""What was made and how good it is: goes with every model, as JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from pacs.mesh.recipe import Format, Recipe

type Point = tuple[float, float, float]
type Value = float | int | str | bool | None


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceInstance(_Model):
    """One instance the model was made from."""

    sop_class_uid: str
    sop_instance_uid: str


class Notice(_Model):
    """Something the user of the model should know. `code` is translated by the page, with `values`.

    Codes are those of `pacs.mesh.volume.Warning`, and those of this package: `open_edges`, `touching_edges` (STL
    readers that weld by coordinates see edges of four triangles), `thin_wall`, `target_missed`, `deviation_missed`
    (smoothing counts, too), `specks_dropped` (pieces and cavities under `size_mm`, of which reduction left nothing),
    `volume_lost` (a segment that is thin or small encloses less than its voxels fill).
    """

    code: str
    values: dict[str, Value] = {}


class BoundingBox(_Model):
    """The smallest box along the axes of the file that holds the model, in mm."""

    low_mm: Point
    high_mm: Point

    @property
    def size_mm(self) -> Point:
        """Its edges along x, y and z."""
        x, y, z = (high - low for low, high in zip(self.low_mm, self.high_mm, strict=True))
        return x, y, z


class Deviation(_Model):
    """How far the reduced and smoothed surface is from the full isosurface, in mm, at sampled points.

    Specks that were left out are not measured; `PartReport.specks_dropped` counts them.
    """

    mean_mm: float
    p99_mm: float
    max_mm: float
    samples: int


class Thickness(_Model):
    """Thickness of the walls in mm, by rays from sampled points inward along the normal."""

    thinnest_mm: float
    p01_mm: float
    median_mm: float
    samples: int


class EdgeCheck(_Model):
    """Whether the surface bounds a body: each edge belongs to two triangles that run through it in opposite directions.

    Attributes
    ----------
    boundary_edges : edges of one triangle, holes.
    non_manifold_edges : edges of three or more triangles, or of two that turn against each other.
    welded_edges : bad edges that a reader sees who joins vertices by their coordinates in float32, as with STL.
    places_mm : where some of the bad edges are.
    """

    boundary_edges: int
    non_manifold_edges: int
    welded_edges: int
    places_mm: tuple[Point, ...] = ()

    @property
    def is_watertight(self) -> bool:
        """Whether the surface is closed and manifold by index."""
        return self.boundary_edges == 0 and self.non_manifold_edges == 0


class PartReport(_Model):
    """One tissue of the model.

    Attributes
    ----------
    level : value of the isosurface in `unit`; None for masks.
    upper_level : upper end of the window, if one was asked for.
    full_triangles : of the isosurface before any reduction.
    pieces, pieces_dropped : connected pieces of the tissue that stayed and that `keep` took away.
    specks_dropped : pieces and cavities that reduction left out, being smaller than twice the deviation asked for.
    mask_mm3 : what the voxels of a segment or region fill, where all of it was meshed; None else.
    deviation : nothing where the isosurface is given as it is; None where nothing is left of the part.
    thickness : None where it was not measured: of more than a million triangles as they were made.
    """

    name: str
    color: str
    level: float | None
    upper_level: float | None = None
    unit: str
    triangles: int
    vertices: int
    full_triangles: int
    pieces: int | None
    pieces_dropped: int
    specks_dropped: int = 0
    volume_mm3: float
    mask_mm3: float | None = None
    area_mm2: float
    bounding_box: BoundingBox
    is_watertight: bool
    edges: EdgeCheck
    deviation: Deviation | None
    thickness: Thickness | None


class ModelFile(_Model):
    """A file of the model, relative to the place it was made in."""

    name: str
    format: Format
    media_type: str
    size_bytes: int
    sha256: str


class Report(_Model):
    """The whole model: where it comes from, how it was made, what it is.

    Attributes
    ----------
    versions : of the programs that decide what the model looks like.
    seconds : time of each stage.
    peak_memory_bytes : highest resident memory of the process.
    """

    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    modality: str
    sources: tuple[SourceInstance, ...]
    recipe: Recipe
    versions: dict[str, str]
    coordinates: str
    length_unit: str = "mm"
    voxels: tuple[int, int, int]
    spacing_mm: Point
    parts: tuple[PartReport, ...]
    triangles: int
    volume_mm3: float
    area_mm2: float
    bounding_box: BoundingBox
    is_watertight: bool
    notices: tuple[Notice, ...]
    files: tuple[ModelFile, ...]
    seconds: dict[str, float]
    peak_memory_bytes: int
