"""Conditions: what each form means, at every level of a study."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from fixtures.broken_rules import KNOWN
from pacs.routing.orders import STAT
from pacs.routing.rules.expressions import parse_expression
from pacs.routing.rules.facts import Facts
from pacs.routing.rules.reading import parse_rules
from pacs.routing.rules.ruleset import Subject
from pacs.routing.rules.triggers import Event

SUNDAY_NIGHT = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
STUDY: dict[str, Any] = {
    "PatientName": ("Núñez^José",),
    "PatientAge": ("012Y",),
    "PatientBirthDate": ("20140501",),
    "PatientWeight": ("40.5",),
    "StudyDate": ("20261120",),
    "StudyTime": ("081500",),
    "StudyDescription": ("TAC de cráneo, trauma",),
    "ProcedureCodeSequence.CodeValue": ("X1", "24627-2"),
    "sender": ("CT_ER",),
    "sender_address": ("10.1.2.3",),
    "worklist": ("yes",),
    "order_priority": ("STAT",),
    "body_part": ("HEAD", "CSPINE"),
    "size_mib": ("812.5",),
    "instances": ("1640",),
    "series": ("2",),
    "labels": ("teaching",),
    "age_years": ("12",),
}
SERIES = ({"Modality": ("CT",), "SliceThickness": ("1.0",)}, {"Modality": ("SR",), "SeriesDescription": ("Dose",)})
FACTS = Facts(
    STUDY | {"Modality": ("CT", "SR"), "SliceThickness": ("1.0",), "SeriesDescription": ("Dose",)},
    SUNDAY_NIGHT,
    tuple(Facts(STUDY | one, SUNDAY_NIGHT) for one in SERIES),
    {"ProcedureCodeSequence": [{"CodeValue": "X1"}, {"CodeValue": "24627-2"}]},
)
MET = [
    "Modality: CT",
    "Modality: ct",
    "Modality: [MR, SR]",
    "PatientName: nunez^jose",
    'StudyDescription: "*CRANEO*"',
    'StudyDescription: "TAC ?? craneo*"',
    "StudyDescription: contains trauma",
    "StudyDescription: begins with TAC",
    "StudyDescription: ends with trauma",
    "StudyDescription: /^TAC .*trauma$/",
    "StudyDescription: /(?i)tac/",
    "PatientWeight: less than 50",
    'PatientWeight: "> 40"',
    "PatientWeight: 40.5",
    "PatientWeight: 40..41",
    "PatientAge: less than 18 years",
    "PatientAge: at least 144 months",
    "StudyDate: 2026-11-20",
    "StudyDate: since 2 days ago",
    "StudyDate: before today",
    "StudyDate: 2026-11-01..2026-11-30",
    "PatientBirthDate: after 13 years ago\n      not: {PatientSex: M}\n      any: [{age_years: 12}]",
    "StudyTime: 08:00-09:00",
    "PatientSex: absent",
    "PatientID: absent",
    "StudyDescription: present",
    "ProcedureCodeSequence.CodeValue: 24627-2",
    "sender: CT_ER",
    "sender: [CT_*, MR_*]",
    "sender_address: 10.1.2.3",
    "sender_address: [192.168.0.0/16, 10.1.0.0/16]",
    "time: 20:00-07:00",
    'time: "> 23:00"',
    "weekday: Sun",
    "weekday: [Sat, Sun]",
    "weekday: Fri-Mon",
    "date: today",
    "date: 2026-11-22",
    "worklist: yes",
    "order_priority: [STAT, HIGH]",
    "body_part: head",
    "size_mib: more than 500",
    "instances: at least 1000",
    "series: 2",
    "labels: teaching",
    "age_years: less than 16",
    "any:\n        - Modality: MR\n        - Modality: SR",
    "any:\n        Modality: MR\n        sender: CT_ER",
    "none:\n        - Modality: MR\n        - sender: X",
    "none:\n        Modality: MR\n        sender: X",
    "not:\n        Modality: MR",
    "all:\n        - Modality: CT\n        - Modality: SR",
    "one series:\n        Modality: CT\n        SliceThickness: less than 2",
    "every series:\n        Modality: [CT, SR]",
    "expression: '\"CT\" in Modality && age_years < 16.0'",
    'expression: StudyDescription.contains("trauma") || false',
    "expression: 'Modality.exists(m, m == \"SR\") && size(Modality) == 2'",
    "expression: 'ProcedureCodeSequence.exists(item, item.CodeValue == \"X1\")'",
    "expression: 'StudyDescription.matches(\"^TAC\")'",
    "expression: 'double(PatientWeight) / 2.0 < 21.0'",
    'expression: \'time > "200000" && weekday == "Sun" && worklist == "yes"\'',
]
NOT_MET = [
    "Modality: MR",
    "Modality: C",
    "StudyDescription: trauma",
    "StudyDescription: begins with trauma",
    "StudyDescription: /^trauma/",
    "PatientWeight: more than 40.5",
    "PatientSize: more than 0",
    "PatientAge: at least 18",
    "StudyDate: before 2026-11-20",
    "StudyDate: today",
    "StudyTime: 09:00-10:00",
    "Modality: absent",
    "PatientSex: present",
    "ProcedureCodeSequence.CodeValue: X",
    "ProcedureCodeSequence.CodeMeaning: present",
    "sender_address: 10.2.0.0/16",
    "sender_address: 'fe80::/10'",
    "time: 07:00-20:00",
    "weekday: Mon-Fri",
    "worklist: no",
    "body_part: chest",
    "Modality: CT\n      sender: X",
    "not:\n        Modality: CT",
    "none:\n        - Modality: MR\n        - Modality: CT",
    "one series:\n        Modality: SR\n        SliceThickness: present",
    "every series:\n        Modality: CT",
    "expression: '\"MR\" in Modality'",
    "expression: 'PatientSize < 2.0'",
    "expression: '\"CT\"'",
    "expression: 'StudyDescription > 5'",
]


def _rules(condition: str) -> Any:
    return parse_rules(f"rules:\n  - name: A\n    if:\n      {condition}\n    do:\n      - send: university\n", KNOWN)


@pytest.mark.parametrize("condition", MET)
def test_condition_is_met(condition: str) -> None:
    """Each form is met by a study that it describes."""
    assert _rules(condition).decide(FACTS, Event.STUDY_STABLE).names == ("A",)


@pytest.mark.parametrize("condition", NOT_MET)
def test_condition_is_not_met(condition: str) -> None:
    """Each form is not met by a study that it does not describe, be it that a value is missing or unreadable."""
    assert _rules(condition).decide(FACTS, Event.STUDY_STABLE).names == ()


@pytest.mark.parametrize(
    "condition", ["StudyDescription: /(a+)+$/", "expression: 'StudyDescription.matches(\"(a+)+$\")'"]
)
def test_hostile_pattern_takes_no_time(condition: str) -> None:
    """A pattern that lets other engines run for ever is searched in time that grows with the text alone."""
    facts = Facts({"StudyDescription": ("a" * 5000 + "!",)}, SUNDAY_NIGHT)
    begin = time.perf_counter()
    assert _rules(condition).decide(facts, Event.STUDY_STABLE).names == ()
    assert time.perf_counter() - begin < 1


def test_time_of_day_ends_before_its_end() -> None:
    """20:00-07:00 holds at 20:00:00 and 06:59:59 and not at 07:00:00."""
    rules = _rules("time: 20:00-07:00")
    held = [
        bool(
            rules.decide(
                Facts({}, SUNDAY_NIGHT.replace(hour=hour, minute=minute, second=second)), Event.STUDY_STABLE
            ).names
        )
        for hour, minute, second in ((19, 59, 59), (20, 0, 0), (6, 59, 59), (7, 0, 0))
    ]
    assert held == [False, True, True, False]


RULES = """
rules:
  - name: First
    if: {Modality: CT}
    do:
      - send: university
        urgency: urgent
      - label: a
  - name: Hides
    if: {Modality: CT}
    do:
      - send: [university, folder-x]
        deidentify: study-2026
        urgency: stat
    then: stop
  - name: Never reached
    do:
      - send: night-reader
  - name: By hand
    on: by hand
    do:
      - label: b
