"""`pacs.processes`: nothing outlives its parent, neither a child, nor its children, nor its files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fixtures.process_pools import PLUGINS, TESTS, WARM, becomes_true, is_alive, job, make_pool, open_descriptors
from pacs.errors import ProcessError
from pacs.processes import Cancellation, PoolPolicy
from pacs.processes.scratch import Scratch

PARENT = """
import sys
from pathlib import Path
from fixtures.process_pools import job, make_pool, WARM
pool = make_pool(Path(sys.argv[1]), policy=WARM)
print(pool.run(job("process_id")), flush=True)
if sys.argv[2] != "idle":
    pool.run(job(sys.argv[2], seconds=60), on_progress=lambda fraction, stage: print(stage, flush=True))
else:
    print("idle", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("policy", [PoolPolicy(), WARM], ids=["cold", "warm"])
@pytest.mark.parametrize("then", ["return", "crash", "stay"])
def test_processes_that_a_child_started_end_with_it(tmp_path: Path, policy: PoolPolicy, then: str) -> None:
    """Grandchildren in the group, in a session of their own and without a parent are gone whatever way the job ends."""
    pid_file = tmp_path / "pids"
    cancellation = Cancellation()
    with make_pool(tmp_path / "scratch", policy=policy) as pool, ThreadPoolExecutor(1) as threads:
        work = threads.submit(
            pool.run,
            job("start_others", pid_file=str(pid_file), then=then),
            cancellation=cancellation,
            on_progress=lambda *_: cancellation.cancel() if then == "stay" else None,
        )
        if then == "return":
            first = work.result(10)
            assert pool.run(job("process_id")) != first
        else:
            with pytest.raises(ProcessError):
                work.result(10)
        pids = [int(pid) for pid in pid_file.read_text().split()]
        assert len(pids) == 3
        # On a busy machine the kernel is still taking away what was killed a moment ago.
        assert becomes_true(lambda: not any(is_alive(pid) for pid in pids), 30)


@pytest.mark.parametrize("doing", ["idle", "sleep", "hold_the_interpreter", "ignore_sigterm"])
def test_killing_the_parent_ends_its_children(tmp_path: Path, doing: str) -> None:
    """SIGKILL of the parent takes its children with it at once, whatever they are at."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), doing],
        env={**os.environ, "PYTHONPATH": f"{PLUGINS}:{TESTS}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert parent.stdout.readline()
        assert is_alive(child)
        parent.kill()
        begin = time.monotonic()
        assert becomes_true(lambda: not is_alive(child), 5)
        assert time.monotonic() - begin < 4
    # And what it left on disk is removed by the next one.
    assert list(tmp_path.glob("parent-*"))
    Scratch(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_ending_the_parent_while_a_child_starts_ends_the_child(tmp_path: Path) -> None:
    """There is no moment in the start of a child in which the end of its parent goes unseen."""
    script = PARENT.replace("print(pool.run", "pool.run").replace(
        '("process_id")), flush=True)', '("sleep", seconds=60))'
    )
    for delay_seconds in (0.0, 0.02, 0.05, 0.1, 0.2):
        parent = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), "idle"],
            env={**os.environ, "PYTHONPATH": f"{PLUGINS}:{TESTS}"},
        )
        assert becomes_true(lambda: bool(_children_of(parent.pid)), 10)  # noqa: B023
        children = _children_of(parent.pid)
        time.sleep(delay_seconds)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert becomes_true(lambda: not any(is_alive(pid) for pid in children), 5)  # noqa: B023


def _children_of(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found


def test_scratch_leaves_the_folders_of_living_parents_alone(tmp_path: Path) -> None:
    """Several parents may share a root: each removes its own and those of the dead."""
    before = open_descriptors()
    first = Scratch(tmp_path)
    file = first.new_folder() / "file"
    file.write_text("x")
    second = Scratch(tmp_path)
    second.close()
    second.close()
    assert file.exists()
    assert first.folder.stat().st_mode & 0o077 == 0
    first.close()
    assert list(tmp_path.iterdir()) == []
    assert open_descriptors() == before


def test_temporary_files_of_a_cancelled_job_are_removed(tmp_path: Path) -> None:
    """What a job wrote before it was ended does not stay."""
    paths: list[Path] = []
    cancellation = Cancellation()

    def listener(_fraction: float, stage: str) -> None:
        paths.append(Path(stage))
        assert paths[0].exists()
        cancellation.cancel()

    with make_pool(tmp_path) as pool, pytest.raises(ProcessError):
        pool.run(job("write_temporary"), on_progress=listener, cancellation=cancellation)
    assert not paths[0].exists()
