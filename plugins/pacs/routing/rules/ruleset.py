"""Rules in their order, and what they decide of a study."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pacs.routing.orders import DeliveryOrder
from pacs.routing.rules.conditions import Condition, Explained, compared
from pacs.routing.rules.facts import Facts
from pacs.routing.rules.names import Own
from pacs.routing.rules.tasks import Doing, Send, Task
from pacs.routing.rules.triggers import Ahead, Event, Schedule, Triggers
from pacs.studies.names import fold

FALLBACK = "fallback"


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes
    ----------
    line : of the file, where it begins.
    stops : no rule after it is asked when it is met.
    note : what people wrote about it.
    """

    name: str
    line: int
    triggers: Triggers
    condition: Condition
    doings: tuple[Doing, ...]
    stops: bool = False
    enabled: bool = True
    note: str = ""


@dataclass(frozen=True)
class Subject:
    """What is decided about: a study, or one series of it."""

    orthanc_study_id: str
    study_instance_uid: str
    orthanc_series_id: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What rules decide.

    Attributes
    ----------
    matched : the rules that were met, in their order.
    stopped_by : the rule after which no other was asked, "" when all were.
    """

    matched: tuple[Rule, ...]
    stopped_by: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the rules that were met."""
        return tuple(rule.name for rule in self.matched)

    @property
    def targets(self) -> tuple[str, ...]:
        """Where the study goes."""
        return tuple(dict.fromkeys(name for _, send in self._sends() for name in send.targets))

    @property
    def task_words(self) -> tuple[str, ...]:
        """What else is done, as `kind: what`."""
        return tuple(dict.fromkeys(words_of(task) for _, task in self.tasks()))

    def tasks(self) -> Iterator[tuple[str, Task]]:
        """Yield everything but deliveries, with the rule that asks for it."""
        for rule in self.matched:
            for doing in rule.doings:
                if isinstance(doing, Task):
                    yield rule.name, doing

    def orders(self, subject: Subject, reason: str, *, again: bool = False) -> list[DeliveryOrder]:
        """Return the deliveries, one a target: what several rules order for it is made one."""
        by_target: dict[str, DeliveryOrder] = {}
        for rule, send in self._sends():
            for target in send.targets:
                order = _order(subject, rule, send, target, reason, again=again)
                before = by_target.get(target)
                by_target[target] = order if before is None else _merged(before, order)
        return list(by_target.values())

    def _sends(self) -> Iterator[tuple[str, Send]]:
        for rule in self.matched:
            for doing in rule.doings:
                if isinstance(doing, Send):
                    yield rule.name, doing


@dataclass(frozen=True)
class Trial:
    """A rule, tried for the tester.

    Attributes
    ----------
    is_asked : the event asks it, and no rule before it stopped.
    is_met : its conditions are met, asked or not.
    """

    rule: Rule
    is_asked: bool
    is_met: bool
    explained: Explained


