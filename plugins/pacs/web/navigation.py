"""The navigation: every capability brings its pages, the shell shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, Flask, request


@dataclass(frozen=True)
class NavigationEntry:
    """One entry of the navigation.

    Attributes
    ----------
    title : English text, marked with N_ where it stands.
    endpoint : Flask endpoint of the page.
    order : place in the list, smaller first.
    icon : name of a symbol in static/icons.svg.
    covers : further blueprints whose pages belong under this entry.
    """

    title: str
    endpoint: str
    order: int
    icon: str
    covers: tuple[str, ...] = ()


@dataclass(frozen=True)
class PageModule:
    """The pages of one capability."""

    blueprint: Blueprint
    navigation: tuple[NavigationEntry, ...] = ()


def install(app: Flask, modules: Sequence[PageModule]) -> None:
    """Register the pages and give the templates the navigation."""
    entries = sorted((entry for module in modules for entry in module.navigation), key=lambda entry: entry.order)
    for module in modules:
        app.register_blueprint(module.blueprint)

    def is_current(entry: NavigationEntry) -> bool:
        return request.blueprint in (entry.endpoint.partition(".")[0], *entry.covers)

    app.jinja_env.globals |= {"navigation": entries, "is_current": is_current}
