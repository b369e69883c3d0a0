"""Static files under addresses that carry a hash of their content, so that browsers may keep them for ever.

JavaScript modules import one another by plain relative names; the hash therefore stands in a folder of the address
(`/pacs/static/<hash of everything>/js/studies.js`), not in each name.
"""

from __future__ import annotations

import hashlib
import mimetypes
from pathlib import Path

from flask import Blueprint, Flask, Response, current_app, request, send_from_directory, url_for

from pacs.errors import NotFound
from pacs.web.services import Services

FOLDER = Path(__file__).parent / "static"
_FOR_EVER = "public, max-age=31536000, immutable"
_HASH_LENGTH = 12

blueprint = Blueprint("assets", __name__)


def install(app: Flask, services: Services) -> None:
    """Register the routes and the function `asset(name)` for the templates."""
    mimetypes.add_type("text/javascript", ".js")
    vendor_files = {"htmx.min.js": services.web.htmx_file}
    vendor_files |= {name: services.web.vendor_folder / name for name in ("zip.min.js", "ogl.min.js")}
    edition = _hash_of(sorted(path for path in FOLDER.rglob("*") if path.is_file()))
    editions = {name: _hash_of([path]) for name, path in vendor_files.items() if path.is_file()}

    def asset(name: str) -> str:
        return url_for("assets.static_file", edition=edition, name=name)

    def vendor(name: str) -> str:
        return url_for("assets.vendor_file", name=name, v=editions.get(name, ""))

    app.jinja_env.globals |= {"asset": asset, "vendor": vendor}
    app.extensions["pacs_vendor_files"] = vendor_files
    app.extensions["pacs_edition"] = edition
    app.register_blueprint(blueprint)


@blueprint.get("/static/<edition>/<path:name>")
def static_file(edition: str, name: str) -> Response:
    """Serve a file of ours. Another edition's address (an older page still open) gets the newest, uncached."""
    response = send_from_directory(FOLDER, name)
    current = edition == current_app.extensions["pacs_edition"]
    response.headers["Cache-Control"] = _FOR_EVER if current else "no-cache"
    return response


@blueprint.get("/vendor/<name>")
def vendor_file(name: str) -> Response:
    """Serve a library that the system has."""
    path: Path | None = current_app.extensions["pacs_vendor_files"].get(name)
    if path is None or not path.is_file():
        message = f"Expected the library {name} at {path}, found nothing."
        raise NotFound(message, remedy="Install the viewers' files (make run does), then reload the page.")
    response = send_from_directory(path.parent, path.name)
    response.headers["Cache-Control"] = _FOR_EVER if request.args.get("v") else "no-cache"
    return response


def _hash_of(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:_HASH_LENGTH]
