"""The receiver: a process of its own that takes messages and makes them durable; see `pacs.hl7.receiving`.

`python -m pacs.hl7.receiver`, started by the plugin alone. Standard input: one line of JSON, `{"database": URL,
"settings": {...}}`, then nothing; its end is the order to end. Standard output: lines of JSON, what happens here.

Why a process: in Orthanc's, one interpreter lock is shared with the storing of images, the worklist, the pages and the
work behind the acknowledgments, and answering 50 busy senders was measured to be five times slower for it. Nor do
thousands of connections and messages of 64 MB then weigh on Orthanc, whose memory and descriptors are limited.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import threading
from contextlib import suppress
from typing import Any

from pacs.database import Database
from pacs.errors import PacsError
from pacs.hl7.peers import Peers
from pacs.hl7.server import MllpServer
from pacs.hl7.settings import Hl7Settings
from pacs.hl7.storing import FrameStore
from pacs.hl7.tally import Tally
from pacs.processes.log_relay import RelayHandler
from pacs.processes.messages import Logged

_STDIN, _STDOUT = 0, 1
_log = logging.getLogger("pacs.hl7.receiver")


def main() -> int:
    """Serve until standard input ends; return the exit status."""
    setup = json.loads(sys.stdin.readline())
    os.set_blocking(_STDOUT, False)
    logging.getLogger().addHandler(RelayHandler(_tell_log))
    logging.getLogger("pacs").setLevel(setup.get("log_level", logging.INFO))
    stop = threading.Event()
    threading.Thread(target=_await_end, args=(stop,), daemon=True).start()
    settings = Hl7Settings.model_validate(setup["settings"])
    # What was imported stays; messages hold nothing in circles: looking for circles costs the senders' time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        with Database(setup["database"]) as database:
            MllpServer(settings, Peers(settings), FrameStore(database), Tally(), tell).run(stop)
    except PacsError as error:
        _log.error("%s", error)
        return 1
    return 0


def tell(what: str, value: object) -> None:
    """Write a line to the plugin. While it does not listen lines are lost: it looks by itself as well."""
    _write({what: value})


def _tell_log(line: Logged) -> None:
    _write({"logged": vars(line)})


def _write(content: dict[str, Any]) -> None:
    with suppress(BlockingIOError, BrokenPipeError):
        os.write(_STDOUT, json.dumps(content, separators=(",", ":")).encode() + b"\n")


def _await_end(stop: threading.Event) -> None:
    """Wait until the plugin closes our standard input, or the kernel does since Orthanc was killed."""
    while os.read(_STDIN, 1024):
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main())
