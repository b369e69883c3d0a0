"""The projects of de-identification in force, and the versions of them that deliveries began with.

Pseudonyms, UIDs and dates follow from a project and its secret: a study that is sent in two tries, or gets late images,
must leave by the same version of both, or it would be two at the target. So the first try keeps the version, by a
keyed digest, and all later ones use it, whatever the file says by then.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.deidentify import MissingSecret, Projects, ProjectsError, secret_of
from pacs.ports import Json
from pacs.routing.delivery.models import IdentityRecord
from pacs.routing.senders.faults import FaultKind, SendingFault
from pacs.work.queue import Clock

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """A project as it is at one moment.

    Attributes
    ----------
    texts : of the files that say it.
    """

    project: str
    texts: Mapping[str, str]
    secret: bytes

    @property
    def version(self) -> str:
        """Digest of project and texts, keyed by the secret, of which it tells nothing."""
        said = json.dumps([self.project, list(self.texts.items())])
        return hmac.digest(self.secret, said.encode(), "sha256").hex()

    def as_argument(self) -> Json:
        """Return what the child is told, which finds no secret in its environment."""
        return {
            "texts": dict(self.texts),
            "project": self.project,
            "secret": base64.b64encode(self.secret).decode(),
        }


class Identities:
    """Finds projects for deliveries. Safe to use from any thread.

    Parameters
    ----------
    file : deidentify.yaml. A file with a mistake never replaces a good one.
    """

    def __init__(self, file: Path, database: Database, clock: Clock) -> None:
        self._file = file
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._in_force: Projects | None = None
        self._error: ProjectsError | None = None

    def current(self, project: str) -> Identity:
        """Return a project as the file has it, or as it was before a mistake came into it.

        Raises
        ------
        SendingFault : there is no such project, the file never was without a mistake, or the secret is nowhere.
        """
        with self._lock:
            self._look()
            in_force, error = self._in_force, self._error
        if in_force is None:
            raise _waits(error or ProjectsError([]), f"Correct {self._file}: it is tried again by itself.")
        return self._identity(in_force, project)

    def kept(self, version: str) -> Identity:
        """Return a version that a delivery began with.

        Raises
        ------
        SendingFault : it is not kept any more, or the project has another secret now.
        """
        with self._database.session() as session:
            record = session.get(IdentityRecord, version)
        if record is None:
            raise SendingFault(FaultKind.WAITS, "The version of the project that it began with is gone.", remedy=_ANEW)
        identity = self._identity(Projects.of(dict(record.texts)), record.project)
        if identity.version != version:
            raise SendingFault(
                FaultKind.WAITS,
                f'The secret of the project "{record.project}" is another one than when this delivery began: the rest '
                "of the study would belong to another patient.",
                remedy=f"Put the former secret back: it is tried again by itself. {_ANEW}",
            )
        return identity

    def keep(self, session: Session, identity: Identity) -> None:
        """Keep a version, in the transaction of the delivery that begins with it; one that is kept is so from now."""
        insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
        values = {
            "version": identity.version,
            "project": identity.project,
            "texts": list(identity.texts.items()),
            "kept_at": self._clock(),
        }
        # Not left as it is where it is there: it may be so old that it is being forgotten at this moment.
        kept_anew = {"kept_at": values["kept_at"]}
        statement = insert(IdentityRecord).values(values)
        session.execute(statement.on_conflict_do_update(index_elements=["version"], set_=kept_anew))

    def _identity(self, projects: Projects, project: str) -> Identity:
        try:
            secret = secret_of(projects.get(project))
        except (ProjectsError, MissingSecret) as error:
            raise _waits(error, f"Correct {self._file}: it is tried again by itself.") from error
        return Identity(project, projects.texts, secret)

    def _look(self) -> None:
        """Read the files again when one of them changed, or had a mistake: they are small."""
        if self._error is None and self._in_force is not None and self._is_unchanged(self._in_force.texts):
            return
        try:
            self._in_force, self._error = Projects.load(self._file), None
        except ProjectsError as error:
            if self._error is None or error.faults != self._error.faults:
                _log.warning("The former projects of de-identification stay in force: %s", error)
            self._error = error

    def _is_unchanged(self, texts: Mapping[str, str]) -> bool:
        try:
            return bool(texts) and all(
                (self._file.parent / name).read_text(encoding="utf-8") == text for name, text in texts.items()
            )
        except (OSError, UnicodeDecodeError):
            return False


_ANEW = "Or send all of it once more: then all of it gets the identity of now."


def _waits(error: ProjectsError | MissingSecret, remedy: str) -> SendingFault:
    return SendingFault(FaultKind.WAITS, error.message, remedy=error.remedy or remedy)
