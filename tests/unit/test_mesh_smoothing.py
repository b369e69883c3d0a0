"""The windowed sinc filter."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.mesh_sources import ball_voxels, small_phantom, surface_points, volume_of, wrong_edges
from pacs.mesh.field import threshold_field
from pacs.mesh.measuring import volume_and_area
from pacs.mesh.smoothing import smoothed
from pacs.mesh.surface import Surface, extract


def _ball(noise_mm: float = 0.0) -> Surface:
    volume = volume_of(ball_voxels((34, 34, 34), (16.3, 16.6, 15.8), 12))
    surface = extract(threshold_field(volume, volume.voxels, 1000, None))
    noise = np.random.default_rng(1).normal(0, noise_mm, surface.points.shape).astype(np.float32)
    return Surface(surface.points + noise, surface.triangles)


def _radii(surface: Surface) -> np.ndarray:
    return np.linalg.norm(surface.points - [15.8, 16.6, 16.3], axis=1)


def test_noise_goes_and_the_ball_does_not_shrink() -> None:
    """Roughness is halved, the volume stays within 3 in 1000."""
    rough = _ball(0.2)
    smooth = smoothed(rough, 25, 0.1)
    assert _radii(smooth).std() < 0.55 * _radii(rough).std()
    assert volume_and_area(smooth)[0] == pytest.approx(volume_and_area(_ball())[0], rel=3e-3)
    assert wrong_edges(smooth) == 0


def test_smooth_surface_stays_where_it_is() -> None:
    """A surface without noise moves by less than 4 hundredths of a voxel on average."""
    clean = _ball()
    moved = np.linalg.norm(smoothed(clean, 25, 0.1).points - clean.points, axis=1)
    assert moved.mean() < 0.25  # along the surface, where slivers become even
    assert np.abs(_radii(smoothed(clean, 25, 0.1)) - 12).mean() < 0.04


def test_smoothing_comes_nearer_to_the_phantoms_truth() -> None:
    """With 25 HU of noise the smoothed surface is nearer to the true one."""
    phantom, volume = small_phantom(noise_hu=25.0)
    truth = phantom.at_level(300)
    rough = extract(threshold_field(volume, volume.voxels, 300, None)).moved(volume.geometry.affine)
    before, after = (truth.distance_mm(surface_points(one)).mean() for one in (rough, smoothed(rough, 25, 0.1)))
    assert after < before


def test_far_from_the_origin_it_is_as_good() -> None:
    """A patient 2 m from the origin is smoothed to the same shape within 2 micrometers."""
    near = _ball(0.1)
    far = Surface(near.points + np.float32(2048), near.triangles)
    np.testing.assert_allclose(smoothed(far, 25, 0.1).points - 2048, smoothed(near, 25, 0.1).points, atol=2e-3)


def test_no_iterations_change_nothing() -> None:
    """Zero iterations give the surface itself."""
    surface = _ball()
    assert smoothed(surface, 0, 0.1) is surface
