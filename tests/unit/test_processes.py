"""`pacs.processes`: what a child gets, what it gives back, and what it is kept from."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.process_pools import INTERPRETER, MEBIBYTE, WARM, job, make_pool
from pacs import logs
from pacs.processes import Job, Limits, ProcessPool
from pacs.processes.messages import (
    Advanced,
    Done,
    Failed,
    GarbledMessage,
    Logged,
    Message,
    Run,
    Started,
    decode,
    encode,
)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[ProcessPool]:
    """Run a pool for one test."""
    with make_pool(tmp_path) as pool:
        yield pool


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"number": 1.5, "nothing": None, "list": [1, [2]]},
        {"text": 'ñ "quotes" \n line\u2028end'},
        {"big": "y" * MEBIBYTE},
    ],
    ids=["empty", "nested", "odd text", "one MiB"],
)
def test_run_gives_the_function_its_arguments_and_its_result_back(pool: ProcessPool, content: dict[str, Any]) -> None:
    """JSON goes there and back unharmed, also when it is larger than any pipe."""
    assert pool.run(job("echo", **content)) == content


def test_run_takes_a_child_that_is_another_process(pool: ProcessPool) -> None:
    """The function does not run in the caller's process."""
    assert pool.run(job("process_id")) != os.getpid()


@pytest.mark.parametrize(
    "function", ["", "module", "module.function", ":f", "m:f()", "a b:c", "m:f:g", "m-1:f", "../m:f"]
)
def test_job_refuses_a_function_that_is_not_importable_by_name(function: str) -> None:
    """Only package.module:function is a function's name."""
    with pytest.raises(ValueError, match=r"package\.module:function"):
        Job(function=function)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_job_refuses_a_time_that_is_none(seconds: float) -> None:
    """A job has some time at least."""
    with pytest.raises(ValueError, match="must be given more"):
        Job(function="m:f", wall_seconds=seconds)


def test_progress_comes_in_order_and_within_bounds(pool: ProcessPool) -> None:
    """Each new stage is told, fractions are clipped to 0..1, and what is no number is dropped."""
    told: list[tuple[float, str]] = []
    pool.run(job("count_up", steps=5), on_progress=lambda fraction, stage: told.append((fraction, stage)))
    assert told == [*((number / 5, f"step {number}") for number in range(5)), (1.0, "all done")]


def test_progress_is_thinned_out_when_it_comes_too_fast(pool: ProcessPool) -> None:
    """A function may report in its innermost loop without drowning the parent."""
    told: list[float] = []
    assert pool.run(job("chatter", reports=100_000), on_progress=lambda fraction, _: told.append(fraction)) == 100_000
    assert 1 <= len(told) < 200


def test_run_ends_the_child_when_the_progress_listener_raises(pool: ProcessPool) -> None:
    """A fault of the listener reaches the caller at once and leaves no child working."""

    def listener(_fraction: float, _stage: str) -> None:
        raise LookupError("page is gone")

    with pytest.raises(LookupError, match="page is gone"):
        pool.run(job("sleep", seconds=60), on_progress=listener)
    assert pool.status().busy == 0


