"""The parent's side: hands an image to a child by a file, takes the result back, counts how it went."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pacs.decoding.refusals import Refusals, key_of
from pacs.decoding.settings import DecodingSettings
from pacs.decoding.syntaxes import (
    DECODED_SYNTAXES,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    transfer_syntax_of,
)
from pacs.errors import ProcessError
from pacs.metrics import REQUEST_BUCKETS_SECONDS, Metrics
from pacs.ports import Json
from pacs.processes import (
    Cancellation,
    Interpreter,
    Job,
    Limits,
    PoolPolicy,
    ProcessCancelled,
    ProcessPool,
    ProcessStartFailed,
)
from pacs.processes.scratch import Scratch, remove_tree

_CHILD = "pacs.decoding.child"
# A child is kept while a study is looked through; it grows old so that nothing a codec leaks stays for ever.
_IDLE_SECONDS = 300.0
_JOBS_PER_CHILD = 500
# People wait for these images: less far behind Orthanc than meshes and video.
_NICENESS = 3
# Of the time that one image is given, how much its turn may take to come in a crowd.
_PATIENCE = 2

_log = logging.getLogger(__name__)


class Decoder:
    """Decodes images of `DECODED_SYNTAXES`. Every method may be called on any thread, and waits.

    Parameters
    ----------
    python : the interpreter of the children, that of the virtual environment.
    folder : where images pass through, on the (encrypted) volume of the data: they are patients' images.
    """

    def __init__(self, settings: DecodingSettings, python: Path, folder: Path, metrics: Metrics) -> None:
        plugins = Path(__file__).parents[2]
        limits = Limits(memory_bytes=settings.memory_bytes, niceness=_NICENESS, cpu_threads=1)
        policy = PoolPolicy(
            size=settings.processes, max_jobs_per_child=_JOBS_PER_CHILD, idle_seconds=_IDLE_SECONDS, preload=(_CHILD,)
        )
        self.pool = ProcessPool(Interpreter(python, (plugins,)), folder, limits=limits, policy=policy)
        self._passing = Scratch(folder)
        self._refusals = Refusals()
        self._seconds = settings.seconds
        text = "Images decoded, by how it ended."
        self._jobs = metrics.counter("pacs_decoding_jobs_total", text, ("task", "outcome"))
        self._duration = metrics.histogram(
            "pacs_decoding_seconds",
            "Time for an image, waiting for a process included.",
            ("task",),
            buckets=REQUEST_BUCKETS_SECONDS,
        )

    def transcode(self, dicom: bytes | memoryview, syntaxes: frozenset[str]) -> bytes | None:
        """Return an instance uncompressed, in one of `syntaxes`; None when that is not what is done here.

        Quick for whatever is not of `DECODED_SYNTAXES`. Asks nothing of Orthanc: may be called from within it.

        Raises
        ------
        ProcessError : the image can't be decoded, or not within the limits.
        """
        if transfer_syntax_of(dicom) not in DECODED_SYNTAXES:
            return None
        for syntax in (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN):
            if syntax in syntaxes:
                with self._run("transcode", dicom, syntax=syntax) as target:
                    return target.read_bytes()
        return None

    def thumbnail(self, dicom: bytes, size: int) -> bytes:
        """Return a PNG of the middle frame, no side longer than `size` pixels.

        Raises
        ------
        ProcessError : the image can't be decoded, or not within the limits.
        """
        with self._run("render", dicom, size=size) as target:
            return target.read_bytes()

    def frames(self, dicom: bytes, numbers: Sequence[int]) -> list[bytes]:
        """Return the samples of frames (from 0) as Explicit VR Little Endian has them, colors as RGB by pixel.

        Raises
        ------
        ProcessError : the image can't be decoded, or not within the limits.
        """
        with self._run("frames", dicom, numbers=list(numbers)) as target:
            return [(target / str(number)).read_bytes() for number in numbers]

    def stop(self, timeout_seconds: float) -> None:
        """End the children; whoever waits is refused."""
        self.pool.stop(timeout_seconds)
        self._passing.close()

    @contextmanager
    def _run(self, task: str, dicom: bytes | memoryview, **arguments: Json) -> Iterator[Path]:
        """Run a function of the child and give what it wrote: a file, or a folder of files for `frames`."""
        key = key_of(task, dicom)
        if refusal := self._refusals.find(key):
            self._jobs.labels(task, "known").inc()
            raise refusal.with_traceback(None)
        folder = self._new_folder()
        try:
            source, target = folder / "source", folder / "target"
            _write(source, dicom)
            if task == "frames":
                target.mkdir()
            arguments |= {"source": str(source), "target": str(target)}
            job = Job(function=f"{_CHILD}:{task}", arguments=arguments, wall_seconds=self._seconds)
            self._run_counted(task, job, key)
            yield target
        finally:
            remove_tree(folder)

    def _new_folder(self) -> Path:
        try:
            return self._passing.new_folder()
        except OSError as fault:
            raise _no_room(fault) from fault

    def _run_counted(self, task: str, job: Job, key: bytes) -> None:
        started, outcome = time.monotonic(), "done"
        try:
            with _within(_PATIENCE * self._seconds) as cancellation:
                self.pool.run(job, cancellation=cancellation)
        except ProcessError as error:
            outcome = error.code
            if not isinstance(error, ProcessCancelled | ProcessStartFailed):
                self._refusals.add(key, error)
            # Not the error's note, the traceback: a codec's complaint about a damaged image would fill the log.
            _log.warning("an image was not decoded (%s): %s %s", task, error, getattr(error, "text", "")[:200])
            raise
        finally:
            self._jobs.labels(task, outcome).inc()
            self._duration.labels(task).observe(time.monotonic() - started)


def _write(path: Path, content: bytes | memoryview) -> None:
    try:
        path.write_bytes(content)
    except OSError as fault:
        raise _no_room(fault) from fault


def _no_room(fault: OSError) -> ProcessStartFailed:
    return ProcessStartFailed(
        f"An image can't be handed to a child process: {fault.strerror}.",
        remedy="Check the room in Orthanc's TemporaryDirectory.",
    )


@contextmanager
def _within(seconds: float) -> Iterator[Cancellation]:
    """Give a cancellation that comes by itself: the time of a job begins with its turn, this one at once."""
    cancellation = Cancellation()
    timer = threading.Timer(seconds, cancellation.cancel)
    timer.daemon = True
    timer.start()
    try:
        yield cancellation
    finally:
        timer.cancel()
