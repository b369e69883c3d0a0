"""Which studies are priors: of the same patient for sure, and of the kind that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Self


@dataclass(frozen=True)
class Prior:
    """A study that may be wanted.

    Attributes
    ----------
    newest_first_key : YYYYMMDDHHMMSS of the study, "" without a date.
    """

    study_instance_uid: str
    patient_id: str
    issuer_of_patient_id: str
    birth_date: str
    newest_first_key: str
    modalities: frozenset[str]
    body_parts: frozenset[str]


@dataclass(frozen=True)
class Wish:
    """Which priors a rule wants.

    Attributes
    ----------
    modalities, body_parts : any of them; empty for all.
    last : so many at most, the newest; None for all.
    within_days : before the study's own date; None for any age.
    """

    modalities: frozenset[str] = frozenset()
    body_parts: frozenset[str] = frozenset()
    last: int | None = None
    within_days: int | None = None

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """Read the parameters of a rule's `prefetch`."""
        return cls(
            frozenset(map(str.upper, parameters.get("modalities", ()))),
            frozenset(map(str.upper, parameters.get("body_parts", ()))),
            parameters.get("last"),
            parameters.get("within_days"),
        )

    def chosen(self, own: Prior, candidates: Iterable[Prior]) -> list[Prior]:
        """Return those of `candidates` that are priors of `own` and wanted, newest first."""
        fitting = [one for one in candidates if is_same_patient(own, one) and self._fits(own, one)]
        fitting.sort(key=lambda one: one.newest_first_key, reverse=True)
        return fitting[: self.last]

    def _fits(self, own: Prior, prior: Prior) -> bool:
        if prior.study_instance_uid == own.study_instance_uid or prior.newest_first_key > own.newest_first_key != "":
            return False
        if self.modalities and not self.modalities & prior.modalities:
            return False
        if self.body_parts and not self.body_parts & prior.body_parts:
            return False
        return self.within_days is None or self._is_young(own, prior, self.within_days)

    @staticmethod
    def _is_young(own: Prior, prior: Prior, days: int) -> bool:
        if not prior.newest_first_key:
            return False
        end = _day(own.newest_first_key) if own.newest_first_key else date.today()  # noqa: DTZ011 (study dates have no zone)
        return end - _day(prior.newest_first_key) <= timedelta(days=days)


def is_same_patient(own: Prior, other: Prior) -> bool:
    """Tell whether two studies are of one patient for sure: nothing that both say may differ (patient safety).

    A number without an issuer is of whoever else has the number only when the birth dates agree.
    """
    if not own.patient_id or own.patient_id != other.patient_id:
        return False
    if own.birth_date and other.birth_date and own.birth_date != other.birth_date:
        return False
    if own.issuer_of_patient_id and other.issuer_of_patient_id:
        return own.issuer_of_patient_id == other.issuer_of_patient_id
    return bool(own.birth_date) and own.birth_date == other.birth_date


def _day(key: str) -> date:
    return date(int(key[:4]), int(key[4:6]), int(key[6:8]))