fallback:
  do:
    - send: night-reader
"""


def test_rules_go_on_until_one_stops() -> None:
    """Rules are asked in their order; after one that stops no other is."""
    verdict = parse_rules(RULES, KNOWN).decide(FACTS, Event.STUDY_STABLE)
    assert (verdict.names, verdict.stopped_by) == (("First", "Hides"), "Hides")
    assert verdict.targets == ("university", "folder-x")
    assert verdict.task_words == ("label: a",)


def test_target_gets_one_order_that_hides_the_patient() -> None:
    """Two rules for one target make one order: the higher urgency, and without a name when one of them says so."""
    verdict = parse_rules(RULES, KNOWN).decide(FACTS, Event.STUDY_STABLE)
    orders = verdict.orders(Subject("study", "1.2.3"), "study stable")
    assert [(order.target, order.deidentify, order.urgency) for order in orders] == [
        ("university", "study-2026", STAT),
        ("folder-x", "study-2026", STAT),
    ]


@pytest.mark.parametrize(
    ("event", "names"),
    [
        (Event.STUDY_STABLE, ("fallback",)),
        (Event.BY_HAND, ("By hand",)),
        (Event.SERIES_STABLE, ()),
    ],
)
def test_event_asks_its_rules_and_fallback_the_rest(event: Event, names: tuple[str, ...]) -> None:
    """Only rules of the event are asked; the fallback is done when none of them is met, at its own event."""
    text = RULES.replace("  - name: Never reached\n    do:\n      - send: night-reader\n", "")
    facts = Facts({"Modality": ("US",)}, SUNDAY_NIGHT)
    assert parse_rules(text, KNOWN).decide(facts, event).names == names


def test_tester_shows_the_value_of_each_condition() -> None:
    """Every condition tells what it found, also in rules that were not reached."""
    trials = parse_rules(RULES, KNOWN).explain(FACTS, Event.STUDY_STABLE)
    assert [(trial.rule.name, trial.is_asked, trial.is_met) for trial in trials] == [
        ("First", True, True),
        ("Hides", True, True),
        ("Never reached", False, True),
        ("By hand", False, True),
    ]
    assert (trials[0].explained.words, trials[0].explained.found) == ("Modality: CT", ("CT", "SR"))


def test_expression_that_fails_tells_why() -> None:
    """An expression that can't be evaluated for a study is not met, and the tester says why."""
    (trial,) = _rules("expression: 'StudyDescription > 5'").explain(FACTS, Event.STUDY_STABLE)
    assert not trial.is_met
    assert "overload" in trial.explained.fault


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("(" * 100 + "true" + ")" * 100, "too many brackets"),
        ("(" * 400 + "true" + ")" * 400, "too many brackets"),
        ("Modality.all(a, Modality.all(b, Modality.all(c, true)))", "it would take too long"),
    ],
)
def test_expression_that_could_not_be_evaluated_in_time_is_refused(expression: str, words: str) -> None:
    """What nests too deep is a fault of the file, not of the studies that are asked about later."""
    with pytest.raises(ValueError, match=words):
        parse_expression(expression, 1)


def test_expression_in_some_brackets_is_taken() -> None:
    """People may write brackets, and a list in a list."""
    text = "(" * 15 + "Modality.exists(a, Modality.exists(b, a == b))" + ")" * 15
    assert parse_expression(text, 1).met(FACTS)
