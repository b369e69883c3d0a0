"""Orthanc is started again when something killed it, as systemd does on a server."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from fixtures.running_pacs import RunningPacs, running, words_until
from fixtures.sample_images import stack_of
from fixtures.stations import store_all
from fixtures.untouched import file_of
from pacs.embedded.__main__ import STACK_BYTES
from pacs.embedded.services import RESTARTS_AT_MOST

SUCCESS = 0x0000
STARTED_AGAIN = "Orthanc was ended by a signal (Killed) and is started again ..."


def kill_orthanc(pacs: RunningPacs) -> None:
    """End Orthanc as the kernel does when memory is short."""
    os.kill(pacs.orthanc_pid(), signal.SIGKILL)


def wait_until_orthanc_runs(pacs: RunningPacs) -> None:
    """Wait until the program is there, long before it is ready."""
    give_up_at = time.monotonic() + 60
    while True:
        with suppress(StopIteration):
            pacs.orthanc_pid()
            return
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_orthanc_is_back_with_everything_when_it_was_killed(tmp_path: Path) -> None:
    """NGINX stays and says 503 meanwhile; one line tells it; what was stored is there, and more can be stored."""
    before, after = stack_of(2, PatientID="RESTART")
    with running(tmp_path) as pacs:
        assert store_all(pacs, [before]) == [SUCCESS]
        nginx = pacs.other_pids()
        kill_orthanc(pacs)
        answer = httpx.get(f"{pacs.url}/system")
        assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        assert answer.json()["status"] == HTTPStatus.SERVICE_UNAVAILABLE
        assert words_until(pacs.process, "READY again").splitlines() == [STARTED_AGAIN, "READY again"]
        assert pacs.other_pids() == nginx
        assert file_of(pacs, before)
        assert store_all(pacs, [after]) == [SUCCESS]
        assert httpx.get(f"{pacs.url}/pacs/health").status_code == HTTPStatus.OK
        assert pacs.stop() == 0


@pytest.mark.timeout(120)
def test_archive_ends_when_orthanc_is_killed_again_and_again(tmp_path: Path) -> None:
    """The sixth time within a minute everything ends with an error: a person has to look."""
    with running(tmp_path) as pacs:
        for _ in range(RESTARTS_AT_MOST):
            kill_orthanc(pacs)
            assert STARTED_AGAIN in words_until(pacs.process, STARTED_AGAIN)
            # Not until it is ready: five times that may take the minute.
            wait_until_orthanc_runs(pacs)
        kill_orthanc(pacs)
        assert "error: Orthanc is killed again and again (Killed)." in words_until(pacs.process, STARTED_AGAIN)
        assert pacs.process.returncode == 1


def test_archive_ends_when_orthanc_ends_itself(tmp_path: Path) -> None:
    """A program that gave up has said why, and would do so again."""
    with running(tmp_path) as pacs:
        os.kill(pacs.orthanc_pid(), signal.SIGTERM)
        assert "error: Orthanc ended by itself." in words_until(pacs.process, "READY")
        assert pacs.process.returncode == 1


def test_orthanc_gets_its_stacks_whatever_the_terminal_has(pacs: RunningPacs) -> None:
    """Threads have 8 MB of stack, which `unlimited` in a terminal would have made 2 MB."""
    limits = Path(f"/proc/{pacs.orthanc_pid()}/limits").read_text().splitlines()
    (stack,) = (line for line in limits if line.startswith("Max stack size"))
    assert int(stack.split()[3]) == STACK_BYTES
