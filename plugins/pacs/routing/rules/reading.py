"""Reads a file of rules: all its faults at once, each with its line and its cure."""

from __future__ import annotations

from collections.abc import Mapping

from pacs.routing.rules.comparisons import any_of
from pacs.routing.rules.conditions import GROUPS, OF_SERIES, Condition, Named, always, compared, group, of_series
from pacs.routing.rules.errors import RulesError
from pacs.routing.rules.expressions import parse_expression
from pacs.routing.rules.grammar import parse_comparison
from pacs.routing.rules.known import Known
from pacs.routing.rules.names import Own, fault_of
from pacs.routing.rules.ruleset import FALLBACK, Rule, RuleSet
from pacs.routing.rules.tasks import Doing, Task, parse_doing
from pacs.routing.rules.triggers import STUDY_STABLE, Ahead, Event, Schedule, Triggers, parse_trigger
from pacs.settings_files.faults import Faults, Place, did_you_mean
from pacs.settings_files.marked_yaml import Node, read_marked

FILE_NAME = "rules.yaml"
MOST_RULES = 1000
# What only a study has that is here.
_OF_STUDIES = frozenset(
    name.value
    for name in (
        Own.SENDER,
        Own.SENDER_ADDRESS,
        Own.CALLED,
        Own.BODY_PART,
        Own.SIZE_MIB,
        Own.SERIES,
        Own.INSTANCES,
        Own.LABELS,
    )
)
_LONGEST_NAME = 80
_DEEPEST = 8
_SECTIONS = ("rules", FALLBACK)
_KEYS = ("name", "on", "if", "do", "then", "enabled", "note")
_FALLBACK_KEYS = ("on", "do", "note")
_YES = {"yes": True, "true": True, "no": False, "false": False}
_THEN = {"go on": False, "stop": True}
_EXPRESSION = "expression"


def parse_rules(text: str, known: Known) -> RuleSet:
    """Return the rules that a file holds. An empty file holds none.

    Raises
    ------
    RulesError : with every fault of it.
    """
    faults = Faults()
    ruleset = RuleSet(text=text)
    if text.strip():
        root = read_marked(text, FILE_NAME, faults, when_empty="write `rules:` and the rules under it")
        if root is not None:
            ruleset = _Reader(known, faults).ruleset(root, text)
    faults.raise_if_any(RulesError)
    return ruleset


