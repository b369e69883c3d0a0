"""`pacs.logs`: one safe line per record, with the ids of the work it belongs to."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from pacs import logs

type Told = list[tuple[int, str]]
_log = logging.getLogger("pacs.example")


@pytest.fixture
def told() -> Iterator[Told]:
    """Install our logging and collect what comes out."""
    lines: Told = []
    with logs.install(lambda level, text: lines.append((level, text)), level=logging.INFO):
        yield lines


def test_record_is_one_line_with_its_facts_in_order(told: Told) -> None:
    """Logger, message, bound ids, then extra fields."""
    with logs.bind(correlation_id="c0ffee"):
        _log.warning("Study %s", "indexed", extra={"series": 4, "duration_seconds": 1 / 3, "folder": "a b"})
    assert told == [
        (
            logging.WARNING,
            'pacs.example: Study indexed correlation_id=c0ffee series=4 duration_seconds=0.333333 folder="a b"',
        )
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "x"', r'"say \"x\""'),
        ("two\nlines", r'"two\nlines"'),
        ("tab\t", r'"tab\t"'),
        ("bell\x07", r"bell\x07"),
        ("next\x85line", r'"next\x85line"'),
        ("line\u2028separator", r'"line\u2028separator"'),
        ("escape\x1b[31m", r"escape\x1b[31m"),
        ("Größe", "Größe"),
        (None, "None"),
        (12, "12"),
        (1234567.0, "1.23457e+06"),
        (["a", 1], "\"['a', 1]\""),
    ],
)
def test_value_is_written_so_that_it_stays_one_value(told: Told, value: object, text: str) -> None:
    """Blanks and quotes are quoted, control characters escaped: no value can forge a field or a line."""
    _log.info("x", extra={"value": value})
    assert told == [(logging.INFO, f"pacs.example: x value={text}")]


@pytest.mark.parametrize("forged", ["a\nE0101 forged", "a\r\nforged", "a\x1b[2Kforged", "a\u2029forged", "a\x0bforged"])
def test_message_can_not_forge_a_line(told: Told, forged: str) -> None:
    """A message that quotes foreign text stays one line without control characters."""
    _log.info("Peer said %s", forged)
    ((_, text),) = told
    assert len(text.splitlines()) == 1
    assert text.isprintable()


def test_traceback_follows_indented(told: Told) -> None:
    """Lines of a traceback, its notes included, can't be mistaken for records."""
    error = ValueError("bad\nE0101 forged")
    error.add_note("told by the child")
    try:
        raise error
    except ValueError:
        _log.exception("Failed")
    ((level, text),) = told
    first, *below = text.split("\n")
    assert (level, first) == (logging.ERROR, "pacs.example: Failed")
    assert all(line.startswith("  | ") for line in below)
    assert "ValueError: bad" in text
    assert below[-1] == "  | told by the child"


def test_stack_and_foreign_traceback_text_are_written_too(told: Told) -> None:
    """`stack_info` and a traceback that came as text appear below the line."""
    _log.info("here", stack_info=True)
    record = logging.makeLogRecord(
        {"name": "pacs.x", "msg": "there", "levelno": logging.INFO, "exc_text": "Boom:\n  at"}
    )
    logging.getLogger("pacs.x").handle(record)
    assert "  | Stack (most recent call last):" in told[0][1]
    assert told[1][1] == "pacs.x: there\n  | Boom:\n  |   at"


def test_bind_adds_inner_ids_and_restores_outer_ones(told: Told) -> None:
    """Inner ids join the outer, win over them, and end with their block, also by an exception."""
    with logs.bind(correlation_id="outer", hl7_control_id="m1"):
        with suppress(LookupError), logs.bind(correlation_id="inner", orthanc_study_id=None, item=7):
            _log.info("a")
            raise LookupError
        _log.info("b")
    _log.info("c")
    assert [text for _, text in told] == [
        "pacs.example: a correlation_id=inner hl7_control_id=m1 item=7",
        "pacs.example: b correlation_id=outer hl7_control_id=m1",
        "pacs.example: c",
    ]


def test_context_stays_in_its_thread_unless_it_is_carried_over(told: Told) -> None:
    """A new thread starts without ids; `LogContext` brings them, and leaves none in a pooled thread."""
    with ThreadPoolExecutor(1) as thread, logs.bind(correlation_id="c1"):
        context = logs.LogContext.current()

        def carried() -> None:
            with context.applied():
                _log.info("carried")

        for work in (lambda: _log.info("alone"), carried, lambda: _log.info("after")):
            thread.submit(work).result()
    assert [text for _, text in told] == [
        "pacs.example: alone",
        "pacs.example: carried correlation_id=c1",
        "pacs.example: after",
    ]


