"""The web pages under /pacs/: a Flask application that the glue (or any WSGI server) calls."""

from pacs.web.application import create_app
from pacs.web.services import Services
from pacs.web.settings import WebSettings

__all__ = ["Services", "WebSettings", "create_app"]
