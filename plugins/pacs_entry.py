"""The script that Orthanc loads: reads the settings, builds the objects, registers. No logic of its own."""

import os
import site
import sys
from pathlib import Path

# Orthanc embeds the system's interpreter: our packages stand in a virtual environment beside it.
_VENV = Path(os.environ.get("PACS_VENV", "/opt/pacs/venv"))
site.addsitedir(str(_VENV / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"))

import json  # noqa: E402

import orthanc  # noqa: E402

from orthanc_glue.archive import OrthancArchive  # noqa: E402
from orthanc_glue.callbacks import Callbacks  # noqa: E402
from orthanc_glue.ingest import IngestGuard  # noqa: E402
from orthanc_glue.logs import log_to_orthanc  # noqa: E402
from pacs.application import Application, Host  # noqa: E402
from pacs.native.jpeg_ls_encoder import switch_off_jpeg_ls_encoder  # noqa: E402
from pacs.native.thread_stacks import give_http_threads_whole_stacks  # noqa: E402
from pacs.settings import parse_settings  # noqa: E402

log_to_orthanc(orthanc)
switch_off_jpeg_ls_encoder()
give_http_threads_whole_stacks()
callbacks = Callbacks(orthanc)
configuration = json.loads(orthanc.GetConfiguration())
application = Application(
    parse_settings(configuration.get("Pacs", {})),
    OrthancArchive(orthanc),
    Host(Path(configuration["StorageDirectory"]), configuration.get("StableAge", 60)),
)
callbacks.on_start(application.start)
callbacks.on_stop(application.stop)
callbacks.on_change(application.notice)
IngestGuard(orthanc, application.metrics).register(callbacks)