def test_contexts_of_threads_and_tasks_do_not_mix() -> None:
    """Eight threads and eight tasks at once each see their own id."""

    async def task(number: int) -> str | None:
        with logs.bind(correlation_id=number):
            await asyncio.sleep(0.01)
            return logs.correlation_id()

    async def tasks() -> list[str | None]:
        return list(await asyncio.gather(*(task(number) for number in range(8))))

    barrier = threading.Barrier(8)

    def thread(number: int) -> str | None:
        with logs.bind(correlation_id=number):
            barrier.wait(10)
            return logs.correlation_id()

    expected = [str(number) for number in range(8)]
    assert asyncio.run(tasks()) == expected
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(thread, range(8))) == expected
    assert logs.correlation_id() is None


def test_new_correlation_id_is_short_and_never_twice() -> None:
    """Ids are 16 hexadecimal digits and differ."""
    ids = {logs.new_correlation_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)


def test_filter_keeps_the_ids_that_a_record_brings(told: Told) -> None:
    """A record made elsewhere with its own ids is not given those of the thread that hands it on."""
    record = logging.makeLogRecord(
        {"name": "pacs.x", "msg": "m", "levelno": logging.INFO, logs.CONTEXT_ATTRIBUTE: {"correlation_id": "own"}}
    )
    with logs.bind(correlation_id="mine"):
        logging.getLogger("pacs.x").handle(record)
    assert told[0][1] == "pacs.x: m correlation_id=own"


def test_levels_let_ours_speak_and_libraries_only_warn(told: Told) -> None:
    """INFO of ours is heard, INFO of a library not, DEBUG of ours neither."""
    _log.info("ours")
    _log.debug("ours, quiet")
    logging.getLogger("pydicom").info("value of a patient")
    logging.getLogger("pydicom").warning("library")
    assert [text for _, text in told] == ["pacs.example: ours", "pydicom: library"]


def test_library_level_never_goes_below_warning() -> None:
    """A wish for more noise from libraries is not granted: they quote values of patients there."""
    lines: Told = []
    with logs.install(
        lambda level, text: lines.append((level, text)), level=logging.DEBUG, library_level=logging.DEBUG
    ):
        logging.getLogger("pynetdicom").debug("PatientName")
        _log.debug("ours")
    assert [text for _, text in lines] == ["pacs.example: ours"]


def test_remove_restores_what_was_before() -> None:
    """Handlers and levels are as before, and nothing is told any more."""
    root, ours = logging.getLogger(), logging.getLogger("pacs")
    before = (list(root.handlers), root.level, ours.level)
    lines: Told = []
    installed = logs.install(lambda level, text: lines.append((level, text)), level=logging.DEBUG)
    assert ours.level == logging.DEBUG
    installed.remove()
    installed.remove()
    _log.error("late")
    assert (list(root.handlers), root.level, ours.level) == before
    assert lines == []


def test_sink_that_fails_does_not_fail_whoever_logs(capsys: pytest.CaptureFixture[str]) -> None:
    """A full or closed log is told on standard error only."""

    def sink(_level: int, _text: str) -> None:
        raise OSError("disk full")

    with logs.install(sink):
        _log.error("important")
    assert "disk full" in capsys.readouterr().err


def test_sink_that_logs_does_not_go_round_in_circles() -> None:
    """What the sink logs itself is dropped."""
    lines: list[str] = []

    def sink(_level: int, text: str) -> None:
        lines.append(text)
        logging.getLogger("pacs.sink").error("from inside")

    with logs.install(sink):
        _log.error("once")
        _log.error("twice")
    assert lines == ["pacs.example: once", "pacs.example: twice"]


def test_record_that_can_not_be_formatted_is_told_and_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake in a log call neither raises nor stops the next record."""
    lines: list[str] = []
    handler = logs.SinkHandler(lambda _level, text: lines.append(text))
    for message, arguments in (("%d slices", ("many",)), ("next", ())):
        handler.handle(logging.makeLogRecord({"name": "pacs.x", "msg": message, "args": arguments}))
    assert lines == ["pacs.x: next"]
    assert "%d slices" in capsys.readouterr().err
