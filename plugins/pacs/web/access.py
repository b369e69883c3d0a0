"""The policy of `pacs.access` before every page: what one may not do is refused, and not offered either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus

from flask import Flask, Response, request

from pacs.access.page_routes import action_of_page
from pacs.access.refusals import Refusals
from pacs.access.roles import ROLES_HEADER, Action, Role, actions_of, read_roles, roles_with
from pacs.errors import PacsError, Problem
from pacs.web.language import N_, gettext
from pacs.web.person import current_person
from pacs.web.problems import answer
from pacs.web.services import Services

ROLE_WORDS = {
    Role.ADMIN: N_("administrator"),
    Role.RADIOLOGIST: N_("radiologist"),
    Role.TECHNICIAN: N_("technician"),
    Role.REFERRING: N_("referring doctor"),
    Role.MACHINE: N_("machine"),
}
# What watches this server asks at the socket itself, and hears no more than whether all is well.
_OPEN_TO_PROCESSES = "home.health"


class NotPermitted(PacsError):
    """Nobody with these roles may do this. Carries the roles that may."""

    code = "not-permitted"
    status = HTTPStatus.FORBIDDEN

    def __init__(self, needed: Sequence[Role], found: str) -> None:
        super().__init__(f"Expected the role {' or '.join(needed)}, found {found}.")
        self.needed = needed


class NotSignedIn(PacsError):
    """A request came to the pages without what the sign-in says of its roles."""

    code = "not-signed-in"
    status = HTTPStatus.FORBIDDEN


def install(app: Flask, services: Services) -> None:
    """Have each request judged where that is required, and give the templates `allowed(endpoint)`."""
    refusals = Refusals(services.metrics, "pages")

    def judge() -> None:
        """Refuse what the roles don't allow.

        Raises
        ------
        NotSignedIn, NotPermitted : it is refused.
        """
        endpoint = request.endpoint
        if not services.settings.access.required or endpoint == _OPEN_TO_PROCESSES:
            return
        if ROLES_HEADER not in request.headers:
            refusals.note_unsigned(request.method)
            raise NotSignedIn(
                f"Expected a request that NGINX's sign-in has seen, found no {ROLES_HEADER}.",
                remedy="Open the archive at its own address.",
            )
        # What is not here at all is told so to whoever is signed in.
        if endpoint is not None and not allowed(endpoint):
            action = action_of_page(endpoint)
            told = request.headers[ROLES_HEADER]
            refusals.note(current_person(), read_roles(told), request.method, action)
            raise NotPermitted(roles_with(action), told)

    app.before_request(judge)
    app.register_error_handler(NotPermitted, _answer_not_permitted)
    app.jinja_env.globals["allowed"] = allowed


def allowed(endpoint: str) -> bool:
    """Tell whether the person of this request may ask for a page: what they may not is not offered."""
    return action_of_page(endpoint) in _current_actions()


def _current_actions() -> frozenset[Action]:
    if not Services.current().settings.access.required:
        return frozenset(Action)
    return actions_of(read_roles(request.headers.get(ROLES_HEADER, "")))


def _answer_not_permitted(error: NotPermitted) -> Response:
    """Say in the person's language which roles may do it."""
    Services.current().metrics.count_error(error)
    words = ", ".join(gettext(ROLE_WORDS[role]) for role in error.needed)
    advice = gettext("These roles may do it: %(roles)s. Whoever looks after the PACS gives roles.") % {"roles": words}
    problem = Problem.of(error)
    return answer(replace(problem, detail=f"{advice} {error}"), N_("Not for your role"), advice)
