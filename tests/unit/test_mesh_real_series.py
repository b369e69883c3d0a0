"""Real series: SimpleITK reads the same voxels, and what it misplaces or drops is placed or refused here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from numpy.typing import NDArray

from fixtures.mesh_files import parts_of
from fixtures.mesh_sources import ArraySource
from fixtures.real_series import ENHANCED, READABLE, REAL, instances, unpacked_phantom
from pacs.mesh import errors, pipeline
from pacs.mesh.edges import bad_edges
from pacs.mesh.errors import MeshError
from pacs.mesh.reading.series import InstanceFile, read_series, sub_volumes
from pacs.mesh.recipe import Recipe
from pacs.mesh.segmentation import rtstruct
from pacs.mesh.volume import Volume

EDGE = REAL / "edge_small" / "failing"
BONE = {"kind": "preset", "preset": "bone"}
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="the real series are not beside the checkout")


@pytest.fixture(scope="module")
def alderson(tmp_path_factory: pytest.TempPathFactory) -> list[InstanceFile]:
    """Return the CT of the phantom that the RTSTRUCT was drawn on."""
    return unpacked_phantom(tmp_path_factory.mktemp("rt199"))


@pytest.fixture(scope="module")
def phantom(alderson: list[InstanceFile]) -> Volume:
    """Return the phantom as it is read."""
    return read_series(alderson)


def _by_simpleitk(files: Sequence[InstanceFile]) -> NDArray[np.int16]:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(sorted((str(file.path) for file in files), key=lambda name: _header(Path(name)).place[2]))
    return SimpleITK.GetArrayFromImage(reader.Execute())


@dataclass(frozen=True)
class _Header:
    sop_instance_uid: str
    place: list[float]


@cache
def _header(path: Path) -> _Header:
    header = pydicom.dcmread(path, specific_tags=["SOPInstanceUID", "ImagePositionPatient"])
    return _Header(header.SOPInstanceUID, [float(part) for part in header.ImagePositionPatient])


def _real(volume: Volume) -> NDArray[np.float64]:
    return volume.voxels[1:-1, 1:-1, 1:-1] * volume.slope + volume.intercept


def _off_positions_mm(files: Sequence[InstanceFile], volume: Volume, *, is_resampled: bool = False) -> float:
    """Return how far the worst slice's first pixel lies from the nearest layer of the volume."""
    to_voxels = np.linalg.inv(volume.geometry.affine)
    worst = 0.0
    for file in files:
        voxel = to_voxels @ [*_header(file.path).place, 1]
        voxel[2] -= 0 if is_resampled else np.rint(voxel[2])
        voxel[2] *= not is_resampled
        worst = max(worst, float(np.linalg.norm(volume.geometry.affine[:3, :3] @ (voxel[:3] - [1, 1, 0]))))
    return worst


def test_phantom_is_read_as_by_simpleitk(alderson: list[InstanceFile], phantom: Volume) -> None:
    """199 slices, stored in no order, are bit by bit those of another reader, in place within 0.01 mm."""
    assert np.array_equal(_real(phantom), _by_simpleitk(alderson))
    assert _off_positions_mm(alderson, phantom) <= 0.01
    assert len(phantom.sources) == 199


def test_compressed_chest_is_read_as_by_simpleitk() -> None:
    """JPEG Lossless slices of a real chest are bit by bit those of another reader."""
    files = sorted(instances(REAL / "ct_chest_jpegll148"), key=lambda file: _header(file.path).place[2])[50:80]
    volume = read_series(files)
    assert np.array_equal(_real(volume), _by_simpleitk(files))
    assert _off_positions_mm(files, volume) <= 0.01


def test_head_with_uneven_gaps_and_tilt_is_in_place() -> None:
    """28 slices 1.08 to 7 mm apart under a tilted gantry are found in the volume where they were measured."""
    files = instances(REAL / "ct_head_ge_vartilt28")
    volume = read_series(files)
    codes = {warning.code: dict(warning.values) for warning in volume.warnings}
    assert codes["tilt"] == {"degrees": 18.5}
    assert codes["uneven_gaps_resampled"]["smallest_mm"] == 1.081
    assert _off_positions_mm(files, volume, is_resampled=True) <= 0.01
    to_voxels = np.linalg.inv(volume.geometry.affine)
    for file in files:
        image = pydicom.dcmread(file.path)
        place = (to_voxels @ [*_header(file.path).place, 1])[2]
        below = int(np.clip(np.floor(place), 1, volume.voxels.shape[0] - 3))
        share = place - below
        layers = volume.voxels[below : below + 2, 1:-1, 1:-1].astype(float)
        found = layers[0] * (1 - share) + layers[1] * share
        # Half a voxel along the stack is what a slice may be blurred by, not moved by.
        assert np.corrcoef(found.ravel(), image.pixel_array.ravel())[0, 1] > 0.98
        assert abs(share - np.rint(share)) <= 0.5


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("notavolume/001", errors.SamePlaceTwice),
        ("sliceincrement/001", errors.MissingSlice),
        ("sliceincrement/002", errors.MissingSlice),
        ("sliceorientation/001", errors.SeveralVolumes),
    ],
)
def test_faulty_series_is_refused(folder: str, kind: type[MeshError]) -> None:
    """Real series with a slice missing, all in one place or of two orientations are refused by name."""
    with pytest.raises(kind):
        read_series(instances(EDGE / folder))


