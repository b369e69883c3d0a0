"""Every alert is tested, explained and actionable; what stands in monitoring/ is what its programs take."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.monitoring_content import CHECKOUT, LANGUAGES, MONITORING, ROLE, alerts, chapters, filled_in, steps

ALERT_FILES = sorted(MONITORING.glob("tests/*.yml"))
NEEDS = {"link", "database", "archive", "hang", "web", "signin", "dns"}
# Each alert must need a person; only this one is there to be missed.
WATCHDOG = "Watchdog"
EVERY_ALERT = sorted(alerts())
# Figures by whom they are brought; "pacs_" ones must be found in a source of ours.
OTHERS = re.compile(r"^(node_|up$|pg_|probe_|alertmanager_|pacs:|ALERTS$)")
METRIC = re.compile(r"\b(?:node|pg|probe|alertmanager|pacs)[_:][a-z0-9_:]+|\bup\b")

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not installed here")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a checker."""
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def expectations(name: str) -> list[bool]:
    """Return for each test of an alert whether it expects it to fire."""
    cases = [case for file in ALERT_FILES for case in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]]
    asked = [each for case in cases for each in case["promql_expr_test"]]
    return [bool(each["exp_samples"]) for each in asked if f'alertname="{name}"' in each["expr"]]


def test_rules_are_what_prometheus_takes() -> None:
    """Prometheus's own checker finds no fault in any rule."""
    done = run("promtool", "check", "rules", *sorted(MONITORING.glob("rules/*.yml")))

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", ALERT_FILES, ids=lambda file: file.stem)
def test_alerts_fire_on_their_series_and_are_silent_on_the_neighbours(file: Path) -> None:
    """Prometheus plays each alert's series and its neighbour's through the rules."""
    done = run("promtool", "test", "rules", file)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", EVERY_ALERT)
def test_alert_is_shown_to_fire_and_to_stay_silent(name: str) -> None:
    """No alert without a test of both; the one that always fires has no silence."""
    assert set(expectations(name)) == ({True} if name == WATCHDOG else {True, False})


@pytest.mark.parametrize("name", EVERY_ALERT)
def test_alert_says_what_is_wrong_and_what_to_do(name: str) -> None:
    """A sentence and an action in three languages, a severity, and what it depends on."""
    rule = alerts()[name]
    words = rule["annotations"]

    assert set(words) == {f"{kind}_{language}" for kind in ("summary", "action") for language in LANGUAGES} | {
        "runbook"
    }
    assert words["runbook"] == name
    for kind in ("summary", "action"):
        texts = [words[f"{kind}_{language}"] for language in LANGUAGES]
        assert len(set(texts)) == len(texts)
        assert all(text.endswith(".") and len(text) > 20 for text in texts)
    # The same figures and names in each language.
    assert len({tuple(sorted(re.findall(r"\$\w+(?:\.\w+)?", words[f"summary_{each}"]))) for each in LANGUAGES}) == 1
    assert rule["labels"]["severity"] in ({"none"} if name == WATCHDOG else {"critical", "warning", "info"})
    assert set(rule["labels"].get("needs", "").split()) <= NEEDS


@pytest.mark.parametrize("name", EVERY_ALERT)
def test_runbook_has_the_same_steps_in_three_languages(name: str) -> None:
    """What to do stands in each language, with the same commands, of which at least one only looks."""
    by_language = chapters(name)
    commands = [steps(by_language[language]) for language in LANGUAGES]

    assert commands[0] == commands[1] == commands[2]
    assert any(not step.changes_something for step in commands[0])
    assert all(len(by_language[language]) > 200 for language in LANGUAGES)
    for step in commands[0]:
        assert run("sh", "-nc", step.command).returncode == 0, step.command


def test_no_runbook_is_left_over() -> None:
    """A runbook stands there for each alert and for nothing else."""
    assert sorted(file.stem for file in MONITORING.glob("runbooks/*.md")) == EVERY_ALERT


