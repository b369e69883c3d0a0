"""No job for a 3D model is lost or works for ever, whatever dies: its process, Orthanc, or the person's patience."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from fixtures.mesh_archives import BONE, PATIENCE_SECONDS, ModelArchive, model_archive

# Different models: equal ones would be made once.
RECIPES = [{**BONE, "smooth_iterations": number} for number in range(1, 7)]
# Enough to be met in the middle.
SLOW = {"smooth_iterations": 100, "formats": ["stl", "ply", "obj", "3mf"]}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelArchive]:
    """Return an archive for the module, with one model at a time."""
    with model_archive(tmp_path_factory.mktemp("models"), Processes=1, MemoryBytes=2**30) as started:
        started.done(started.order())
        yield started


def killed_in_work(archive: ModelArchive, address: str, times: int) -> None:
    """Kill the processes of a job while it works, so many times."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    for attempt in range(1, times + 1):
        while True:
            job = archive.job(address)
            assert job["state"] in {"waiting", "working"}, job
            assert time.monotonic() < give_up_at
            # Before its first stage it has no process yet: the idle one would die for nothing.
            if job["attempts"] == attempt and job["stage"] and archive.kill_children():
                break
            time.sleep(0.01)


def test_job_whose_process_was_killed_is_done_by_another(archive: ModelArchive) -> None:
    """Killed in the middle, it is tried once more and ends well."""
    address = archive.order({**BONE, **SLOW, "close_holes_mm": 1})
    killed_in_work(archive, address, times=1)
    assert archive.done(address)["attempts"] == 2


def test_job_that_kills_its_process_twice_fails_with_the_reason(archive: ModelArchive) -> None:
    """The second time it is the job's own fault, and the archive goes on."""
    address = archive.order({**BONE, **SLOW, "close_holes_mm": 2})
    killed_in_work(archive, address, times=2)
    job = archive.over(address)
    assert (job["state"], job["attempts"]) == ("failed", 2)
    assert job["error"]["type"] == "urn:pacs-cloud:problem:process-crashed"
    assert "SIGKILL" in job["error"]["detail"]
    assert archive.done(archive.order())["cached"]


def test_waiting_job_is_cancelled_and_the_working_one_too(archive: ModelArchive) -> None:
    """DELETE ends either at once; what is over can't be cancelled any more."""
    working, waiting = archive.order({**BONE, **SLOW}), archive.order({**BONE, **SLOW, "min_volume_mm3": 1})
    assert archive.web.delete(waiting).json()["state"] == "cancelled"
    archive.web.delete(working)
    assert archive.over(working)["state"] == "cancelled"
    assert archive.web.delete(working).status_code == 409


def test_jobs_survive_a_kill_of_orthanc(archive: ModelArchive) -> None:
    """Ordered, acknowledged, SIGKILL in the middle: all are done after the restart."""
    addresses = [archive.order(recipe) for recipe in RECIPES]
    while all(archive.job(address)["state"] == "waiting" for address in addresses):
        time.sleep(0.01)
    killed = archive.pacs.orthanc_pid()
    os.kill(killed, signal.SIGKILL)
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while archive.web.get(addresses[0]).status_code != 200:
        assert time.monotonic() < give_up_at
        time.sleep(0.2)
    assert archive.pacs.orthanc_pid() != killed
    assert [archive.done(address)["state"] for address in addresses] == ["done"] * len(RECIPES)


def test_many_orders_at_once_are_all_done(archive: ModelArchive) -> None:
    """Twenty orders from as many threads: none is lost, none is refused."""
    addresses: list[str] = []
    threads = [
        threading.Thread(
            target=lambda number=number: addresses.append(archive.order({**BONE, "min_volume_mm3": number}))
        )
        for number in range(1, 21)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({archive.done(address)["id"] for address in addresses}) == len(threads)
