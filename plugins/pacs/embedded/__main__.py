"""Run the archive in the foreground: `python -m pacs.embedded`, inside the root that `make run` enters."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pacs import configuration
from pacs.embedded.index_statistics import refresh_index_statistics
from pacs.embedded.nginx import write_nginx_configuration
from pacs.embedded.options import Options, StartError, free_loopback_port, require_free_port
from pacs.embedded.services import Restarts, Service, give_threads_stacks, wait_until_answers, wait_until_listens
from pacs.errors import PacsError
from pacs.settings import parse_settings

FRAGMENTS = Path("/opt/pacs/orthanc/config")
ENVIRONMENT = Path("/opt/pacs/orthanc/environment")
RUN_TIME_FILES = Path("/run")
NGINX_TIMEOUT_SECONDS = 5
ORTHANC_TIMEOUT_SECONDS = 20
LEAST_MEMORY_BYTES = 4 * 1024**3
# Why so much: orthanc/README.md.
STACK_BYTES = 8 * 1024**2

_log = logging.getLogger("pacs.embedded")


def main() -> int:
    """Run until asked to end; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    if not sys.stdin.isatty():
        threading.Thread(target=_end_with_lifeline, args=(stop,), daemon=True).start()
    try:
        _run(Options.from_environment(os.environ), stop)
    except PacsError as error:
        _log.error("error: %s", error)
        return 1
    return 0