def brought() -> set[str]:
    """Return the metrics that our own sources name: plugins, collector, recording rules."""
    texts = [path.read_text(encoding="utf-8") for path in (CHECKOUT / "plugins").rglob("*.py")]
    names = {name for text in texts for name in re.findall(r'["\'{](pacs_[a-z0-9_]+)["\']', text)}
    # Collectors of prometheus_client name families: a counter's samples end in _total, a histogram's in its parts.
    names |= {f"{name}{end}" for name in names for end in ("_total", "_bucket", "_count", "_sum")}
    # Some are put together around a short name.
    for text in texts:
        for before, after in re.findall(r'f"(pacs_[a-z0-9_]+_)\{\w+\}([a-z0-9_]*)"', text):
            names |= {before + short + after for short in re.findall(r'"([a-z0-9_]+)"', text)}
    collector = ast.parse((ROLE / "files/pacs-monitor").read_text(encoding="utf-8"))
    names |= {
        node.value for node in ast.walk(collector) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    rules: dict[str, Any] = yaml.safe_load((MONITORING / "rules/recording.yml").read_text())
    return names | {rule["record"] for group in rules["groups"] for rule in group["rules"]}


def test_rules_look_at_figures_that_somebody_brings() -> None:
    """A misspelt metric would make an alert that never fires."""
    ours = brought()
    expressions = {name: re.sub(r'"[^"]*"', '""', rule["expr"]) for name, rule in alerts().items()}
    unknown = {
        f"{name}: {metric}"
        for name, expression in expressions.items()
        for metric in METRIC.findall(expression)
        if metric not in ours and not (OTHERS.match(metric) and not metric.startswith("pacs:"))
    }

    assert unknown == set()


def test_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    """Each picture of the board for Grafana has an expression that Prometheus parses, a title and a place."""
    board = json.loads((MONITORING / "dashboards/pacs.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = [{"record": f"asked:{number}", "expr": expr} for number, expr in enumerate(asked)]
    (tmp_path / "asked.yml").write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    done = run("promtool", "check", "rules", tmp_path / "asked.yml")

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(asked) == len(board["panels"]) > 15
    places = [tuple(panel["gridPos"][key] for key in ("x", "y")) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in board["panels"]}) == len(places)


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"monitoring_mail_server": "", "monitoring_language": "pt"},
        {
            "monitoring_mail_user": "pacs",
            "monitoring_mail_password": "secret",
            "monitoring_telegram_token": "1:a",
            "monitoring_telegram_chat": -5,
            "monitoring_ntfy": "https://ntfy.sh/topic",
            "monitoring_webhooks": ["https://tickets.test/a?b=c"],
            "monitoring_dead_mans_switch": "https://hc-ping.com/x",
            "monitoring_quiet_days": [],
            "monitoring_quiet_from": "01:00",
            "monitoring_quiet_to": "05:00",
        },
    ],
    ids=["mail", "nobody", "every way"],
)
def test_configurations_are_what_the_programs_take(tmp_path: Path, written: dict[str, Any]) -> None:
    """As the role fills them in, Prometheus's and Alertmanager's own checkers find no fault."""
    folder = filled_in(tmp_path, **written)
    config = folder / "alertmanager.yml"
    words = MONITORING / "alertmanager/messages.tmpl"
    config.write_text(config.read_text().replace("/etc/prometheus/messages.tmpl", str(words)))
    for command in (
        ("amtool", "check-config", config),
        ("promtool", "check", "config", "--syntax-only", folder / "prometheus.yml"),
    ):
        done = run(*command)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=Watchdog", "severity=none"), "dead-mans-switch"),
        (("alertname=ArchiveDown", "severity=critical"), "people"),
        (("alertname=DiskFullSoon", "severity=warning"), "people"),
        (("alertname=SignInAtNight", "severity=info"), "people-once"),
    ],
)
def test_alerts_go_where_they_should(tmp_path: Path, labels: tuple[str, ...], receiver: str) -> None:
    """People get alerts; the dead man's switch gets what says that all is well, and nothing else."""
    folder = filled_in(tmp_path, monitoring_dead_mans_switch="https://hc-ping.com/x")
    done = run("amtool", "config", "routes", "test", f"--config.file={folder / 'alertmanager.yml'}", *labels)

    assert done.stdout.strip() == receiver


@pytest.mark.parametrize("name", ["SignInAtNight", "SignInFromNewCountry"])
def test_sign_in_is_told_once_and_after_the_quiet_hours(tmp_path: Path, name: str) -> None:
    """Its alert outlasts a weekend's quiet hours, and is not repeated while it does."""
    config = yaml.safe_load((filled_in(tmp_path) / "alertmanager.yml").read_text())
    (route,) = (each for each in config["route"]["routes"] if name in each["matchers"][0])

    assert route["mute_time_intervals"] == ["quiet"]
    held, repeated = (
        re.search(r"(\d+) ?(?:d|\* 86400)$", text)
        for text in (alerts()[name]["expr"].strip(), route["repeat_interval"])
    )
    assert held
    assert repeated
    assert int(repeated[1]) > int(held[1]) > 2 + 11 / 24
