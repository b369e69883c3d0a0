"""Rules: those in force, their history, the editor, the dry run before activation, and the tester for one study."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from pacs.errors import Conflict
from pacs.routing.rules.conditions import Explained
from pacs.routing.rules.dry_run import MOST_DAYS
from pacs.routing.rules.errors import RulesError
from pacs.routing.rules.facts import Facts
from pacs.routing.rules.history import difference
from pacs.routing.rules.reading import FILE_NAME
from pacs.routing.rules.ruleset import Rule, RuleSet, words_of
from pacs.routing.rules.service import Tested
from pacs.routing.rules.tasks import Send
from pacs.routing.rules.triggers import Event
from pacs.web.language import hospital_now
from pacs.web.navigation import PageModule
from pacs.web.pages.routing import EVENT_TITLES
from pacs.web.person import current_actor
from pacs.web.services import Services

LONGEST_RULES = 500_000
_DAYS = 7
_LONGEST_REASON = 200

blueprint = Blueprint("routing_rules", __name__)
PAGES = PageModule(blueprint)


@blueprint.get("/routing/rules")
def index() -> str:
    """Show the rules in force, what is wrong with the file, and every version."""
    book = Services.current().rules.book
    in_force = book.in_force()
    return render_template(
        "routing_rules.html",
        in_force=in_force,
        mistakes=book.faults(),
        versions=book.versions()[::-1],
        is_send=_is_send,
        shape_of=_shape_of,
        words_of=words_of,
    )


@blueprint.get("/routing/rules/edit")
def edit() -> str:
    """Show the file in a form; with the text of a dry run when one is named."""
    services = Services.current()
    number = request.args.get("run", "")
    if number.isdigit():
        run = services.rules.dry_runs.get(int(number))
        return _editor(run.text, run.version)
    return _editor(_text_of_file(), services.rules.book.in_force().number)


@blueprint.post("/routing/rules/edit")
def check() -> ResponseReturnValue:
    """Tell what is wrong with a text, or what it would change; only that when htmx asks."""
    text, version = _entered()
    return _editor(text, version, is_checked=True)


@blueprint.post("/routing/rules/activate")
def activate() -> ResponseReturnValue:
    """Put a text in force."""
    text, version = _entered()
    try:
        made = Services.current().rules.book.activate(text, actor=current_actor(), reason=_reason(), expected=version)
    except RulesError:
        return _editor(text, version, is_checked=True), HTTPStatus.UNPROCESSABLE_ENTITY
    except Conflict as error:
        return _editor(text, version, is_checked=True, conflict=str(error)), HTTPStatus.CONFLICT
    return redirect(url_for("routing_rules.index", activated=made.number), HTTPStatus.SEE_OTHER)


@blueprint.post("/routing/rules/dry-runs")
def try_out() -> ResponseReturnValue:
    """Start a dry run of a text over the studies of the last days."""
    text, version = _entered()
    days = request.form.get("days", "")
    try:
        number = Services.current().rules.dry_runs.start(
            text, days=int(days) if days.isdigit() and len(days) < len("1000") else _DAYS, actor=current_actor()
        )
    except RulesError:
        return _editor(text, version, is_checked=True), HTTPStatus.UNPROCESSABLE_ENTITY
    return redirect(url_for("routing_rules.dry_run", number=number), HTTPStatus.SEE_OTHER)


@blueprint.get("/routing/rules/dry-runs/<int:number>")
def dry_run(number: int) -> str:
    """Show a dry run as far as it is; only its result when htmx asks."""
    services = Services.current()
    run = services.rules.dry_runs.get(number)
    template = "parts/routing_dry_run.html" if "HX-Request" in request.headers else "routing_dry_run.html"
    return render_template(template, run=run, diff=difference(services.rules.book.in_force().rules.text, run.text))


@blueprint.get("/routing/rules/versions/<int:number>")
def version(number: int) -> str:
    """Show a version: who, when, why, and what it changed."""
    book = Services.current().rules.book
    versions = {one.number: one for one in book.versions()}
    one = book.version(number)
    before = versions.get(number - 1)
    return render_template(
        "routing_version.html",
        version=one,
        diff=difference(before.text if before else "", one.text),
        current=book.in_force().number,
    )


@blueprint.post("/routing/rules/versions/<int:number>")
def roll_back(number: int) -> Response:
    """Put a former version in force again."""
    made = Services.current().rules.book.roll_back(number, actor=current_actor(), reason=_reason())
    return redirect(url_for("routing_rules.index", activated=made.number), HTTPStatus.SEE_OTHER)


@blueprint.get("/routing/test")
def test() -> str:
    """Try the rules in force with one study or appointment: every condition with its value."""
    words = request.args.get("study", "").strip()[:128]
    event = _event(request.args.get("event", ""))
    tested = _tested(words, event) if words else None
    template = "parts/routing_trial.html" if "HX-Request" in request.headers else "routing_test.html"
    return render_template(
        template, words=words, event=event, events=EVENT_TITLES, tested=tested, is_missing=bool(words) and not tested
    )


def _tested(words: str, event: Event) -> Tested | None:
    rules = Services.current().rules
    in_force = rules.book.in_force().rules
    if event is Event.APPOINTMENT:
        return rules.test_appointment(words, in_force)
    found = rules.find_study(words)
    return rules.test(found, event, in_force) if found is not None else None


def _editor(text: str, version: int, *, is_checked: bool = False, conflict: str = "") -> str:
    book = Services.current().rules.book
    in_force = book.in_force()
    faults, rules = _checked(text) if is_checked else ([], None)
    part = "HX-Request" in request.headers
    return render_template(
        "parts/routing_check.html" if part else "routing_edit.html",
        text=text,
        version=version,
        longest=LONGEST_RULES,
        file_name=FILE_NAME,
        is_checked=is_checked,
        faults=faults,
        rules=rules,
        conflict=conflict,
        diff=difference(in_force.rules.text, text.replace("\r\n", "\n")) if is_checked else [],
        days=_DAYS,
        most_days=MOST_DAYS,
    )


def _checked(text: str) -> tuple[list[str], RuleSet | None]:
    try:
        return [], Services.current().rules.book.check(text)
    except RulesError as error:
        return error.faults, None


def _entered() -> tuple[str, int]:
    """Return the text and the version that it was made from."""
    version = request.form.get("version", "")
    text = request.form.get("text", "")[:LONGEST_RULES].replace("\r\n", "\n")
    return text, int(version) if version.isdigit() and len(version) < len("1" * 10) else -1


def _text_of_file() -> str:
    """Return the file as it is, mistakes included, so that a person can mend it."""
    book = Services.current().rules.book
    if not book.faults():
        return book.in_force().rules.text
    try:
        return book.file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return book.in_force().rules.text


def _reason() -> str:
    return request.form.get("reason", "").strip()[:_LONGEST_REASON]


def _event(text: str) -> Event:
    return Event(text) if text in list(Event) else Event.STUDY_STABLE


def _shape_of(rule: Rule) -> Explained:
    """Return a rule's conditions as the file has them, tried with nothing."""
    return rule.condition.explain(Facts({}, hospital_now()))


def _is_send(doing: object) -> bool:
    return isinstance(doing, Send)