class _Reader:
    """Reads one file."""

    def __init__(self, known: Known, faults: Faults) -> None:
        self._known = known
        self._faults = faults
        self._places: dict[str, Place] = {}

    def ruleset(self, root: Node, text: str) -> RuleSet:
        """Return the rules of a file, without those whose faults were noted."""
        entries = root.entries("`rules:` and `fallback:`")
        _check_keys(entries, _SECTIONS, "unknown section")
        rules = []
        for node in entries["rules"].items("a list of rules") if "rules" in entries else []:
            rule = self._rule(node)
            if rule is not None:
                rules.append(rule)
        if len(rules) > MOST_RULES:
            root.fault(f"{len(rules)} rules; expected {MOST_RULES} at most.")
        fallback = self._fallback(entries[FALLBACK]) if FALLBACK in entries else None
        return RuleSet(tuple(rules), fallback, text)

    def _rule(self, node: Node) -> Rule | None:
        entries = node.entries("a rule: name, on, if, do, then")
        _check_keys(entries, _KEYS, "unknown key")
        name = self._name(node, entries)
        doings = self._doings(node, entries)
        condition = self._all(entries["if"], 1) if "if" in entries else always(node.place.line)
        triggers = self._triggers(entries.get("on"))
        if Event.LABEL_SET in triggers.events and not any(compared(condition, Own.LABELS)):
            entries["on"].fault("`label set` needs to know which: add `labels: NAME` under `if:`.")
        if triggers.aheads and not all(map(_is_bringing, doings)):
            entries["on"].fault(
                "before an appointment there is no study: what can be done is `prefetch:` with `from:`, without `to:`."
            )
        if triggers.aheads and (unknown := sorted(condition.names & _OF_STUDIES)):
            entries["if"].fault(
                f"before an appointment there is no study: no order says `{unknown[0]}`; remove it, or write a rule of "
                "its own for the appointment."
            )
        stops = _word(entries.get("then"), _THEN, default=False)
        enabled = _word(entries.get("enabled"), _YES, default=True)
        return Rule(name, node.place.line, triggers, condition, doings, stops, enabled, _note(entries))

    def _fallback(self, node: Node) -> Rule:
        entries = node.entries("on, do")
        _check_keys(entries, _FALLBACK_KEYS, "unknown key")
        condition = always(node.place.line)
        triggers = self._triggers(entries.get("on"))
        if Event.LABEL_SET in triggers.events:
            entries["on"].fault("the fallback can't wait for a label; write a rule with `labels: NAME` under `if:`.")
        if triggers.aheads:
            entries["on"].fault("the fallback is not for appointments; write a rule.")
        return Rule(FALLBACK, node.place.line, triggers, condition, self._doings(node, entries), note=_note(entries))

    def _name(self, node: Node, entries: Mapping[str, Node]) -> str:
        if "name" not in entries:
            if entries:
                node.fault("a rule without `name:`; give it one, by which people and the ledger call it.")
            return ""
        name = entries["name"].text("a name") or ""
        if len(name) > _LONGEST_NAME:
            entries["name"].fault(f"a name of {len(name)} characters; expected {_LONGEST_NAME} at most.")
        if name.lower() == FALLBACK:
            entries["name"].fault(f'"{name}" is the name of the fallback; call the rule otherwise.')
        first = self._places.setdefault(name, entries["name"].place)
        if name and first != entries["name"].place:
            entries["name"].fault(f'a rule "{name}" stands in line {first.line} already; call one of them otherwise.')
        return name

    def _doings(self, node: Node, entries: Mapping[str, Node]) -> tuple[Doing, ...]:
        if "do" not in entries:
            if entries:
                node.fault("nothing is done: `do:` is missing; write for example `do:` and below it `- send: TARGET`.")
            return ()
        found = (parse_doing(item, self._known) for item in entries["do"].items("a list of things to do"))
        return tuple(doing for doing in found if doing is not None)

    def _triggers(self, node: Node | None) -> Triggers:
        if node is None:
            return STUDY_STABLE
        events: set[Event] = set()
        schedules: list[Schedule] = []
        aheads: list[Ahead] = []
        for text in node.texts("what happens, such as `study stable`"):
            try:
                trigger = parse_trigger(text.text)
            except ValueError as error:
                node.fault_at(text.place, f"{error}.")
                continue
            if isinstance(trigger, Schedule):
                schedules.append(trigger)
            elif isinstance(trigger, Ahead):
                aheads.append(trigger)
            else:
                events.add(trigger)
        return Triggers(frozenset(events), tuple(schedules), tuple(aheads))

    # -- conditions --------------------------------------------------------------------------------------------------

    def _all(self, node: Node, depth: int) -> Condition:
        """Return conditions that must all be met: the lines of a mapping, or the items of a list."""
        parts = [part for item in node.items("conditions") for part in self._lines(item, depth)]
        return group("all", node.place.line, parts)

    def _lines(self, node: Node, depth: int) -> list[Condition]:
        if depth > _DEEPEST:
            node.fault(f"conditions nested more than {_DEEPEST} deep; use an expression, or several rules.")
            return []
        found = []
        for key, value in node.entries("conditions such as `Modality: CT`").items():
            condition = self._condition(key, value, depth)
            if condition is not None:
                found.append(condition)
        return found

    def _condition(self, key: str, node: Node, depth: int) -> Condition | None:
        if key in GROUPS:
            return self._group(key, node, depth)
        if key in OF_SERIES:
            return of_series(key, node.place.line, self._all(node, depth + 1))
        if key == _EXPRESSION:
            return self._expression(node)
        if fault := fault_of(key):
            words = (*GROUPS, *OF_SERIES, _EXPRESSION)
            close = did_you_mean(key, words)
            node.fault(f'unknown name "{key}"; {close}' if close.startswith("did") else fault)
            return None
        return self._named(key, node)

    def _group(self, kind: str, node: Node, depth: int) -> Condition:
        items = [self._lines(item, depth + 1) for item in node.items("a list of conditions")]
        parts = [group("all", node.place.line, lines) for lines in items if lines]
        if kind == "not" and sum(map(len, items)) > 1:
            node.fault("`not:` takes one condition; for neither this nor that write `none:` with a list.")
        if kind in ("any", "none") and len(items) == 1 and len(items[0]) > 1:
            # Written as a mapping: every line is one of the choices.
            parts = items[0]
        if not parts:
            node.fault(f"`{kind}:` without conditions; put them below it, each after a dash.")
        return group(kind, node.place.line, parts)

    def _expression(self, node: Node) -> Condition | None:
        text = node.text("an expression (CEL)")
        if text is None:
            return None
        try:
            return parse_expression(text, node.place.line)
        except ValueError as error:
            node.fault(f"{error}")
            return None

    def _named(self, name: str, node: Node) -> Condition | None:
        texts = node.texts(f"what {name} is compared with")
        comparisons = []
        for text in texts:
            try:
                comparisons.append(parse_comparison(name, text.text))
            except ValueError as error:
                node.fault_at(text.place, f"{error}.")
        if not comparisons:
            return None
        return Named(name, tuple(text.text for text in texts), node.place.line, any_of(comparisons))


def _is_bringing(doing: Doing) -> bool:
    """Tell whether it brings priors here, and does nothing that needs the study itself."""
    return isinstance(doing, Task) and doing.kind == "prefetch" and {"from"} == doing.parameters.keys() & {"from", "to"}


def _check_keys(entries: Mapping[str, Node], known: tuple[str, ...], words: str) -> None:
    for key in entries.keys() - set(known):
        entries[key].fault(f'{words} "{key}"; {did_you_mean(key, known)}')


def _word(node: Node | None, words: Mapping[str, bool], *, default: bool) -> bool:
    text = node.text("one of: " + ", ".join(words)) if node else None
    if node is None or text is None:
        return default
    if text.lower() not in words:
        node.fault(f'found "{text}"; expected one of: {", ".join(words)}.')
    return words.get(text.lower(), default)


def _note(entries: Mapping[str, Node]) -> str:
    return (entries["note"].text("a text") or "") if "note" in entries else ""
