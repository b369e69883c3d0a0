"""The catalogs: every text of pages and code is there in Spanish and Portuguese."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from fixtures.pages import pages
from pacs.web.extraction import catalog_path, extract
from pacs.web.language import LOCALES, load_catalog

LANGUAGES = sorted(set(LOCALES) - {"en"})
PLACEHOLDER = re.compile(r"%\(\w+\)s|\{\w+\}")
WEB = Path(__file__).parents[2] / "plugins" / "pacs" / "web"


@pytest.fixture(scope="module")
def used() -> Catalog:
    """Return every text that pages and code use."""
    return extract()


def catalog(code: str) -> Catalog:
    """Read a catalog as it stands in the repository."""
    return read_po(catalog_path(code).open("rb"), locale=code, abort_invalid=True)


def texts(value: object) -> list[str]:
    """Return the forms of a text, plural included."""
    return [str(form) for form in value] if isinstance(value, (list, tuple)) else [str(value or "")]


def messages(one: Catalog) -> Iterator[Message]:
    """Return the texts of a catalog without its header."""
    return (message for message in one if message.id)


@pytest.mark.parametrize("code", LANGUAGES)
def test_catalog_has_every_text_translated(code: str, used: Catalog) -> None:
    """Nothing is missing, empty, or marked as doubtful."""
    known = catalog(code)
    missing = [
        message.id
        for message in messages(used)
        if message.id not in known or not all(texts(known[message.id].string)) or known[message.id].fuzzy
    ]
    assert not missing


@pytest.mark.parametrize("code", LANGUAGES)
def test_catalog_has_no_text_that_is_not_used(code: str, used: Catalog) -> None:
    """What a page no longer says is not kept."""
    assert not [message.id for message in messages(catalog(code)) if message.id not in used]
    assert not catalog(code).obsolete


@pytest.mark.parametrize("code", LANGUAGES)
def test_catalog_has_the_plural_forms_of_the_language(code: str) -> None:
    """Singular and plural are both there where a number decides."""
    for message in messages(catalog(code)):
        if message.pluralizable:
            assert len(texts(message.string)) == 2, message.id


@pytest.mark.parametrize("code", LANGUAGES)
def test_catalog_keeps_the_placeholders(code: str) -> None:
    """A translation names the same values as its text: a number or a name is never lost."""
    for message in messages(catalog(code)):
        wanted = {name for form in texts(message.id) for name in PLACEHOLDER.findall(form)}
        for form in texts(message.string):
            found = set(PLACEHOLDER.findall(form))
            assert found <= wanted, message.id
            assert message.pluralizable or found == wanted, message.id


@pytest.mark.parametrize("code", LANGUAGES)
def test_catalog_ends_sentences_as_its_texts_do(code: str) -> None:
    """A full stop, an ellipsis or none: the translation follows the page's typography."""
    for message in messages(catalog(code)):
        for original, translated in zip(texts(message.id), texts(message.string), strict=False):
            assert translated[-1:] in ".?…" if original[-1] in ".?…" else translated[-1] not in ".…", message.id


def test_catalogs_speak() -> None:
    """The loaded catalogs answer in their language."""
    assert load_catalog("es").gettext("Studies") == "Estudios"
    assert load_catalog("pt").ngettext("%(num)s image", "%(num)s images", 2) == "%(num)s imagens"
    assert load_catalog("en").gettext("Studies") == "Studies"


def test_no_template_has_text_outside_the_catalogs() -> None:
    """Words between tags come from gettext; what stands bare is the product's or a standard's own name."""
    allowed = {"PACS Cloud", "C-ECHO", "TLS", "StudyInstanceUID", "Orthanc", "Orthanc Explorer", "g", "j", "k"}
    allowed |= {"Enter", "Esc", "ms", "reader: true"}
    for template in (WEB / "templates").rglob("*.html"):
        # Attributes that a macro adds to a tag are no text.
        content = re.sub(r"{% macro marks.*?endmacro %}", "", template.read_text())
        bare = re.sub(r"{%.*?%}|{#.*?#}|{{.*?}}", "\0", content, flags=re.DOTALL)
        for words in re.findall(r">([^<>]*)<", bare):
            for text in filter(None, (part.strip(" \n.·–,:()?/[]…↓↑×123456789") for part in words.split("\0"))):
                assert text in allowed, f"{template.name}: {text!r}"


@pytest.mark.parametrize(
    ("accepted", "cookie", "heading"),
    [
        ("es-PY,es;q=0.9", "", "Sistema"),
        ("pt-BR,pt;q=0.9,en;q=0.5", "", "Sistema"),
        ("en-US", "", "System"),
        ("fr-FR,en;q=0.3", "", "System"),
        ("gn", "", "Sistema"),
        ("es", "en", "System"),
        ("es", "xx", "Sistema"),
    ],
)
def test_language_is_the_chosen_one_else_the_browsers_else_the_setting(
    tmp_path: Path, accepted: str, cookie: str, heading: str
) -> None:
    """A cookie beats Accept-Language, which beats the setting (Spanish)."""
    with pages(tmp_path) as made:
        client = made.client(accepted)
        if cookie:
            client.set_cookie("pacs_language", cookie)
        page = client.get("/upload").get_data(as_text=True)
    assert f"<span>{heading}</span>" in page


def test_language_switch_keeps_the_choice_and_leads_back(tmp_path: Path) -> None:
    """The switch works without scripts: a form, a cookie, the page one was on."""
    with pages(tmp_path) as made:
        client = made.client("es")
        answer = client.post("/preferences", data={"language": "pt", "next": "/pacs/upload?x=1"})
        assert (answer.status_code, answer.location) == (303, "/pacs/upload?x=1")
        assert '<html lang="pt"' in client.get("/upload").get_data(as_text=True)


@pytest.mark.parametrize("way", ["https://evil.example/", "//evil.example", "/pacs\\evil", "/app/explorer.html", ""])
def test_language_switch_leads_nowhere_else(tmp_path: Path, way: str) -> None:
    """The way back is a page of ours, whatever the form says."""
    with pages(tmp_path) as made:
        assert made.client().post("/preferences", data={"next": way}).location == "/pacs/studies"
