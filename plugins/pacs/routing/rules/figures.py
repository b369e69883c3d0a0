"""Rules as Prometheus metrics: how often they are asked, which are met, and what of theirs fails."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pacs.metrics import Metrics
from pacs.studies.names import fold

_LONGEST_LABEL = 40


def rule_label(rule: str) -> str:
    """Return a rule's name as labels have it, "Trauma at night" as trauma-at-night.

    `pacs.metrics` keeps the first fifty that come; whoever renames rules every day makes no more series than that.
    """
    return re.sub(r"[^a-z0-9]+", "-", fold(rule)).strip("-")[:_LONGEST_LABEL] or "unnamed"


class RuleFigures:
    """What is counted of rules. Deliveries that fail are counted by `delivery.figures`, with the same labels."""

    def __init__(self, metrics: Metrics) -> None:
        self._decisions = metrics.counter(
            "pacs_routing_decisions_total",
            "How often the rules were asked about something, by what happened.",
            ("event",),
        )
        self._matched = metrics.counter("pacs_routing_rule_matched_total", "How often a rule was met.", ("rule",))
        self._failed = metrics.counter(
            "pacs_routing_rule_failed_total",
            "What a rule wanted done beside deliveries and was given up.",
            ("rule", "kind"),
        )

    def decided(self, event: str, matched: Iterable[str]) -> None:
        """Count one asking and the rules that were met."""
        self._decisions.labels(event.replace(" ", "-")).inc()
        for rule in matched:
            self._matched.labels(rule_label(rule)).inc()

    def failed(self, rule: str, kind: str) -> None:
        """Count a task that became a dead letter."""
        self._failed.labels(rule_label(rule), kind).inc()