def test_output_of_the_function_does_not_disturb_the_answer(
    pool: ProcessPool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is printed, by grandchildren too, goes to the debug log and never into the protocol."""
    caplog.set_level(logging.DEBUG, logger="pacs")
    assert pool.run(job("talk")) == "heard"
    assert "to standard error" in caplog.text
    assert "from a grandchild" in caplog.text
    assert all(record.levelno == logging.DEBUG for record in caplog.records if record.name == "pacs.processes.output")


def test_log_records_of_the_child_arrive_in_the_parent(pool: ProcessPool, caplog: pytest.LogCaptureFixture) -> None:
    """Level, logger, extra fields and traceback survive, the ids bound here are added, quiet records stay away."""
    caplog.set_level(logging.INFO, logger="pacs")
    caplog.handler.addFilter(logs.ContextFilter())
    with logs.bind(correlation_id="c0ffee"):
        pool.run(job("log_things"))
    missing, wrong = [record for record in caplog.records if record.name == "pacs.child_functions"]
    assert (missing.levelno, missing.getMessage(), vars(missing)["missing"]) == (
        logging.WARNING,
        "slices are missing",
        "3",
    )
    assert logs.fields_of(missing)["correlation_id"] == "c0ffee"
    assert wrong.levelno == logging.ERROR
    assert "ValueError: odd spacing" in logs.KeyValueFormatter().format(wrong)
    assert "library detail" not in caplog.text


def test_child_inherits_neither_environment_nor_descriptors_nor_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is a short list of our own, arguments stand in no command line, files of the parent are shut."""
    monkeypatch.setenv("PACS_DATABASE_PASSWORD", "hunter2")
    with Path("/dev/null").open() as open_file, make_pool(tmp_path) as pool:
        os.set_inheritable(open_file.fileno(), True)  # noqa: FBT003
        found = pool.run(job("surroundings", patient="DOE"))
    assert set(found["environment"]) == {
        *INTERPRETER.variables(tmp_path, 1),
        "PACS_PROCESS_MARK",
    } | ({"LC_CTYPE"} & set(found["environment"]))
    assert "hunter2" not in json.dumps(found)
    assert "DOE" not in json.dumps(found["arguments"])
    assert len(found["descriptors"]) <= 6  # in, out, error, socket, lifeline, and the folder that is listed
    assert found["is_safe_path"]


def test_child_is_confined_as_its_limits_say(tmp_path: Path) -> None:
    """Priority, files, core dumps, file mode, signals and the place in the kernel's queue of victims are set."""
    with make_pool(tmp_path, limits=Limits(niceness=7, open_files=99, cpu_threads=3)) as pool:
        found = pool.run(job("surroundings"))
    assert found["niceness"] == max(7, os.getpriority(os.PRIO_PROCESS, 0))
    assert (found["open_files"], found["core_bytes"], found["umask"]) == (99, 0, 0o077)
    assert found["oom_score"] >= 800
    assert found["blocked_signals"] == 0
    assert found["environment"]["OMP_NUM_THREADS"] == "3"


def test_child_works_in_a_folder_of_its_own_that_is_gone_afterwards(pool: ProcessPool, tmp_path: Path) -> None:
    """Temporary files of a job don't outlive it."""
    found = pool.run(job("surroundings"))
    folder = Path(found["working_folder"])
    assert folder.is_relative_to(tmp_path)
    assert {found["environment"][name] for name in ("HOME", "TMPDIR")} == {str(folder)}
    assert not folder.exists()


def test_warm_child_is_not_confused_by_late_words_of_the_job_before(tmp_path: Path) -> None:
    """Progress that a forgotten thread still sends is not taken for that of the next job."""
    told: list[str] = []
    with make_pool(tmp_path, policy=WARM) as pool:
        first = pool.run(job("talk_afterwards"))
        assert pool.run(job("sleep", seconds=0.3), on_progress=lambda _, stage: told.append(stage)) == "awake"
        assert pool.run(job("process_id")) == first
    assert told == ["asleep"]


MESSAGES: list[Message] = [
    Run(1, "m:f", {"a": [1, None]}, {"": 30, "pacs": 20}),
    Started(2),
    Advanced(3, 0.5, "half\nway"),
    Logged("pacs", 20, "text", 1.5, fields={"a": "b"}),
    Done(4, {"x": 1}),
    Failed(5, "ValueError", text="t", trace="a\nb"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_message_is_read_back_as_it_was_written(message: Message) -> None:
    """Each kind of message is one line that gives the same message."""
    line = encode(message)
    assert line.count(b"\n") == 1
    assert decode(line) == message


@pytest.mark.parametrize(
    "line", [b"", b"hello", b"{}", b"[]", b'"x"', b'{"kind":"Exit"}', b'{"kind":"Done"}', b'{"kind":[],"a":1}', b"\xff"]
)
def test_decode_refuses_what_is_no_message(line: bytes) -> None:
    """Garbage is told as garbage, whatever it looks like."""
    with pytest.raises(GarbledMessage):
        decode(line)