def _end_with_lifeline(stop: threading.Event) -> None:
    """End when whoever started us closes our standard input."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stop.set()


def _run(options: Options, stop: threading.Event) -> None:
    """Check everything, start the services, tell that they are ready, and watch them."""
    with ExitStack() as cleanup:
        _claim(options, cleanup)
        for name, port in (
            ("PACS_HTTP_PORT", options.http_port),
            ("PACS_DICOM_PORT", options.dicom_port),
            ("PACS_MPPS_PORT", options.mpps_port),
            ("PACS_HL7_PORT", options.hl7_port),
        ):
            require_free_port(name, port, "0.0.0.0" if name == "PACS_DICOM_PORT" else "127.0.0.1")  # noqa: S104
        archive = _start(options, cleanup, stop)
        if stop.is_set():
            return
        if options.demo:
            # Slow to import (NumPy, pydicom), which a start that is refused should not have to wait for.
            from pacs.embedded import demo  # noqa: PLC0415

            demo.load(f"http://127.0.0.1:{options.http_port}", options.data_directory, stop)
        if not stop.is_set():
            _log.info(_ready_text(options))
        _watch(archive, stop)
        _log.info("ending ...")


@dataclass(frozen=True)
class _Archive:
    """What runs, and where it says that it does.

    Attributes
    ----------
    pages_url : through NGINX.
    """

    orthanc: Service
    nginx: Service
    orthanc_url: str
    pages_url: str
    hl7_port: int

    def wait_until_ready(self, stop: threading.Event) -> None:
        """Wait until everything answers, or until asked to end. Raise StartError when a service ends instead."""
        wait_until_answers(self.orthanc_url, stop, self.orthanc)
        wait_until_answers(self.pages_url, stop, self.nginx, self.orthanc)
        wait_until_listens(self.hl7_port, stop)


def _watch(archive: _Archive, stop: threading.Event) -> None:
    """Start Orthanc again when something killed it, as systemd does on a server, until asked to end."""
    restarts = Restarts()
    while not stop.wait(0.5):
        if archive.nginx.ended:
            raise StartError(f"NGINX ended by itself. Its last words:\n{archive.nginx.last_words()}")
        if archive.orthanc.ended:
            _start_again(archive, restarts, stop)


def _start_again(archive: _Archive, restarts: Restarts, stop: threading.Event) -> None:
    """Start Orthanc again and wait until it answers; raise StartError when it ended itself, or is killed too often."""
    orthanc = archive.orthanc
    if orthanc.killed_by is None:
        raise StartError(f"Orthanc ended by itself. Its last words:\n{orthanc.last_words()}")
    if not restarts.allow():
        raise StartError(
            f"Orthanc is killed again and again ({orthanc.killed_by}). Its last words:\n{orthanc.last_words()}"
        )
    _log.warning("Orthanc was ended by a signal (%s) and is started again ...", orthanc.killed_by)
    orthanc.start()
    try:
        archive.wait_until_ready(stop)
    except StartError:
        if orthanc.killed_by is None:
            raise
        return
    if not stop.is_set():
        _log.info("READY again")


def _claim(options: Options, cleanup: ExitStack) -> None:
    """Make the directories and keep a second archive off them."""
    try:
        for name in ("orthanc", "plugins", "log", "temporary"):
            (options.data_directory / name).mkdir(parents=True, exist_ok=True)
        lock = cleanup.enter_context((options.data_directory / ".lock").open("w"))
    except OSError as error:
        raise StartError(
            f"{options.data_directory_outside} can't be written ({error.strerror}).",
            remedy="Choose another directory with PACS_DATA_DIR=DIRECTORY.",
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StartError(
            f"Another archive is running on {options.data_directory_outside}.",
            remedy="End it, or choose another directory with PACS_DATA_DIR=DIRECTORY.",
        ) from None


def _start(options: Options, cleanup: ExitStack, stop: threading.Event) -> _Archive:
    """Start Orthanc, then NGINX before it; both are ended in the reverse order."""
    run_directory = Path(cleanup.enter_context(TemporaryDirectory(prefix="pacs-", dir=RUN_TIME_FILES)))
    pages_socket = run_directory / "pages.sock"
    orthanc_port = free_loopback_port()
    environment = _environment(options, orthanc_port, pages_socket)
    logs = options.data_directory / "log"
    path = _configuration(options, environment, run_directory)
    nginx_configuration = write_nginx_configuration(run_directory, logs, options.http_port, orthanc_port, pages_socket)
    nginx_command = ["nginx", "-e", str(logs / "nginx.log"), "-c", str(nginx_configuration), "-g", "daemon off;"]
    archive = _Archive(
        Service("Orthanc", ["Orthanc", str(path)], logs / "orthanc.log", environment, _address_space_bytes()),
        Service("NGINX", nginx_command, logs / "nginx.log"),
        f"http://127.0.0.1:{orthanc_port}/system",
        f"http://127.0.0.1:{options.http_port}/pacs/health",
        options.hl7_port,
    )
    refresh_index_statistics(options.data_directory / "orthanc" / "index")
    give_threads_stacks(STACK_BYTES)
    archive.orthanc.start()
    cleanup.callback(archive.orthanc.stop, ORTHANC_TIMEOUT_SECONDS)
    archive.nginx.start()
    cleanup.callback(archive.nginx.stop, NGINX_TIMEOUT_SECONDS)
    archive.wait_until_ready(stop)
    return archive


def _address_space_bytes() -> int:
    return max(LEAST_MEMORY_BYTES, _machine_memory_bytes() // 2)


def _machine_memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _environment(options: Options, orthanc_port: int, pages_socket: Path) -> dict[str, str]:
    """Return what Orthanc's configuration and our plugin read from the environment."""
    data = options.data_directory
    return {
        "PACS_PUBLIC_URL": f"http://127.0.0.1:{options.http_port}",
        **os.environ,
        "PACS_AET": options.aet,
        "PACS_DICOM_PORT": str(options.dicom_port),
        "PACS_HL7_PORT": str(options.hl7_port),
        "PACS_MPPS_PORT": str(options.mpps_port),
        "PACS_ORTHANC_HTTP_PORT": str(orthanc_port),
        "PACS_DATA_DIR": str(data),
        "PACS_DATABASE_URL": f"sqlite:///{data}/plugins/pacs.db",
        "PACS_PAGES_SOCKET": str(pages_socket),
        **configuration.read_environment(ENVIRONMENT),
    }


def _configuration(options: Options, environment: dict[str, str], run_directory: Path) -> Path:
    """Return the path that Orthanc reads its configuration from, after our own section of it was checked."""
    own = options.data_directory / "settings.json"
    merged = configuration.load_all(FRAGMENTS, own if own.exists() else None, environment)
    parse_settings(merged.get("Pacs", {}))
    if not own.exists():
        return FRAGMENTS
    path = run_directory / "orthanc.json"
    configuration.write(merged, path)
    return path


def _ready_text(options: Options) -> str:
    address = f"http://127.0.0.1:{options.http_port}"
    return f"""
READY
  Pages            {address}/pacs/
  OHIF             {address}/ohif/
  Orthanc Explorer {address}/app/explorer.html
  DICOMweb         {address}/dicom-web/
  DICOM            {options.aet} at port {options.dicom_port}
  HL7 (MLLP)       at port {options.hl7_port}
  MPPS             at port {options.mpps_port}
  Data and logs    {options.data_directory_outside}
Ctrl-C ends it; the data stay."""


if __name__ == "__main__":
    sys.exit(main())
