"""Collect the texts of pages and code, and bring the catalogs up to date: `python -m pacs.web.extraction`.

New texts arrive untranslated, texts no longer in use leave. Translate them in the .po files, with any editor.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from pacs.web.language import FOLDER, LOCALES, NAMES

_SOURCE = Path(__file__).parent
_KEYWORDS: dict[str, tuple[int, ...] | None] = {"_": None, "gettext": None, "ngettext": (1, 2), "N_": None}
_METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
_OPTIONS = {"templates/**.html": {"trimmed": "true", "silent": "false"}}


def extract() -> Catalog:
    """Return all texts with the files they stand in."""
    catalog = Catalog(project="PACS Cloud", charset="utf-8")
    found = extract_from_dir(_SOURCE, _METHODS, _OPTIONS, keywords=_KEYWORDS)
    for filename, _line, message, comments, context in found:
        # Files without line numbers: they would change with every edit of a page.
        catalog.add(message, None, [(filename.replace("\\", "/"), 0)], auto_comments=comments, context=context)
    return catalog


def catalog_path(code: str) -> Path:
    """Return where the catalog of a language is."""
    return FOLDER / code / "LC_MESSAGES" / "messages.po"


def update(code: str) -> int:
    """Bring one catalog up to date and return how many texts it still lacks."""
    path, template = catalog_path(code), extract()
    old = read_po(BytesIO(path.read_bytes()), locale=code) if path.is_file() else Catalog(locale=code)
    catalog = Catalog(
        locale=code, project="PACS Cloud", header_comment=f"# PACS Cloud: the pages in {NAMES[code]}.", fuzzy=False
    )
    for message in template:
        if message.id:
            known = old.get(message.id)
            catalog.add(message.id, known.string if known else "", message.locations)
    written = BytesIO()
    write_po(written, catalog, width=120, sort_output=True, include_lineno=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(written.getvalue())
    return sum(1 for message in catalog if message.id and not _is_translated(message.string))


def _is_translated(text: str | list[str] | tuple[str, ...] | None) -> bool:
    return all(text) if isinstance(text, (list, tuple)) else bool(text)


def main() -> None:
    """Update every catalog."""
    for code in sorted(set(LOCALES) - {"en"}):
        sys.stdout.write(f"{code}: {update(code)} texts to translate\n")


if __name__ == "__main__":
    main()
