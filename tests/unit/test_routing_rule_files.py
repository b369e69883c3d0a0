"""Files of rules: what is wrong is told whole, with line and cure; what is right means what it says."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fixtures.broken_rules import BROKEN, KNOWN, one_rule
from pacs.routing.orders import STAT, Transfer
from pacs.routing.rules.errors import RulesError
from pacs.routing.rules.reading import parse_rules
from pacs.routing.rules.ruleset import Subject, Verdict
from pacs.routing.rules.tasks import Send, Task
from pacs.routing.rules.triggers import Event

EXAMPLE = """
rules:
  - name: Trauma at night
    note: Agreed with the night reader on 2026-11-02
    on: [study stable, by hand]
    if:
      Modality: [CT, MR]
      StudyDescription: contains trauma
      time: 20:00-07:00
    do:
      - send: night-reader
        instead: university
        urgency: stat
        as: JPEG 2000 lossless
      - label: trauma
    then: stop
  - name: Nightly copy
    on: at 22:00 Mon-Fri
    enabled: no
    do:
      - export: folder-x
        deidentify: study-2026
fallback:
  do:
    - send: university
"""


@pytest.mark.parametrize(("text", "line", "words"), [pytest.param(*case[1:], id=case[0]) for case in BROKEN])
def test_broken_file_is_refused_with_line_and_cure(text: str, line: int, words: str) -> None:
    """Each mistake is told with the line in which it stands and with what to do."""
    with pytest.raises(RulesError) as error:
        parse_rules(text, KNOWN)
    told = error.value.faults
    assert any(fault.startswith(f"rules.yaml, line {line}: ") and words in fault for fault in told), told


def test_priors_are_only_brought_from_what_can_be_searched() -> None:
    """A folder gets earlier studies, and has none to give; with no archive at all that is said."""
    parse_rules(one_rule(do="- prefetch: {from: university, to: folder-x}"), KNOWN)
    with pytest.raises(RulesError, match=r"none in targets\.yaml yet"):
        parse_rules(one_rule(do="- prefetch: {from: folder-x}"), replace(KNOWN, archives=tuple))


def test_alternative_of_either_rule_counts_when_two_send_to_one_target() -> None:
    """A rule that says who gets the study else is not overruled by one before it that says nothing."""
    plain = one_rule(do="- send: university")
    careful = one_rule(do="- send: university\n        instead: night-reader").replace("name: A", "name: B")
    rules = parse_rules(plain + careful.removeprefix("rules:\n"), KNOWN)
    (order,) = Verdict(rules.rules).orders(Subject("s", "1.2"), "")
    assert (order.rule, order.alternatives) == ("A", ("night-reader",))


def test_thirty_broken_files_are_tried() -> None:
    """The table holds at least the thirty that were promised, each another."""
    assert len({text for _, text, _, _ in BROKEN}) >= 30


def test_all_faults_are_told_at_once() -> None:
    """Several mistakes in one file are all told, in the order of the lines."""
    text = one_rule("Modalty: CT\n      time: noon", "- send: nobody", on="never")
    with pytest.raises(RulesError) as error:
        parse_rules(text, KNOWN)
    lines = [int(re.findall(r"line (\d+)", fault)[0]) for fault in error.value.faults]
    assert lines == [4, 5, 7, 8]


def test_example_means_what_it_says() -> None:
    """A whole file becomes its rules, with everything that they say."""
    rules = parse_rules(EXAMPLE, KNOWN)
    first, second = rules.rules
    assert (first.name, first.line, first.stops, first.note[:6]) == ("Trauma at night", 3, True, "Agreed")
    assert first.triggers.events == {Event.STUDY_STABLE, Event.BY_HAND}
    send, label = first.doings
    assert send == Send(("night-reader",), ("university",), STAT, Transfer("1.2.840.10008.1.2.4.90", None))
    assert label == Task("label", {"labels": ["trauma"]})
    assert not second.enabled
    assert second.triggers.schedules[0].weekdays == {0, 1, 2, 3, 4}
    assert rules.fallback is not None
    assert rules.schedules == ()


def test_empty_file_holds_no_rules() -> None:
    """No rules are no mistake."""
    assert parse_rules("", KNOWN).rules == ()
    assert parse_rules("rules: []\n", KNOWN).rules == ()
