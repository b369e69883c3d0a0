"""What is known of a study when rules are asked: values by name, of the whole study and of each of its series."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from pacs.routing.rules.names import Own
from pacs.studies.names import fold

type Values = tuple[str, ...]

_NOTHING: Values = ()
# Modalities, stations, body parts: the same few words come with nearly every study and in each of its series.
_fold = lru_cache(maxsize=8192)(fold)


@dataclass(frozen=True)
class Facts:
    """Values by name. Made for one evaluation, in one thread.

    Parameters
    ----------
    values : of every name that is known, each different value once, "" left out. Of a study those of all its series.
    at : the moment that time, weekday and date are of, in the hospital's time zone.
    series : the facts of each series, with those of the study in them; empty for the facts of a series.
    nested : sequences as lists of items, for expressions: {"ProcedureCodeSequence": [{"CodeValue": "X"}]}.
    expression_values : values as expressions have them, made when the first one asks.
    """

    values: Mapping[str, Values]
    at: datetime
    series: tuple[Facts, ...] = ()
    nested: Mapping[str, Any] = field(default_factory=dict)
    expression_values: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _folded: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)
    _kept: dict[tuple[str, object], Any] = field(default_factory=dict, repr=False, compare=False)

    def get(self, name: str) -> Values:
        """Return the values of a name, none where nothing is known of it."""
        found = self.values.get(name)
        return self._of_moment(name) if found is None else found

    def read(self, name: str, reading: Callable[[str], Any]) -> tuple[Any, ...]:
        """Return the values of a name as `reading` understands them, None left out; each is read once."""
        key = (name, reading)
        kept: tuple[Any, ...] | None = self._kept.get(key)
        if kept is None:
            found = (reading(value) for value in self.get(name))
            kept = self._kept[key] = tuple(value for value in found if value is not None)
        return kept

    def folded(self, name: str) -> tuple[str, ...]:
        """Return the values of a name without regard to case and accents."""
        kept = self._folded.get(name)
        if kept is None:
            kept = self._folded[name] = tuple(map(_fold, self.get(name)))
        return kept

    def _of_moment(self, name: str) -> Values:
        if name == Own.TIME:
            return (f"{self.at:%H%M%S}",)
        if name == Own.DATE:
            return (f"{self.at:%Y%m%d}",)
        if name == Own.WEEKDAY:
            return (f"{self.at:%a}",)
        return _NOTHING