def test_truncated_slice_is_refused_not_dropped(alderson: list[InstanceFile]) -> None:
    """A slice that was cut short stops the series; other readers silently leave it out."""
    truncated = InstanceFile(REAL / "edge_small" / "truncated_slice.dcm")
    cut = _header(truncated.path).sop_instance_uid
    others = [file for file in alderson if _header(file.path).sop_instance_uid != cut]
    assert len(others) == len(alderson) - 1
    with pytest.raises(errors.TruncatedInstance, match=cut):
        read_series([*others, truncated])


def test_tilted_slices_are_sheared() -> None:
    """Four slices of a tilted gantry lie where they were measured."""
    files = instances(EDGE / "gantrytilting" / "001")
    assert _off_positions_mm(files, read_series(files)) <= 0.01


@pytest.mark.parametrize("name", ["anatomical/001", "anatomical/001_implicit"])
def test_enhanced_mr_is_read_with_the_values_of_its_frames(name: str) -> None:
    """The frames of an enhanced MR have their rescaled values, in the order of their places."""
    (file,) = instances(ENHANCED / name)
    volume, image = read_series([file]), pydicom.dcmread(file.path)
    groups = image.PerFrameFunctionalGroupsSequence
    normal = volume.geometry.affine[:3, 2]
    places = [np.dot(group.PlanePositionSequence[0].ImagePositionPatient, normal) for group in groups]
    rescales = [group.PixelValueTransformationSequence[0] for group in groups]
    expected = [
        image.pixel_array[frame] * float(rescales[frame].RescaleSlope) + float(rescales[frame].RescaleIntercept)
        for frame in np.argsort(places)
    ]
    assert np.allclose(_real(volume), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["dti/001", "dti/001_implicit", "fmri/001", "fmri/001_implicit"])
def test_enhanced_mr_of_many_volumes_offers_each(name: str) -> None:
    """Diffusion directions and times of an enhanced MR are volumes of their own."""
    files = instances(ENHANCED / name)
    found = sub_volumes(files)
    assert [one.count for one in found] == [8, 8, 8, 8]
    assert len({one.description for one in found}) == 4
    assert read_series(files, "3").voxels.shape[0] == 10


@pytest.mark.parametrize(("number", "name"), [(1, "Lung_L"), (2, "Lung_R")])
def test_rtstruct_volumes_are_those_of_the_masks(phantom: Volume, number: int, name: str) -> None:
    """The lungs have the volume of the masks that plastimatch made, within 1 %."""
    drawn = InstanceFile(REAL / "rt_struct" / "artificial_structures.dcm")
    mask = rtstruct.mask(drawn, number, phantom)
    expected = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(REAL / "rt_masks" / f"{name}.nii.gz")) > 0
    found = mask.voxels[1:-1, 1:-1, 1:-1] > 0
    assert {region.number: region.name for region in rtstruct.segments(drawn)}[number] == name
    assert found.sum() == pytest.approx(expected.sum(), rel=0.01)
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.98


def test_sphere_has_the_volume_that_it_was_given(phantom: Volume) -> None:
    """The sphere of 2 cm radius drawn as contours has the volume of a sphere, but for its steps."""
    drawn = InstanceFile(REAL / "rt_struct" / "artificial_structures.dcm")
    mask = rtstruct.mask(drawn, 5, phantom)
    volume_mm3 = int(mask.voxels.sum()) * mask.geometry.voxel_volume_mm3
    assert volume_mm3 == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.2)


def _has_whole_model(volume: Volume, select: dict[str, str], place: Path) -> bool:
    """Make a model as it is ordered by default, and read it back."""
    recipe = Recipe.model_validate({"parts": [{"select": select}], "reduce": {"share": 0.9}, "formats": ["ply"]})
    report = pipeline.make(ArraySource(volume), recipe, place)
    (surface,) = parts_of(place / "model.ply")
    return report.is_watertight and len(surface.triangles) == report.triangles and not bad_edges(surface.triangles)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", READABLE)
def test_model_of_real_series_is_whole(name: str, tmp_path: Path) -> None:
    """No edge is open or in more than two triangles, by the indices in the file; `make soak` has all tissues."""
    files = instances(READABLE[name])
    select = BONE if name in {"chest", "head, uneven gaps, tilt"} else {"kind": "otsu"}
    assert _has_whole_model(read_series(files, sub_volumes(files)[0].name), select, tmp_path)


def test_model_of_phantom_is_whole(phantom: Volume, tmp_path: Path) -> None:
    """As above; its thin plates of 3 mm touch themselves when nine of ten triangles go."""
    assert _has_whole_model(phantom, BONE, tmp_path)
