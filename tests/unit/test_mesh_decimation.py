"""Fewer triangles: how many, how far off, and whole."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from fixtures.mesh_sources import ball_voxels, euler_characteristic, small_phantom, volume_of, wrong_edges
from pacs.mesh import decimation
from pacs.mesh.check import checked
from pacs.mesh.decimation import reduced_to, reduced_within
from pacs.mesh.field import sealed, threshold_field
from pacs.mesh.fork import Helper, HelperDied
from pacs.mesh.measuring import SurfaceLocator, volume_and_area
from pacs.mesh.smoothing import smoothed
from pacs.mesh.surface import Surface, clustered, extract


@pytest.fixture(scope="module")
def bone() -> Surface:
    """Give the small phantom with noise, smoothed, without slivers, in mm."""
    _, volume = small_phantom(noise_hu=25.0)
    surface = clustered(extract(threshold_field(volume, volume.voxels, 300, None)))
    return smoothed(surface.moved(volume.geometry.affine), 25, 0.1)


def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decimation, "_CHUNK_TRIANGLES", 9_000)


@pytest.mark.parametrize("chunks", ["one", "several"])
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_share_is_kept_and_the_surface_whole(
    bone: Surface, share: float, chunks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many triangles as asked for or 1 % fewer, no bad edge, the same bodies, the volume within 5 in 1000."""
    if chunks == "several":
        _small_chunks(monkeypatch)
    wanted = int(share * len(bone.triangles))
    fewer = reduced_to(bone, wanted)
    assert 0.99 * wanted <= len(fewer.triangles) <= wanted
    assert wrong_edges(fewer) == 0
    assert euler_characteristic(fewer) == euler_characteristic(bone)
    assert volume_and_area(fewer)[0] == pytest.approx(volume_and_area(bone)[0], rel=5e-3)


