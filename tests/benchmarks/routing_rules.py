"""What rules cost: `PYTHONPATH=plugins:tests python tests/benchmarks/routing_rules.py [--rules 200]`.

Files of rules as hospitals write them (modality, sender, description by wildcard and regular expression, age, time of
day, one series, a few expressions in CEL) are asked about studies of which most fit none; facts are made anew for each
study, as routing does. An expression costs some 0.1 ms where it is reached; the conditions beside it are asked first.
"""

from __future__ import annotations

import argparse
import statistics
import time
from datetime import UTC, datetime

from pacs.routing.rules.facts import Facts
from pacs.routing.rules.known import Known
from pacs.routing.rules.reading import parse_rules
from pacs.routing.rules.ruleset import RuleSet
from pacs.routing.rules.triggers import Event

KNOWN = Known(targets=lambda: ("university",))
# By their number modulo 10: the last is one in ten with an expression, behind a condition that most studies don't meet.
CONDITIONS = (
    "Modality: [CT, MR]\n      StudyDescription: contains trauma {n}",
    "sender: STATION_{n}",
    'StudyDescription: ["*angio {n}*", "*aorta {n}*"]',
    "StudyDescription: /(?i)^(rx|xr) torax {n}\\b/",
    "Modality: US\n      age_years: less than {n}\n      time: 20:00-07:00",
    "any:\n        - ReferringPhysicianName: perez{n}*\n        - InstitutionName: clinic {n}",
    "one series:\n        Modality: MR\n        SeriesDescription: contains t{n}",
    "StudyDate: since 7 days ago\n      not: {BodyPartExamined: [HEAD, CHEST]}\n      sender_address: 10.{n}.0.0/16",
    "worklist: yes\n      order_priority: [STAT, HIGH]\n      size_mib: more than {n}",
    "sender: STATION_{n}\n      expression: 'Modality.exists(m, m == \"CT\") && age_years < {n}.0'",
)
MODALITIES = ("CT", "MR", "CR", "US")
AT = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)


def main() -> None:
    """Print the median and the 99th percentile of one study, and of a file that only holds expressions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, default=200)
    parser.add_argument("--studies", type=int, default=2000)
    options = parser.parse_args()
    begin = time.perf_counter()
    rules = parse_rules(rules_file(options.rules), KNOWN)
    print(f"{options.rules} rules read in {(time.perf_counter() - begin) * 1e3:.0f} ms")
    _report("as hospitals write them", rules, options.studies)
    expressions = "".join(_rule(n, "expression: '\"CT\" in Modality && age_years < {n}.0'") for n in range(10))
    _report("10 rules, an expression each", parse_rules("rules:\n" + expressions, KNOWN), options.studies)


def _report(title: str, rules: RuleSet, studies: int) -> None:
    taken_ms = sorted(_timed(rules, number) for number in range(studies))
    met = sum(bool(rules.decide(_facts(number), Event.STUDY_STABLE).matched) for number in range(studies))
    print(
        f"{title}: median {statistics.median(taken_ms):.3f} ms a study,"
        f" 99 % within {taken_ms[studies * 99 // 100]:.3f} ms ({met} of {studies} studies met a rule)"
    )


def _timed(rules: RuleSet, number: int) -> float:
    facts = _facts(number)
    # The processor's time: what neighbours on the machine take is not the rules' cost.
    begin = time.thread_time()
    rules.decide(facts, Event.STUDY_STABLE)
    return (time.thread_time() - begin) * 1e3


def rules_file(count: int) -> str:
    """Return a file of so many rules, of each kind of condition; they send to the target `university`."""
    return "rules:\n" + "".join(_rule(number, CONDITIONS[number % len(CONDITIONS)]) for number in range(count))


def _rule(number: int, condition: str) -> str:
    filled = condition.replace("{n}", str(number))
    return f"  - name: Rule {number}\n    if:\n      {filled}\n    do:\n      - send: university\n"


def _facts(number: int) -> Facts:
    modality = MODALITIES[number % len(MODALITIES)]
    study = {
        "PatientName": (f"Pérez^Ana {number}",),
        "StudyDescription": (f"TAC de tórax y abdomen {number}",),
        "StudyDate": ("20261121",),
        "ReferringPhysicianName": (f"Gómez{number}^Luis",),
        "InstitutionName": ("Hospital Central",),
        "BodyPartExamined": ("CHEST",),
        "sender": (f"STATION_{number % 400}",),
        "sender_address": (f"10.1.2.{number % 250}",),
        "worklist": ("yes",),
        "order_priority": ("ROUTINE",),
        "size_mib": ("512.5",),
        "age_years": (str(number % 90),),
    }
    series = tuple(Facts(study | {"Modality": (modality,), "SeriesDescription": (f"s{n}",)}, AT) for n in range(6))
    return Facts(study | {"Modality": (modality,), "SeriesDescription": tuple(f"s{n}" for n in range(6))}, AT, series)


if __name__ == "__main__":
    main()
