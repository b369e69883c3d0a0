"""The script that Orthanc loads: reads the settings, builds the objects, registers. No logic of its own."""

import os
import site
import sys
from pathlib import Path
from tempfile import gettempdir

# Orthanc embeds the system's interpreter: our packages stand in a virtual environment beside it.
_VENV = Path(os.environ.get("PACS_VENV", "/opt/pacs/venv"))
site.addsitedir(str(_VENV / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"))

import json  # noqa: E402
from functools import partial  # noqa: E402

import orthanc  # noqa: E402

from orthanc_glue.access import AccessFilter  # noqa: E402
from orthanc_glue.archive import OrthancArchive  # noqa: E402
from orthanc_glue.callbacks import Callbacks  # noqa: E402
from orthanc_glue.ingest import IngestGuard  # noqa: E402
from orthanc_glue.logs import log_to_orthanc  # noqa: E402
from orthanc_glue.worklist import WorklistProvider  # noqa: E402
from pacs.application import Application, Host  # noqa: E402
from pacs.native.dicom_port import hold_back_silent_connections  # noqa: E402
from pacs.native.index_commits import sync_each_commit_of_the_index  # noqa: E402
from pacs.native.jpeg_ls_encoder import switch_off_jpeg_ls_encoder  # noqa: E402
from pacs.native.thread_stacks import give_http_threads_whole_stacks  # noqa: E402
from pacs.settings import parse_settings  # noqa: E402

# A callback of Orthanc waits for the interpreter at most this long while a thread of ours computes; Python's own 5 ms
# would be more than the storing of an image takes.
sys.setswitchinterval(0.0005)
log_to_orthanc(orthanc)
switch_off_jpeg_ls_encoder()
give_http_threads_whole_stacks()
sync_each_commit_of_the_index()
callbacks = Callbacks(orthanc)
configuration = json.loads(orthanc.GetConfiguration())
settings = parse_settings(configuration.get("Pacs", {}))
application = Application(
    settings,
    OrthancArchive(orthanc),
    Host(
        storage_directory=Path(configuration["StorageDirectory"]),
        temporary_directory=Path(configuration.get("TemporaryDirectory", gettempdir())),
        stable_age_seconds=configuration.get("StableAge", 60),
        python=_VENV / "bin" / "python",
        http_port=configuration["HttpPort"],
        dicom_port=configuration["DicomPort"],
    ),
)
callbacks.on_start(partial(hold_back_silent_connections, configuration["DicomPort"]))
callbacks.on_start(application.start)
callbacks.on_stop(application.stop)
callbacks.on_change(application.notice)
callbacks.transcode(application.transcode)
AccessFilter(orthanc, settings.access, application.metrics).register(callbacks)
IngestGuard(orthanc, application.metrics).register(callbacks)
WorklistProvider(application.find_worklist, application.metrics).register(callbacks)
