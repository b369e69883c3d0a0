"""GLB as Khronos' own validator sees it: nothing to say against any that is written here."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.gltf_validator import Validate, gltf_validator
from fixtures.mesh_sources import ArraySource, ball_voxels, recipe_of, small_phantom, volume_of
from pacs.mesh import pipeline, preview
from pacs.mesh.errors import EmptyPart
from pacs.mesh.field import threshold_field
from pacs.mesh.recipe import Format
from pacs.mesh.surface import EMPTY, Surface, extract
from pacs.mesh.writers import Model, NamedSurface, glb

NAMES = ('Hueso <ñ> & "más"', "血管", "ossa/ti\\bia", "", "bone", "bone", "0", "{}", "😀", "a" * 200, "\t\n", "é" * 64)
# Nothing in it is drawn: only an empty model has that, which no job writes.
EMPTY_REMARKS = {"NODE_EMPTY /nodes/0"}


@pytest.fixture(scope="module")
def validate() -> Iterator[Validate]:
    """Return the validator."""
    with gltf_validator() as running:
        yield running


def _ball(radius: float) -> Surface:
    volume = volume_of(ball_voxels((24, 24, 24), (11.3, 11.6, 10.8), radius))
    affine = np.array([[0.7, 0, 0, -120], [0, 0.7, 0.2, 35], [0, 0, 1.1, -900], [0, 0, 0, 1]])
    return extract(threshold_field(volume, volume.voxels, 1000, None)).moved(affine)


def _parts(*names: str) -> tuple[NamedSurface, ...]:
    return tuple(NamedSurface(name, (20 * at % 256, 255, at), _ball(4 + at / 4)) for at, name in enumerate(names))


SMALLEST = Surface(
    np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32),
    np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.int32),
)
MODELS: dict[str, Callable[[], Model]] = {
    "one part": lambda: Model(_parts("bone")),
    "many parts": lambda: Model(_parts(*NAMES)),
    "RAS": lambda: Model(_parts("bone", "vessel"), "RAS"),
    "an empty part beside another": lambda: Model((NamedSurface("nothing", (0, 0, 0), EMPTY), *_parts("bone"))),
    "black and white": lambda: Model(
        tuple(NamedSurface(str(gray), (gray,) * 3, _ball(5)) for gray in (0, 255))  # type: ignore[arg-type]
    ),
    "four triangles": lambda: Model((NamedSurface("smallest", (1, 2, 3), SMALLEST),)),
}


@pytest.mark.parametrize("name", MODELS)
def test_model_has_no_fault(validate: Validate, name: str) -> None:
    """No error, no warning, no remark; and it counts the triangles, materials and names that were written."""
    model = MODELS[name]()
    verdict = validate(b"".join(glb.pieces(model)))
    assert (verdict.errors, verdict.warnings, verdict.remarks) == ((), (), ())
    drawn = [part.surface for part in model.parts if len(part.surface.triangles)]
    assert verdict.info["version"] == "2.0"
    assert verdict.info["materialCount"] == verdict.info["drawCallCount"] == len(drawn)
    assert verdict.info["totalTriangleCount"] == sum(len(surface.triangles) for surface in drawn)
    assert verdict.info["totalVertexCount"] == sum(len(surface.points) for surface in drawn)


WAYS: dict[str, dict[str, Any]] = {
    "as extracted": {"smooth_iterations": 0},
    "smoothed and reduced": {"reduce": {"share": 0.9}},
    "hardly any triangles": {"reduce": {"triangles": 300}, "smooth_iterations": 60},
    "within a deviation": {"reduce": {"deviation_mm": 0.5}},
    "RAS": {"coordinates": "RAS", "reduce": {"share": 0.5}},
    "two tissues": {
        "parts": [
            {"name": "hueso", "color": "#e8dcc3", "select": {"kind": "preset", "preset": "bone"}},
            {"name": "umbral", "color": "#c81e28", "select": {"kind": "window", "low": 500}},
        ],
        "reduce": {"share": 0.9},
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_file_of_a_whole_job_has_no_fault(validate: Validate, way: str, tmp_path: Path) -> None:
    """What smoothing and reduction leave, slivers too, is still flawless, and as many triangles as the report says."""
    phantom = ArraySource(small_phantom(noise_hu=25)[1])
    report = pipeline.make(phantom, recipe_of(**{"formats": [Format.GLB], **WAYS[way]}), tmp_path)
    verdict = validate((tmp_path / "model.glb").read_bytes())
    assert (verdict.errors, verdict.warnings, verdict.remarks) == ((), (), ())
    assert verdict.info["totalTriangleCount"] == report.triangles


def test_preview_has_no_fault(validate: Validate) -> None:
    """The coarse model of the page is a file like others."""
    verdict = validate(preview.make(ArraySource(small_phantom()[1]), "validated", recipe_of()))
    assert (verdict.errors, verdict.warnings, verdict.remarks) == ((), (), ())


def test_empty_model_is_refused_and_would_be_valid(validate: Validate, tmp_path: Path) -> None:
    """A job without anything to draw writes nothing; the writer itself would write a scene that is empty and valid."""
    recipe = recipe_of(low=30_000.0, formats=[Format.GLB])
    with pytest.raises(EmptyPart):
        pipeline.make(ArraySource(small_phantom()[1]), recipe, tmp_path)
    assert not list(tmp_path.glob("*.glb"))
    verdict = validate(b"".join(glb.pieces(Model((NamedSurface("nothing", (0, 0, 0), EMPTY),)))))
    assert (verdict.errors, verdict.warnings, set(verdict.remarks)) == ((), (), EMPTY_REMARKS)


FAULTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "ACCESSOR_MAX_MISMATCH": lambda document: document["accessors"][0]["max"].__setitem__(0, 1e6),
    "MESH_PRIMITIVE_INDICES_ACCESSOR_WITH_BYTESTRIDE": lambda document: document["bufferViews"][2].update(byteStride=4),
    "ACCESSOR_TOO_LONG": lambda document: document["accessors"][2].update(count=10**7),
    "ROTATION_NON_UNIT": lambda document: document["nodes"][0].update(rotation=[0.9, 0.9, 0, 0]),
    "UNRESOLVED_REFERENCE": lambda document: document["meshes"][0]["primitives"][0].update(material=5),
}


@pytest.mark.parametrize("code", FAULTS)
def test_validator_is_not_blind(validate: Validate, code: str) -> None:
    """Each of these faults is told by its code."""
    content = b"".join(glb.pieces(Model(_parts("bone"))))
    (size,) = struct.unpack("<I", content[12:16])
    document = json.loads(content[20 : 20 + size])
    FAULTS[code](document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + size :]
    broken = b"glTF" + struct.pack("<III", 2, 20 + len(text) + len(rest), len(text)) + b"JSON" + text + rest
    assert code in {told.split()[0] for told in validate(broken).errors}
