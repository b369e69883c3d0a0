"""Taking the identity out of instances on their way, in the child."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from typing import Any, cast

from pydicom.dataset import FileDataset

from pacs.deidentify import DeidentificationError, Projects, Report, deidentify
from pacs.deidentify.files import be_silent
from pacs.ports import Json
from pacs.routing.senders.faults import FaultKind, SendingFault


class WithoutIdentity:
    """De-identifies for one project; may be called from several threads.

    Parameters
    ----------
    told : texts, project and secret, as `delivery.identities` tells them.
    """

    def __init__(self, told: Mapping[str, Json]) -> None:
        be_silent()
        self._project = Projects.of(told["texts"]).get(told["project"])
        self._secret = base64.b64decode(told["secret"])
        self._report = Report()
        self._lock = threading.Lock()

    def __call__(self, dataset: FileDataset) -> FileDataset:
        """Return an instance of nobody.

        Raises
        ------
        SendingFault : the project can't; nothing of it may go out.
        """
        try:
            result = deidentify(dataset, self._project, self._secret)
        except DeidentificationError as error:
            raise SendingFault(FaultKind.OURS, error.message, remedy=error.remedy) from None
        with self._lock:
            self._report.add(result.changes)
        return cast("FileDataset", result.dataset)

    def report(self) -> dict[str, Any]:
        """Return what was done, by attribute, without any value."""
        with self._lock:
            return self._report.as_json()