def test_second_process_changes_nothing(bone: Surface, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one core the result is the same, byte by byte."""
    _small_chunks(monkeypatch)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1})
    with_two = reduced_to(bone, len(bone.triangles) // 5)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0})
    with_one = reduced_to(bone, len(bone.triangles) // 5)
    np.testing.assert_array_equal(with_two.triangles, with_one.triangles)
    np.testing.assert_array_equal(with_two.points, with_one.points)


@pytest.mark.parametrize("deviation_mm", [0.02, 0.1, 0.5])
def test_deviation_is_kept_both_ways(bone: Surface, deviation_mm: float) -> None:
    """No vertex of either surface is farther from the other than allowed, and more allowed gives fewer triangles."""
    found = reduced_within(bone, deviation_mm)
    fewer = found.surface
    assert not len(SurfaceLocator(fewer).beyond(bone.points[~found.is_left_out], deviation_mm).points)
    assert not len(SurfaceLocator(bone).beyond(fewer.points, deviation_mm).points)
    assert len(fewer.triangles) < len(bone.triangles) * {0.02: 0.8, 0.1: 0.3, 0.5: 0.1}[deviation_mm]
    assert wrong_edges(fewer) == 0


@pytest.mark.parametrize("deviation_mm", [0.025, 0.05, 0.1, 0.2])
def test_deviation_is_kept_at_every_vertex_of_noise(deviation_mm: float) -> None:
    """Not some vertices are within what is allowed, but all: thin places of noise are few."""
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(0, 1, (40, 40, 40)), 1.2)
    voxels = sealed(np.rint(noise / noise.std() * 300).astype(np.int16), 0, noise.shape, -1000)
    full = extract(threshold_field(volume_of(voxels), voxels, 200, None))
    found = reduced_within(full, deviation_mm)
    mended, _ = checked(found.surface)
    assert len(mended.triangles) < 0.95 * len(full.triangles)
    assert SurfaceLocator(mended).deviation(full.points[~found.is_left_out]).max_mm <= deviation_mm


def test_borders_of_chunks_go_in_the_second_pass(bone: Surface, monkeypatch: pytest.MonkeyPatch) -> None:
    """In chunks a surface needs hardly more triangles than as one."""
    whole = reduced_within(bone, 0.5).surface
    _small_chunks(monkeypatch)
    chunks = reduced_within(bone, 0.5).surface
    assert wrong_edges(chunks) == 0
    assert len(chunks.triangles) < 1.05 * len(whole.triangles)


def test_more_deviation_gives_fewer_triangles_of_noise() -> None:
    """The few thin places that are too far off stay as they are, not all that they hang together with."""
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(0, 1, (40, 40, 40)), 1.2)
    voxels = sealed(np.rint(noise / noise.std() * 300).astype(np.int16), 0, noise.shape, -1000)
    full = smoothed(extract(threshold_field(volume_of(voxels), voxels, 200, None)), 25, 0.1)
    counts = [len(reduced_within(full, deviation_mm).surface.triangles) for deviation_mm in (0.2, 0.7, 1.2)]
    assert counts == sorted(counts, reverse=True)
    assert counts[1] < len(full.triangles) / 4


def test_body_that_would_vanish_keeps_no_other_from_being_reduced() -> None:
    """A ball loses its triangles beside a plate that is thinner than what is allowed; the plate stays a plate."""
    voxels = ball_voxels((40, 40, 60), (19.6, 19.3, 19.4), 14.0)
    voxels[10:30, 10:30, 50] = 2000
    full = extract(threshold_field(volume_of(voxels), voxels, 1000, None))
    found = reduced_within(full, 1.0)
    assert found.specks == 0
    assert not found.is_left_out.any()
    assert len(found.surface.triangles) < len(full.triangles) / 10
    assert euler_characteristic(found.surface) == 4
    plate, reduced_plate = (_beyond(one, 40.0) for one in (full, found.surface))
    assert volume_and_area(reduced_plate)[0] > 0.5 * volume_and_area(plate)[0]
    assert not len(SurfaceLocator(found.surface).beyond(full.points, 1.0).points)


def _beyond(surface: Surface, column: float) -> Surface:
    is_beyond = surface.points[surface.triangles, 0].min(axis=1) > column
    return Surface(surface.points, surface.triangles[is_beyond])


def test_specks_are_left_out_and_counted() -> None:
    """Beside a ball, pieces and cavities of one voxel are left out where much may be lost, and stay where not."""
    voxels = ball_voxels((40, 40, 60), (19.6, 19.3, 19.4), 14.0)
    voxels[5:36:10, 5:36:10, 50] = 1300
    voxels[20, 20, 20] = 0
    full = extract(threshold_field(volume_of(voxels), voxels, 1000, None))
    found = reduced_within(full, 2.0)
    assert found.specks == 4 * 4 + 1
    assert found.is_left_out.sum() == 17 * 6
    assert euler_characteristic(found.surface) == 2
    assert reduced_within(full, 0.02).specks == 0


@pytest.mark.parametrize("balls", [1, 3])
def test_specks_stay_where_there_is_nothing_else(balls: int) -> None:
    """What is smaller than what is allowed keeps most of its volume, though as few triangles as can have one."""
    voxels = np.concatenate([ball_voxels((12, 12, 12), (5.6, 5.3, 5.4), 2.5) for _ in range(balls)])
    full = extract(threshold_field(volume_of(voxels), voxels, 1000, None))
    found = reduced_within(full, 10.0)
    assert found.specks == 0
    assert len(found.surface.triangles) < 20 * balls
    assert volume_and_area(found.surface)[0] > 0.5 * volume_and_area(full)[0]


@pytest.mark.parametrize("triangles", [0, 2, 5])
def test_few_triangles_are_no_empty_body(triangles: int) -> None:
    """Where hardly any are asked for, as many as a volume needs are left."""
    voxels = ball_voxels((12, 12, 12), (5.6, 5.3, 5.4), 2.5)
    full = extract(threshold_field(volume_of(voxels), voxels, 1000, None))
    fewer = reduced_to(full, triangles)
    assert len(fewer.triangles) <= 16
    assert volume_and_area(fewer)[0] > 0


def test_body_that_can_not_be_reduced_within_the_deviation_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every try is too far off, nothing is reduced: too many triangles are better than a wrong shape."""
    voxels = ball_voxels((34, 34, 34), (16.3, 16.6, 15.8), 12)
    full = extract(threshold_field(volume_of(voxels), voxels, 1000, None))
    monkeypatch.setattr(decimation, "_off", lambda body, *_: np.ones(len(body.triangles), np.bool_))
    assert reduced_within(full, 0.1).surface is full


def test_more_triangles_than_there_are_change_nothing(bone: Surface) -> None:
    """Who allows more than there is gets it as it is."""
    assert reduced_to(bone, len(bone.triangles) + 1) is bone


def test_death_of_the_second_process_is_told() -> None:
    """A result that never comes is an error, not a wait for ever or half a surface."""
    with Helper(lambda: os._exit(3), 100) as helper, pytest.raises(HelperDied, match="ended with 3"):
        helper.result()


def _without_memory() -> list[np.ndarray]:
    raise MemoryError


@pytest.mark.parametrize("end", [lambda: os.kill(os.getpid(), signal.SIGKILL), _without_memory])
def test_second_process_without_memory_is_told_as_such(end: Callable[[], list[np.ndarray]]) -> None:
    """Killed as the kernel does or refused memory, the job is told to lack memory, which is tried once more."""
    with Helper(end, 100) as helper, pytest.raises(MemoryError):
        helper.result()


def test_fault_in_the_second_process_is_no_lack_of_memory() -> None:
    """What fails there for another reason keeps failing, and is not tried again."""
    with Helper(lambda: {}["result"], 100) as helper, pytest.raises(HelperDied, match="ended with 1"):
        helper.result()


def test_second_process_may_return_many_arrays() -> None:
    """As many as half of the chunks of a surface of a hundred million triangles have."""
    arrays = [np.full(number % 7, number, np.int32) for number in range(3000)]
    with Helper(lambda: arrays, sum(one.nbytes for one in arrays)) as helper:
        found = [np.frombuffer(part, np.int32).tolist() for part in helper.result()]
    assert found == [one.tolist() for one in arrays]


def test_second_process_is_ended_with_the_block() -> None:
    """Whoever leaves early leaves no process behind."""
    import time  # noqa: PLC0415 - for the process that is to be ended

    with Helper(lambda: [np.zeros(1)] if time.sleep(600) else [], 100) as helper:
        process_id = helper._pid
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)
