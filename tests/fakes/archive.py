"""An archive in memory: what a test says Orthanc answers, and what it was asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from pacs.errors import ArchiveError, NotFound
from pacs.ports import Json


@dataclass
class MemoryArchive:
    """Implements `pacs.ports.Archive` with fixed answers.

    Attributes
    ----------
    answers : GET path to its answer, JSON or bytes.
    outcomes : POST path to its answer; an exception is raised.
    written : what was posted, put and deleted: method, path, body.
    """

    answers: dict[str, Json] = field(default_factory=dict)
    outcomes: dict[str, Json] = field(default_factory=dict)
    written: list[tuple[str, str, Json]] = field(default_factory=list)
    broken: bool = False

    def get_json(self, path: str) -> Json:
        """Return the answer of `path`."""
        return self._answer(self.answers, path)

    def get_bytes(self, path: str) -> bytes:
        """Return the answer of `path`."""
        answer = self._answer(self.answers, path)
        assert isinstance(answer, bytes)
        return answer

    def post_json(self, path: str, body: Json) -> Json:
        """Note the request and return the outcome of `path`."""
        self.written.append(("POST", path, body))
        return self._answer(self.outcomes, path)

    def post_bytes(self, path: str, body: bytes) -> Json:
        """Note the request and return the outcome of `path`; of /tools/lookup by what is looked up."""
        self.written.append(("POST", path, body))
        return self._answer(self.outcomes, f"{path} {body.decode()}" if path == "/tools/lookup" else path)

    def post_for_bytes(self, path: str, body: Json) -> bytes:
        """Note the request and return the outcome of `path`."""
        answer = self.post_json(path, body)
        assert isinstance(answer, bytes)
        return answer

    def put_json(self, path: str, body: Json) -> None:
        """Note the request."""
        self._check()
        self.written.append(("PUT", path, body))

    def delete(self, path: str) -> None:
        """Note the request."""
        self._check()
        self.written.append(("DELETE", path, None))

    def _answer(self, answers: dict[str, Json], path: str) -> Json:
        self._check()
        if path not in answers:
            raise NotFound(f"Orthanc has nothing at {path}.")
        if isinstance(answers[path], Exception):
            raise answers[path]
        return answers[path]

    def _check(self) -> None:
        if self.broken:
            raise ArchiveError("Orthanc did not answer.")
