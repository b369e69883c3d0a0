"""The self-check's promise that all figures arrive, asked of a Prometheus that gets them, some of them, or none."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.monitoring_content import CHECKOUT, filled_in
from fixtures.ports import free_port

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed here")
PROMISE = "Every part of the server is watched: all figures arrive"
SECONDS = 30


class _Exporter(BaseHTTPRequestHandler):
    """Answers as an exporter whose collector has just written its file."""

    def do_GET(self) -> None:
        text = f'node_textfile_mtime_seconds{{file="/x/pacs-monitor.prom"}} {time.time()}\n'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def exporter() -> Iterator[str]:
    """Run an exporter; give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Exporter) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def prometheus(folder: Path, jobs: dict[str, str]) -> Iterator[int]:
    """Run Prometheus with jobs of one address each; give its port."""
    port = free_port()
    listed = [{"job_name": name, "static_configs": [{"targets": [address]}]} for name, address in jobs.items()]
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": listed}
    (folder / "asked.yml").write_text(yaml.safe_dump(config))
    options = (f"--config.file={folder / 'asked.yml'}", f"--storage.tsdb.path={folder / 'data'}")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"], stderr=log)
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def outcome(promises: Path, port: int) -> dict[str, Any]:
    """Ask as the self-check does, until Prometheus answers."""
    verify: dict[str, Any] = runpy.run_path(str(CHECKOUT / "roles/report/files/pacs-verify"))
    (promise,) = (one for one in yaml.safe_load(promises.read_text()) if one["promise"] == PROMISE)
    asked = promise | {"part": "monitoring", "command": promise["command"].replace(":9090", f":{port}")}
    deadline = time.monotonic() + SECONDS
    while True:
        result: dict[str, Any] = verify["keep"](asked)
        if "refused" not in result["evidence"] and "503" not in result["evidence"]:
            return result
        assert time.monotonic() < deadline, result
        time.sleep(0.1)


def test_promise_is_broken_when_nothing_is_scraped(tmp_path: Path) -> None:
    """Where nothing is asked nothing is down: that must not pass for health."""
    with prometheus(tmp_path, {}) as port:
        assert not outcome(filled_in(tmp_path / "role") / "monitoring.yml", port)["passed"]


def test_promise_is_kept_when_all_arrives_and_names_what_does_not(tmp_path: Path, exporter: str) -> None:
    """Each job by its name: with all of them there it is kept, and one that is down is in the evidence."""
    folder = filled_in(tmp_path / "role")
    jobs = [job["job_name"] for job in yaml.safe_load((folder / "prometheus.yml").read_text())["scrape_configs"]]
    deadline = time.monotonic() + SECONDS
    with prometheus(tmp_path, dict.fromkeys(jobs, exporter)) as port:
        while not outcome(folder / "monitoring.yml", port)["passed"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    (tmp_path / "again").mkdir()
    with prometheus(tmp_path / "again", dict.fromkeys(jobs, exporter) | {"postgresql": "127.0.0.1:1"}) as port:
        while "postgresql 0" not in (result := outcome(folder / "monitoring.yml", port))["evidence"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert not result["passed"]
