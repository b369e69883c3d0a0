"""Languages: catalogs in memory, and the choice of a language for each request.

Texts are English in templates and code; `translations/<language>/LC_MESSAGES/messages.po` holds the others. They are
read when the application starts, so there is nothing to compile and nothing binary in the repository.
"""

from __future__ import annotations

import gettext as gettext_module
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from io import BytesIO
from pathlib import Path
from typing import cast

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from flask import Flask, current_app, g, has_request_context, request

from pacs.web.services import Services

COOKIE = "pacs_language"
FOLDER = Path(__file__).parent / "translations"

# British English writes dates that no reader takes for another day.
LOCALES = {"en": Locale("en", "GB"), "es": Locale("es", "PY"), "pt": Locale("pt", "BR")}
NAMES = {"en": "English", "es": "Español", "pt": "Português"}


@dataclass(frozen=True)
class Language:
    """One language of the pages, with its catalog, its way to write dates and numbers, and the hospital's clock."""

    code: str
    locale: Locale
    catalog: gettext_module.NullTranslations
    time_zone: tzinfo


def load_catalog(code: str) -> gettext_module.NullTranslations:
    """Read the catalog of a language. English, the source, needs none."""
    path = FOLDER / code / "LC_MESSAGES" / "messages.po"
    if code == "en":
        return gettext_module.NullTranslations()
    compiled = BytesIO()
    with path.open("rb") as source:
        write_mo(compiled, read_po(source, locale=code))
    compiled.seek(0)
    return gettext_module.GNUTranslations(compiled)


def install(app: Flask, services: Services) -> None:
    """Load all catalogs and let every request choose among them."""
    web = services.web
    languages = {code: Language(code, locale, load_catalog(code), web.zone) for code, locale in LOCALES.items()}

    @app.before_request
    def choose_language() -> None:
        g.language = languages[_choose(web.language)]

    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]
    app.context_processor(lambda: {"language": current_language(), "language_names": NAMES})
    app.extensions["pacs_default_language"] = languages[web.language]


def current_language() -> Language:
    """Return the language of this request; the default one before a choice was made (an error came first)."""
    if has_request_context() and "language" in g:
        return cast("Language", g.language)
    return cast("Language", current_app.extensions["pacs_default_language"])


def hospital_now() -> datetime:
    """Return the present in the hospital's time zone."""
    return datetime.now(UTC).astimezone(current_language().time_zone)


def gettext(message: str) -> str:
    """Translate a text."""
    return current_language().catalog.gettext(message)


def ngettext(singular: str, plural: str, number: int) -> str:
    """Translate a text that depends on a number."""
    return current_language().catalog.ngettext(singular, plural, number)


def N_(message: str) -> str:  # noqa: N802 - the name that gettext tools know
    """Mark a text for translation later."""
    return message


def _choose(default: str) -> str:
    """Prefer what the person chose, then what the browser asks for, then the setting."""
    chosen = request.cookies.get(COOKIE, "")
    if chosen in LOCALES:
        return chosen
    return request.accept_languages.best_match(list(LOCALES), default=default) or default