@dataclass(frozen=True)
class RuleSet:
    """A file of rules, whole. Never changes; safe to use from any thread.

    Attributes
    ----------
    fallback : what is done when no rule is met, None for nothing.
    """

    rules: tuple[Rule, ...] = ()
    fallback: Rule | None = None
    text: str = ""

    @cached_property
    def names(self) -> frozenset[str]:
        """The names whose values the rules that are switched on ask for."""
        return frozenset[str]().union(*(rule.condition.names for rule in self._enabled()))

    @cached_property
    def schedules(self) -> tuple[Schedule, ...]:
        """All times of day at which something is asked, each once."""
        found = {one.words: one for rule in self._enabled() for one in rule.triggers.schedules}
        return tuple(found.values())

    @cached_property
    def aheads(self) -> tuple[Ahead, ...]:
        """All times before appointments at which something is asked, each once."""
        found = {one.words: one for rule in self._enabled() for one in rule.triggers.aheads}
        return tuple(found.values())

    @cached_property
    def watched_labels(self) -> frozenset[str]:
        """The labels, folded, that some rule waits for."""
        waiting = [rule for rule in self._enabled() if Event.LABEL_SET in rule.triggers.events]
        return frozenset(fold(text) for rule in waiting for text in compared(rule.condition, Own.LABELS))

    @cached_property
    def events(self) -> frozenset[Event]:
        """Everything that makes some rule be asked."""
        asked = frozenset[Event]().union(*(rule.triggers.events for rule in self._enabled()))
        by_time = {Event.SCHEDULE: self.schedules, Event.APPOINTMENT: self.aheads}
        return asked | {event for event, found in by_time.items() if found}

    def asked_by(self, event: Event, schedule: str = "") -> tuple[Rule, ...]:
        """Return the rules that an event asks, in their order, without the fallback."""
        return tuple(rule for rule in self.rules if rule.enabled and rule.triggers.fire(event, schedule))

    def decide(self, facts: Facts, event: Event, schedule: str = "") -> Verdict:
        """Return what the rules decide."""
        matched: list[Rule] = []
        for rule in self._asked(event, schedule):
            if rule.condition.met(facts):
                matched.append(rule)
                if rule.stops:
                    return Verdict(tuple(matched), rule.name)
        if not matched and self._falls_back(event, schedule) and self.fallback is not None:
            return Verdict((self.fallback,))
        return Verdict(tuple(matched))

    def explain(self, facts: Facts, event: Event, schedule: str = "") -> list[Trial]:
        """Return every rule that is switched on with the value of each of its conditions."""
        asked = set(map(id, self._asked(event, schedule)))
        trials, is_stopped = [], False
        for rule in (rule for rule in self.rules if rule.enabled):
            explained = rule.condition.explain(facts)
            is_asked = id(rule) in asked and not is_stopped
            trials.append(Trial(rule, is_asked, explained.is_met, explained))
            is_stopped = is_stopped or (is_asked and explained.is_met and rule.stops)
        return trials

    def _asked(self, event: Event, schedule: str) -> Sequence[Rule]:
        key = (event, schedule)
        if key not in self._by_event:
            self._by_event[key] = self.asked_by(event, schedule)
        return self._by_event[key]

    @cached_property
    def _by_event(self) -> dict[tuple[Event, str], tuple[Rule, ...]]:
        return {}

    def _falls_back(self, event: Event, schedule: str) -> bool:
        return self.fallback is not None and self.fallback.triggers.fire(event, schedule)

    def _enabled(self) -> Iterable[Rule]:
        rules = (*self.rules, self.fallback) if self.fallback else self.rules
        return [rule for rule in rules if rule.enabled]


def words_of(task: Task) -> str:
    """Return what a task does in short, without texts of mails."""
    first = next(iter(task.parameters.values()), "")
    shown = ", ".join(map(str, first)) if isinstance(first, list) else first
    if isinstance(first, dict):
        shown = ", ".join(first)
    return f"{task.kind}: {shown}" if shown else task.kind


def _order(subject: Subject, rule: str, send: Send, target: str, reason: str, *, again: bool) -> DeliveryOrder:
    return DeliveryOrder(
        orthanc_study_id=subject.orthanc_study_id,
        study_instance_uid=subject.study_instance_uid,
        orthanc_series_id=subject.orthanc_series_id,
        target=target,
        rule=rule,
        urgency=send.urgency,
        reason=reason,
        alternatives=send.instead,
        transfer=send.transfer,
        deidentify=send.deidentify,
        changes=send.changes,
        again=again,
    )


def _merged(first: DeliveryOrder, second: DeliveryOrder) -> DeliveryOrder:
    """Return one order of two for the same target: the earlier rule's, at the higher urgency.

    Where one of them hides the patient, that one counts: what was meant to leave without a name never leaves with it.
    """
    kept = second if second.deidentify and not first.deidentify else first
    alternatives = first.alternatives or second.alternatives
    return replace(kept, urgency=max(first.urgency, second.urgency), alternatives=alternatives)
