"""What Prometheus says is wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from pacs.monitoring.incidents import Fact

_log = logging.getLogger(__name__)

_SECONDS = 5.0
_MOST = 50
_LANGUAGES = ("es", "pt", "en")
_WRONG = frozenset({"critical", "warning"})
# What names the thing that an alert is about, the nearest first.
_SUBJECTS = (
    "station",
    "peer",
    "target",
    "queue",
    "place",
    "name",
    "file",
    "device",
    "certificate",
    "receiver",
    "integration",
    "country",
    "mountpoint",
    "thread",
    "instance",
)


@dataclass(frozen=True)
class Alert:
    """An alert that fires.

    Attributes
    ----------
    sentences, actions : what is wrong and what to do, by language code.
    runbook : name of its page, "" without one.
    """

    name: str
    subject: str
    severity: str
    sentences: Mapping[str, str]
    actions: Mapping[str, str]
    runbook: str

    def fact(self) -> Fact:
        """Return it as something that is wrong now."""
        return Fact("alert", self.name, self.subject, self.severity, self.sentences)


def firing(url: str) -> tuple[Alert, ...] | None:
    """Return the alerts that fire and need somebody, by name; None when Prometheus can't be asked.

    Those of lower severities are for machines, such as the one that always fires to prove that alerts arrive.

    Parameters
    ----------
    url : of /api/v1/alerts (Prometheus' HTTP API).
    """
    try:
        listed = httpx.get(url, timeout=_SECONDS).raise_for_status().json()["data"]["alerts"]
        found = [_read(one) for one in listed if one["state"] == "firing"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        _log.info("Prometheus does not tell its alerts: %s", type(error).__name__)
        return None
    wrong = [alert for alert in found if alert.severity in _WRONG]
    return tuple(sorted(wrong, key=lambda alert: (alert.name, alert.subject))[:_MOST])


def _read(one: Mapping[str, Any]) -> Alert:
    labels, annotations = one["labels"], one.get("annotations", {})
    return Alert(
        str(labels["alertname"])[:128],
        next((str(labels[name]) for name in _SUBJECTS if labels.get(name)), ""),
        str(labels.get("severity", "warning"))[:16],
        _by_language(annotations, "summary"),
        _by_language(annotations, "action"),
        str(annotations.get("runbook", "")),
    )


def _by_language(annotations: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the texts `name_es` and so on; plain `name` stands for those that are missing."""
    texts = {code: annotations.get(f"{name}_{code}") or annotations.get(name) for code in _LANGUAGES}
    return {code: text for code, text in texts.items() if text}
