"""What a child needs to de-identify: the project, and its secret, which no child finds in its environment."""

from __future__ import annotations

import base64
from pathlib import Path

from pacs.deidentify import MissingSecret, Projects, ProjectsError, secret_of
from pacs.ports import Json
from pacs.routing.senders.faults import FaultKind, SendingFault


class Identities:
    """Finds projects for children."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self, project: str) -> Json:
        """Return what the child is told of a project.

        Raises
        ------
        SendingFault : there is no such project, or its secret is nowhere.
        """
        try:
            secret = secret_of(Projects.load(self._file).get(project))
        except (ProjectsError, MissingSecret) as error:
            raise SendingFault(
                FaultKind.OURS, error.message, remedy=error.remedy or f"Correct {self._file}, then replay it."
            ) from error
        return {"file": str(self._file), "project": project, "secret": base64.b64encode(secret).decode()}
