"""Orthanc's /changes: what is told there, and the studies and series that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pacs.ports import Change, ChangeKind, Json, ResourceLevel
from pacs.studies.dicom_values import moment
from pacs.studies.reader import StudyReader

_EPOCH = datetime.fromtimestamp(0, UTC)
# A transaction that got its number and is not yet committed is over within this time.
_LONGEST_TRANSACTION = timedelta(seconds=5)


@dataclass(frozen=True)
class FeedChange(Change):
    """A change as the feed delivers it.

    Attributes
    ----------
    at : when it happened (Orthanc's clock, whole seconds).
    sequence : Orthanc's number of it, rising; None for one that Orthanc forgot and the feed tells itself.
    """

    at: datetime
    sequence: int | None


@dataclass(frozen=True)
class LoggedChange:
    """A line of /changes, of any kind, also those that the core does not know."""

    sequence: int
    kind: str
    level: str
    resource_id: str
    at: datetime

    @classmethod
    def of(cls, line: Json) -> LoggedChange:
        """Read a line as Orthanc writes it."""
        return cls(line["Seq"], line["ChangeType"], line["ResourceType"], line["ID"], moment(line["Date"]) or _EPOCH)

    def known(self) -> FeedChange | None:
        """Return it as the core knows it, None for a kind that nobody can subscribe to."""
        try:
            kind, level = ChangeKind(self.kind), ResourceLevel(self.level)
        except ValueError:
            return None
        return FeedChange(kind, level, self.resource_id, self.at, self.sequence)


def before_gap(changes: Sequence[LoggedChange], since: int, now: datetime) -> Sequence[LoggedChange]:
    """Return the changes before the first number that is missing and may still come.

    In PostgreSQL, transactions of several connections get numbers in one order and are committed in another: who
    reads on past a missing number never sees it. Numbers of deleted resources are missing for good.
    """
    expected = since + 1
    for place, change in enumerate(changes):
        if change.sequence != expected and now - change.at < _LONGEST_TRANSACTION:
            return changes[:place]
        expected = change.sequence + 1
    return changes


@dataclass
class Touched:
    """What a batch of changes is about.

    Attributes
    ----------
    studies : JSON of those that are there, by Orthanc's identifier.
    gone : identifiers of studies that were told of and are not there.
    series_of_instance, study_of_series : Orthanc's identifiers.
    """

    studies: dict[str, Json] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    series_of_instance: dict[str, str] = field(default_factory=dict)
    study_of_series: dict[str, str] = field(default_factory=dict)


def trace(reader: StudyReader, changes: Sequence[Change]) -> Touched:
    """Return what is touched by instances, series and studies that are new, and by studies that are stable.

    Orthanc names only the instance, series or study that a change happened to. It takes two or three calls for each
    study, however many of its instances are new.
    """
    studies = _ids(changes, {ChangeKind.NEW_STUDY, ChangeKind.STABLE_STUDY})
    tracing = _Tracing(reader, _ids(changes, {ChangeKind.NEW_INSTANCE}), _ids(changes, {ChangeKind.NEW_SERIES}))
    for study in reader.studies(studies):
        tracing.absorb(study)
    tracing.touched.gone = studies - set(tracing.touched.studies)
    tracing.find_studies_of(ResourceLevel.INSTANCE, tracing.instances_left)
    tracing.find_studies_of(ResourceLevel.SERIES, tracing.series_left)
    return tracing.touched


class _Tracing:
    """What is left to be found of a batch, and what was found."""

    def __init__(self, reader: StudyReader, instances: set[str], series: set[str]) -> None:
        self.instances_left, self.series_left = instances, series
        self.touched = Touched()
        self._reader = reader

    def find_studies_of(self, level: ResourceLevel, left: set[str]) -> None:
        while left:
            resource_id = next(iter(left))
            study = self._reader.study_of(level, resource_id)
            if study is not None:
                self.absorb(study)
            # Deleted meanwhile, or even in between these two calls.
            left.discard(resource_id)

    def absorb(self, study: Json) -> None:
        """Note a study, and strike its series and instances off what is left."""
        touched = self.touched
        touched.studies[study["ID"]] = study
        touched.study_of_series |= dict.fromkeys(study["Series"], study["ID"])
        self.series_left.difference_update(study["Series"])
        if self.instances_left:
            series_of_instance = self._reader.series_of_instances(study)
            touched.series_of_instance |= series_of_instance
            self.instances_left.difference_update(series_of_instance)


def _ids(changes: Sequence[Change], kinds: set[ChangeKind]) -> set[str]:
    return {change.resource_id for change in changes if change.kind in kinds}
