"""`pacs.processes`: each way in which a child can fail is an error of its own, and the parent goes on."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import pytest

from fixtures.process_pools import INTERPRETER, MEBIBYTE, TESTS, WARM, job, make_pool, own_children
from pacs.errors import PacsError, Problem, ProcessError
from pacs.processes import (
    Interpreter,
    Job,
    Limits,
    ProcessCrashed,
    ProcessFailed,
    ProcessOutOfMemory,
    ProcessPool,
    ProcessStartFailed,
    ProcessTimeout,
)

SMALL = Limits(memory_bytes=200 * MEBIBYTE, answer_bytes=1000, grace_seconds=0.3)


@pytest.fixture(params=["cold", "warm"])
def pool(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ProcessPool]:
    """Run a pool for one test."""
    with make_pool(tmp_path, policy=WARM if request.param == "warm" else None, limits=SMALL) as pool:
        yield pool
        # The next job never suffers from the one before.
        assert pool.run(job("echo", still="works")) == {"still": "works"}
    assert own_children() == []


@pytest.mark.parametrize(
    ("crash", "number", "exit_code"),
    [
        (job("segfault"), signal.SIGSEGV, None),
        (job("abort"), signal.SIGABRT, None),
        (job("kill_itself"), signal.SIGKILL, None),
        (job("exit_hard", status=0), None, 0),
        (job("exit_hard", status=41), None, 41),
    ],
    ids=lambda value: value.function if isinstance(value, Job) else str(value),
)
def test_run_tells_a_crash_with_its_signal_or_status(
    pool: ProcessPool, crash: Job, number: signal.Signals | None, exit_code: int | None
) -> None:
    """A child that ends without an answer is a crash, even with status 0."""
    with pytest.raises(ProcessCrashed) as caught:
        pool.run(crash)
    assert (caught.value.signal, caught.value.exit_code) == (number, exit_code)


def test_crash_keeps_the_place_for_the_log(pool: ProcessPool) -> None:
    """The note of the error names the Python line that was running, the sentence for people does not."""
    with pytest.raises(ProcessCrashed) as caught:
        pool.run(job("segfault"))
    assert "child_functions.py" in caught.value.fatal_text
    assert "in segfault" in "".join(caught.value.__notes__)
    assert "child_functions.py" not in str(caught.value)


def test_run_tells_that_the_child_stopped_answering_when_its_line_is_closed(pool: ProcessPool) -> None:
    """A function that closes descriptors which are not its own is ended within seconds."""
    begin = time.monotonic()
    with pytest.raises(ProcessCrashed, match="stopped answering"):
        pool.run(job("close_everything"))
    assert time.monotonic() - begin < 20


def test_run_tells_an_exception_by_name_and_keeps_its_words_for_the_log(pool: ProcessPool) -> None:
    """Words of a foreign exception may quote the data: they are in the note, not in the sentence."""
    with pytest.raises(ProcessFailed) as caught:
        pool.run(job("fail"))
    assert (caught.value.type_name, caught.value.text) == ("ValueError", "secret words")
    assert "secret words" not in str(caught.value)
    assert "secret words" in caught.value.traceback_text
    assert caught.value.traceback_text in caught.value.__notes__


def test_run_keeps_what_an_error_of_ours_says(pool: ProcessPool) -> None:
    """A `PacsError` of the child is at the web edge what it would have been without a child."""
    with pytest.raises(ProcessFailed) as caught:
        pool.run(job("refuse"))
    problem = Problem.of(caught.value)
    assert (problem.status, problem.type) == (400, "urn:pacs-cloud:problem:invalid-input")
    assert problem.detail == "The series has 2 slices, at least 3 are needed. Choose another series."


@pytest.mark.parametrize(
    ("failing", "type_name"),
    [
        (job("exit_softly"), "SystemExit"),
        (job("return_bytes"), "TypeError"),
        (job("return_nan"), "ValueError"),
        (job("return_much", bytes=5000), "AnswerTooLong"),
        (job("no_such_function"), "AttributeError"),
        (Job(function="no_such_module:run"), "ModuleNotFoundError"),
        (Job(function="fixtures.broken_on_import:run"), "RuntimeError"),
    ],
    ids=lambda value: value.function if isinstance(value, Job) else value,
)
def test_run_tells_what_is_wrong_with_a_function(pool: ProcessPool, failing: Job, type_name: str) -> None:
    """Whatever keeps a function from answering with JSON is told by the name of its exception."""
    with pytest.raises(ProcessFailed) as caught:
        pool.run(failing)
    assert caught.value.type_name == type_name


def test_job_is_held_to_a_bound_of_its_own(pool: ProcessPool) -> None:
    """A job that was given less than the pool's limit is ended beyond that, and the figure is its own."""
    greedy = replace(job("map_shared", mebibytes=150), memory_bytes=100 * MEBIBYTE)
    with pytest.raises(ProcessOutOfMemory, match="more than 100 MiB"):
        pool.run(greedy)


