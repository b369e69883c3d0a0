"""deidentify.yaml: read whole, with every fault told by its line and cure, or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pacs.deidentify.errors import MissingSecret, ProjectsError
from pacs.deidentify.keys import SHORTEST_SECRET_BYTES
from pacs.deidentify.parsing import parse_projects
from pacs.deidentify.project import Project

_SECRET_CURE = "Make one with `openssl rand -hex 32`; who has it can find out whose a pseudonym is."  # noqa: S105


@dataclass(frozen=True)
class Projects:
    """The projects of a site, by name.

    Attributes
    ----------
    texts : what the file of projects and those that it names say, by their names: `of` makes the same of it again.
    """

    by_name: Mapping[str, Project]
    texts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Projects:
        """Read a file of projects and the files of masks and words beside it; no file is no project.

        Raises
        ------
        ProjectsError : with every fault of all of them.
        """
        if not path.exists():
            return cls({})
        texts: dict[str, str] = {}

        def read_text(name: str) -> str:
            return texts.setdefault(name, (path.parent / name).read_text(encoding="utf-8"))

        return cls(parse_projects(path.name, read_text), texts)

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> Projects:
        """Return what files said when they were read: the file of projects first. Raises ProjectsError."""

        def read_text(name: str) -> str:
            if name not in texts:
                raise FileNotFoundError(name)
            return texts[name]

        return cls(parse_projects(next(iter(texts)), read_text), texts)

    def names(self) -> list[str]:
        """Return the names, sorted."""
        return sorted(self.by_name)

    def get(self, name: str) -> Project:
        """Return a project.

        Raises
        ------
        ProjectsError : there is none of this name.
        """
        try:
            return self.by_name[name]
        except KeyError:
            known = ", ".join(self.names()) or "none"
            raise ProjectsError([f'there is no project "{name}"; known: {known}.']) from None


def secret_of(project: Project, credentials: Path | None = None) -> bytes:
    """Return the secret of a project: a credential of systemd of its name, or an environment variable.

    Parameters
    ----------
    credentials : folder of credentials; $CREDENTIALS_DIRECTORY where None.

    Raises
    ------
    MissingSecret : it is nowhere, or too short to keep anything secret.
    """
    folder = credentials or (Path(found) if (found := os.environ.get("CREDENTIALS_DIRECTORY")) else None)
    file = folder / project.secret_name if folder else None
    if file is not None and file.is_file():
        secret = file.read_bytes().strip()
    else:
        secret = os.environ.get(project.secret_name, "").encode("utf-8", "surrogateescape").strip()
    if not secret:
        raise MissingSecret(
            f'The secret "{project.secret_name}" of the project "{project.name}" is neither a credential nor in the '
            "environment.",
            remedy=_SECRET_CURE,
        )
    if len(secret) < SHORTEST_SECRET_BYTES:
        raise MissingSecret(
            f'The secret "{project.secret_name}" has {len(secret)} bytes, expected {SHORTEST_SECRET_BYTES} or more.',
            remedy=_SECRET_CURE,
        )
    return secret
