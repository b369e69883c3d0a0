"""Files read back by others: trimesh, meshio, lib3mf; GLB also by its makers' validator (test_mesh_gltf_validator)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import lib3mf
import meshio
import numpy as np
import pytest
import trimesh

from fixtures.mesh_sources import ball_voxels, volume_of
from pacs.mesh.field import threshold_field
from pacs.mesh.measuring import volume_and_area
from pacs.mesh.recipe import Format
from pacs.mesh.surface import EMPTY, Surface, extract
from pacs.mesh.writers import MEDIA_TYPES, Model, NamedSurface, write

BONE, VESSEL = (232, 220, 195), (200, 30, 40)


def _ball(radius: float) -> Surface:
    volume = volume_of(ball_voxels((34, 34, 34), (16.3, 16.6, 15.8), radius))
    affine = np.array([[0.7, 0, 0, -120], [0, 0.7, 0.2, 35], [0, 0, 1.1, -900], [0, 0, 0, 1]])
    return extract(threshold_field(volume, volume.voxels, 1000, None)).moved(affine)


@pytest.fixture(scope="module")
def model() -> Model:
    """Give two parts with names that need care."""
    return Model((NamedSurface("Hueso <ñ> & más", BONE, _ball(12)), NamedSurface("vessel", VESSEL, _ball(6))))


@pytest.fixture(scope="module")
def volumes_mm3(model: Model) -> list[float]:
    """Tell what each part encloses."""
    return [volume_and_area(part.surface)[0] for part in model.parts]


def _written(model: Model, kind: Format, place: Path) -> list[Path]:
    return [one.path for one in write(model, kind, place)]


def test_stl_is_read_by_trimesh_and_meshio(model: Model, volumes_mm3: list[float], tmp_path: Path) -> None:
    """Each part is a file; joined by coordinates it is closed and has its volume in mm, and normals face outward."""
    paths = _written(model, Format.STL, tmp_path)
    assert [path.name for path in paths] == ["model-hueso-n-mas.stl", "model-vessel.stl"]
    for path, volume_mm3 in zip(paths, volumes_mm3, strict=True):
        read = trimesh.load(path)
        assert read.is_watertight
        assert read.volume == pytest.approx(volume_mm3, rel=1e-4)
        assert len(meshio.read(path).cells_dict["triangle"]) == len(read.faces)
        records = np.frombuffer(path.read_bytes()[84:], np.dtype([("n", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")]))
        np.testing.assert_allclose(np.linalg.norm(records["n"], axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(records["n"], read.face_normals, atol=1e-3)
        header = path.read_bytes()[:80]
        assert b"mm" in header
        assert b"LPS" in header
        assert not header.startswith(b"solid")


def test_single_part_is_called_as_the_model(model: Model, tmp_path: Path) -> None:
    """With one part there is one file, with nothing added to its name."""
    assert [path.name for path in _written(Model(model.parts[:1]), Format.STL, tmp_path)] == ["model.stl"]


def test_ply_keeps_indices_and_colors(model: Model, volumes_mm3: list[float], tmp_path: Path) -> None:
    """All parts are in one file, vertices shared, each with the color of its part."""
    (path,) = _written(model, Format.PLY, tmp_path)
    read = trimesh.load(path, process=False)
    assert len(read.vertices) == sum(len(part.surface.points) for part in model.parts)
    assert read.is_watertight
    assert read.volume == pytest.approx(sum(volumes_mm3), rel=1e-5)
    assert {tuple(color[:3]) for color in np.unique(read.visual.vertex_colors, axis=0).tolist()} == {BONE, VESSEL}
    assert len(meshio.read(path).cells_dict["triangle"]) == len(read.faces)


def test_obj_has_parts_with_materials(model: Model, volumes_mm3: list[float], tmp_path: Path) -> None:
    """Each part is an object of its own with its color from the MTL beside."""
    path, materials = _written(model, Format.OBJ, tmp_path)
    assert materials.name in path.read_text()
    read = trimesh.load_scene(path, process=False, group_material=False, split_objects=True).geometry
    assert sorted(read) == ["hueso-n-mas", "vessel"]
    for name, volume_mm3, color in zip(("hueso-n-mas", "vessel"), volumes_mm3, (BONE, VESSEL), strict=True):
        assert read[name].volume == pytest.approx(volume_mm3, rel=1e-4)
        np.testing.assert_allclose(read[name].visual.material.diffuse[:3], color, atol=1)
    assert len(meshio.read(path).points) == sum(len(part.surface.points) for part in model.parts)


def test_glb_is_in_meters_with_names_and_colors(model: Model, volumes_mm3: list[float], tmp_path: Path) -> None:
    """A reader of glTF sees a body of so many cubic meters, upright: superior is up, anterior is in front."""
    (path,) = _written(model, Format.GLB, tmp_path)
    scene = trimesh.load_scene(path)
    names = {part.name for part in model.parts}
    assert set(scene.geometry) == names
    read = scene.to_geometry()
    assert read.volume == pytest.approx(sum(volumes_mm3) * 1e-9, rel=1e-4)
    points = model.parts[0].surface.points
    assert read.bounds[1][1] == pytest.approx(points[:, 2].max() / 1000, abs=1e-5)
    assert read.bounds[1][2] == pytest.approx(-points[:, 1].min() / 1000, abs=1e-5)
    assert read.bounds[1][0] == pytest.approx(points[:, 0].max() / 1000, abs=1e-5)
    for part in model.parts:
        color = scene.geometry[part.name].visual.material.baseColorFactor
        linear = [(channel / 255 + 0.055) ** 2.4 / 1.055**2.4 for channel in part.color_rgb]
        np.testing.assert_allclose(np.asarray(color[:3]) / 255, linear, atol=0.01)


def test_ras_stands_as_upright_in_glb(model: Model, tmp_path: Path) -> None:
    """A model in RAS is shown in the same place as the same one in LPS."""
    turned = tuple(
        NamedSurface(part.name, part.color_rgb, part.surface.moved(np.diag([-1.0, -1.0, 1.0, 1.0])))
        for part in model.parts
    )
    bounds = []
    for coordinates, parts in (("LPS", model.parts), ("RAS", turned)):
        (path,) = _written(Model(parts, coordinates), Format.GLB, tmp_path)
        bounds.append(trimesh.load_scene(path).bounds)
    np.testing.assert_allclose(*bounds, atol=1e-6)


def test_3mf_is_read_by_lib3mf(model: Model, volumes_mm3: list[float], tmp_path: Path) -> None:
    """Its own library finds no warning, millimeters, closed and oriented objects, names and colors."""
    (path,) = _written(model, Format.THREE_MF, tmp_path)
    wrapper = lib3mf.get_wrapper()
    read = wrapper.CreateModel()
    reader = read.QueryReader("3mf")
    reader.SetStrictModeActive(StrictModeActive=True)
    reader.ReadFromFile(str(path))
    assert reader.GetWarningCount() == 0
    assert read.GetUnit() == lib3mf.ModelUnit.MilliMeter
    objects = read.GetMeshObjects()
    for part, volume_mm3 in zip(model.parts, volumes_mm3, strict=True):
        assert objects.MoveNext()
        found = objects.GetCurrentMeshObject()
        assert found.GetName() == part.name
        assert found.IsManifoldAndOriented()
        points = np.array([list(one.Coordinates) for one in found.GetVertices()], np.float32)
        triangles = np.array([list(one.Indices) for one in found.GetTriangleIndices()], np.int32)
        assert volume_and_area(Surface(points, triangles))[0] == pytest.approx(volume_mm3, rel=1e-4)
        resource, property_id, _ = found.GetObjectLevelProperty()
        color = read.GetBaseMaterialGroupByID(resource).GetDisplayColor(property_id)
        assert (color.Red, color.Green, color.Blue) == part.color_rgb
    assert not objects.MoveNext()


def test_3mf_is_read_by_trimesh(model: Model, volumes_mm3: list[float], tmp_path: Path) -> None:
    """Another reader sees the same volume."""
    pytest.importorskip("networkx", reason="trimesh reads 3MF with networkx only")
    (path,) = _written(model, Format.THREE_MF, tmp_path)
    scene = trimesh.load_scene(path)
    assert sum(one.volume for one in scene.geometry.values()) == pytest.approx(sum(volumes_mm3), rel=1e-4)
    assert scene.units == "millimeter"


@pytest.mark.parametrize("kind", list(Format))
def test_same_model_gives_the_same_bytes(model: Model, kind: Format, tmp_path: Path) -> None:
    """Written twice, in two places, a file is the same; its media type is known."""
    digests = []
    for name in "ab":
        (tmp_path / name).mkdir()
        digests.append([hashlib.sha256(path.read_bytes()).digest() for path in _written(model, kind, tmp_path / name)])
    assert digests[0] == digests[1]
    assert all(one.media_type == MEDIA_TYPES[one.path.suffix] for one in write(model, kind, tmp_path))


@pytest.mark.parametrize("kind", list(Format))
def test_empty_part_is_written_and_read(model: Model, kind: Format, tmp_path: Path) -> None:
    """A part without triangles does no harm to the others."""
    parts = (NamedSurface("nothing", BONE, EMPTY), model.parts[1])
    path = _written(Model(parts), kind, tmp_path)[-1]
    if path.suffix == ".mtl":
        path = path.with_suffix(".obj")
    if kind is Format.THREE_MF:
        read = lib3mf.get_wrapper().CreateModel()
        read.QueryReader("3mf").ReadFromFile(str(path))
        assert read.GetMeshObjects().Count() == 1
        return
    assert len(trimesh.load_scene(path).to_geometry().faces) == len(model.parts[1].surface.triangles)
