"""The Flask application, put together."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Flask

from pacs.web import access, assets, formatting, language, measuring, navigation, person, problems, security
from pacs.web.navigation import PageModule
from pacs.web.pages import STANDARD_PAGES
from pacs.web.services import Services

ROOT = "/pacs"


def create_app(services: Services, modules: Sequence[PageModule] = STANDARD_PAGES) -> Flask:
    """Return the application. It is mounted at SCRIPT_NAME /pacs; further capabilities add their `PageModule`s."""
    app = Flask("pacs.web", static_folder=None, template_folder="templates")
    app.config["APPLICATION_ROOT"] = ROOT
    app.extensions["pacs"] = services
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.url_map.strict_slashes = False
    measuring.install(app, services.metrics)
    language.install(app, services)
    access.install(app, services)
    person.install(app)
    security.install(app)
    formatting.install(app)
    problems.install(app)
    assets.install(app, services)
    navigation.install(app, modules)
    app.context_processor(lambda: {"web": services.web, "version": services.version})
    return app