@pytest.mark.parametrize(
    "greedy",
    [job("allocate", mebibytes=400), job("map_shared", mebibytes=400), job("abort_like_cpp")],
    ids=lambda greedy: greedy.function.partition(":")[2],
)
def test_run_tells_that_memory_ran_out(pool: ProcessPool, greedy: Job) -> None:
    """Private memory is refused by the kernel, shared memory is seen, and a C++ library that gave up is understood."""
    begin = time.monotonic()
    with pytest.raises(ProcessOutOfMemory, match="more than 200 MiB") as caught:
        pool.run(greedy)
    assert caught.value.memory_bytes == 200 * MEBIBYTE
    assert time.monotonic() - begin < 20


def test_memory_limit_does_not_count_reserved_addresses(pool: ProcessPool) -> None:
    """Address space without memory behind it is free: libraries map much more than they use."""
    assert pool.run(job("map_reserved", mebibytes=4000)) == f"{4000 * MEBIBYTE} reserved"


def test_memory_limit_too_small_for_python_is_told_as_such(tmp_path: Path) -> None:
    """Even a child that can't get as far as its first import ends in an error that can be acted on."""
    with make_pool(tmp_path, limits=Limits(memory_bytes=MEBIBYTE)) as pool, pytest.raises(ProcessError):
        pool.run(job("allocate", mebibytes=50))


@pytest.mark.parametrize("name", ["sleep", "hold_the_interpreter", "ignore_sigterm", "swallow_sigterm"])
def test_run_ends_a_child_whose_time_is_over(pool: ProcessPool, name: str) -> None:
    """Neither a sleep nor a loop in C nor deafness to SIGTERM outlives wall time and grace."""
    begin = time.monotonic()
    with pytest.raises(ProcessTimeout, match=r"after 1 s") as caught:
        pool.run(job(name, wall_seconds=1.0, seconds=60))
    assert 1.0 <= time.monotonic() - begin < 20
    assert caught.value.wall_seconds == 1.0


def test_wall_time_covers_the_import_of_the_function(pool: ProcessPool) -> None:
    """A module that takes forever to import is no way around the limit."""
    with pytest.raises(ProcessTimeout):
        pool.run(Job(function="fixtures.slow_to_import:run", wall_seconds=0.5))


@pytest.mark.parametrize("executable", ["/nowhere/python", "/etc/passwd", "/tmp"])  # noqa: S108
def test_run_tells_that_the_interpreter_can_not_be_run(tmp_path: Path, executable: str) -> None:
    """A missing venv is told with its path."""
    with ProcessPool(Interpreter(Path(executable), INTERPRETER.import_paths), tmp_path) as pool:
        with pytest.raises(ProcessStartFailed, match=executable):
            pool.run(job("echo"))
        assert pool.status().busy == 0
    assert list(tmp_path.iterdir()) == []


def test_run_tells_that_there_is_no_room_for_temporary_files(tmp_path: Path) -> None:
    """A full or missing disk is a fault of the start, and the place in the pool is free again."""
    with make_pool(tmp_path) as pool:
        shutil.rmtree(tmp_path)
        with pytest.raises(ProcessStartFailed, match="No such file"):
            pool.run(job("echo"))
        assert pool.status().busy == 0


def test_run_tells_a_program_that_is_no_child_of_ours_as_a_crash(tmp_path: Path) -> None:
    """An interpreter without our package says so and ends: a crash with its status."""
    with ProcessPool(Interpreter(INTERPRETER.executable, (TESTS,)), tmp_path) as pool:
        with pytest.raises(ProcessCrashed) as caught:
            pool.run(job("echo"))
        assert caught.value.exit_code == 1


def test_errors_have_codes_and_statuses_of_their_own() -> None:
    """Metrics and problems can tell the kinds apart."""
    kinds = [kind for kind in ProcessError.__subclasses__() if kind.__module__ == "pacs.processes.errors"]
    assert len({kind.code for kind in kinds} | {PacsError.code, ProcessError.code}) == len(kinds) + 2
    assert ProcessTimeout.status is HTTPStatus.GATEWAY_TIMEOUT
