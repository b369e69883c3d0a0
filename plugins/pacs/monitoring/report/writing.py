"""A report as HTML that needs nothing beside it, and as PDF by the program weasyprint."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

from flask import Flask, render_template

from pacs.errors import PacsError
from pacs.monitoring.report.month import Report
from pacs.monitoring.report.reports import file_name
from pacs.web import formatting, language
from pacs.web.settings import WebSettings

if TYPE_CHECKING:
    from pacs.web.services import Services

_PROGRAM = "weasyprint"
_LONGEST_SECONDS = 300


class NoPdf(PacsError):
    """The PDF could not be made; the HTML is there."""

    code = "report"


class _OnlyWeb:
    """The services of a page, as far as its language needs them."""

    def __init__(self, web: WebSettings) -> None:
        self.web = web


def html(report: Report, web: WebSettings) -> str:
    """Return the report in the language of the settings."""
    app = Flask("pacs.web", static_folder=None, template_folder="templates")
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    language.install(app, cast("Services", _OnlyWeb(web)))
    formatting.install(app)
    with app.app_context():
        return render_template("report.html", report=report, web=web)


def write(report: Report, web: WebSettings, folder: Path) -> None:
    """Write both files, each whole or not at all. Raises NoPdf, OSError."""
    with TemporaryDirectory(dir=folder, prefix=".making-") as scratch:
        page, pdf = Path(scratch) / "report.html", Path(scratch) / "report.pdf"
        page.write_text(html(report, web), encoding="utf-8")
        try:
            _convert(page, pdf)
            pdf.replace(folder / file_name(report.month, web.language, "pdf"))
        finally:
            page.replace(folder / file_name(report.month, web.language, "html"))


def _convert(page: Path, pdf: Path) -> None:
    program = shutil.which(_PROGRAM)
    if program is None:
        raise NoPdf(f"The program {_PROGRAM} is not installed.", remedy="Install Debian's package weasyprint.")
    done = subprocess.run(
        [program, "--quiet", str(page), str(pdf)],
        capture_output=True,
        timeout=_LONGEST_SECONDS,
        check=False,
        env=os.environ | {"XDG_CACHE_HOME": str(page.parent)},
    )
    if done.returncode or not pdf.is_file():
        raise NoPdf(f"{_PROGRAM} ended with {done.returncode}: {done.stderr.decode(errors='replace').strip()[-300:]}")
