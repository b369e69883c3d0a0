"""The mapping files: read when they change, and a good one stays in use while the file holds a mistake."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock

from pacs.hl7.orders.errors import MappingError, NoMapping
from pacs.hl7.orders.mapping import Mapping, parse_mapping

DEFAULT = "default"
_OURS = Path(__file__).parents[1] / "mappings"
_LOOK_AGAIN_SECONDS = 1.0

_log = logging.getLogger(__name__)

type _Stamp = tuple[int, int, int] | None


@dataclass
class _Loaded:
    """A mapping in use, and what is wrong with the file as it is now."""

    stamp: _Stamp
    mapping: Mapping | None = None
    error: MappingError | None = None


class MappingLibrary:
    """Gives every sender its mapping. Safe to use from any thread.

    Parameters
    ----------
    folder : of the site's own mappings; need not exist.
    clock : monotonic, in seconds; replaced in tests.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = Lock()
        self._loaded: dict[str, _Loaded] = {}
        self._looked_at: float | None = None

    def check(self, names: Iterable[str] = ()) -> None:
        """Read the mappings of these names, before anything starts.

        Raises
        ------
        MappingError : with every mistake of every file.
        """
        faults: list[str] = []
        for name in dict.fromkeys((DEFAULT, *filter(None, names))):
            try:
                self.mapping(name)
            except NoMapping as error:
                known = self._loaded[name].error
                faults += known.faults if known else [str(error)]
        if faults:
            raise MappingError(faults)

    def mapping(self, name: str = "") -> Mapping:
        """Return a mapping as its file has it now, or as it was before a mistake came into the file.

        Parameters
        ----------
        name : as a peer's settings have it; "" for the default.

        Raises
        ------
        NoMapping : there is none of this name, or none that ever was without a mistake.
        """
        with self._lock:
            self._look()
            loaded = self._get(name or DEFAULT)
        if loaded.mapping is None:
            raise NoMapping(
                str(loaded.error) if loaded.error else f'There is no mapping "{name}" in {self._folder}.',
                remedy="" if loaded.error else f"Put {name}.yaml there, or change the peer's Mapping.",
            )
        return loaded.mapping

    def names(self) -> list[str]:
        """Return the names of the mappings that there are."""
        files = self._folder.glob("*.yaml") if self._folder.is_dir() else ()
        return sorted({DEFAULT, *(file.stem for file in files)})

    def faults(self) -> list[str]:
        """Return what is wrong with the files of mappings in use, each with its place."""
        with self._lock:
            self._look()
            return [fault for loaded in self._loaded.values() if loaded.error for fault in loaded.error.faults]

    def _look(self) -> None:
        """Read again what changed; files are looked at once a second."""
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at < _LOOK_AGAIN_SECONDS:
            return
        self._looked_at = now
        for name in sorted(self._loaded, key=lambda name: name != DEFAULT):
            self._refresh(name)

    def _get(self, name: str) -> _Loaded:
        if name not in self._loaded:
            self._refresh(name)
        return self._loaded[name]

    def _refresh(self, name: str) -> None:
        stamp = self._stamp(name)
        before = self._loaded.get(name)
        if before is not None and before.stamp == stamp:
            return
        kept = before.mapping if before else None
        loaded = self._loaded[name] = _Loaded(stamp, kept)
        try:
            loaded.mapping = self._read(name) or kept
        except MappingError as error:
            loaded.error = error
            _log.error("The mapping %s is refused%s. %s", name, "; the former stays in use" if kept else "", error)
        if name == DEFAULT and loaded.mapping is not kept:
            # What extends the default is to be read again, too.
            for other in self._loaded.keys() - {DEFAULT}:
                self._loaded[other].stamp = None
                self._refresh(other)

    def _read(self, name: str) -> Mapping | None:
        ours = _ours()
        file = self._folder / f"{name}.yaml"
        if name == DEFAULT:
            return self._laid_over(ours, file, DEFAULT) if file.is_file() else ours
        if not file.is_file():
            return None
        return self._laid_over(self._get(DEFAULT).mapping or ours, file, name)

    def _laid_over(self, base: Mapping, file: Path, name: str) -> Mapping:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise MappingError([f"{file.name}: can't be read as UTF-8 text: {error}."]) from None
        return parse_mapping(text, name, base)

    def _stamp(self, name: str) -> _Stamp:
        try:
            status = (self._folder / f"{name}.yaml").stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


@cache
def _ours() -> Mapping:
    """Return the mapping that comes with the program."""
    return parse_mapping((_OURS / f"{DEFAULT}.yaml").read_text(encoding="utf-8"), DEFAULT, None)
