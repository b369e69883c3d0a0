"""NGINX's configuration for the embedded deployment: the site template of production, without TLS and sign-in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path("/opt/pacs/viewer-config/nginx")
VIEWERS = Path("/opt/pacs/viewers")


def write_nginx_configuration(
    run_directory: Path,
    log_directory: Path,
    http_port: int,
    orthanc_port: int,
    pages_socket: Path,
    *,
    auth_include: Path | None = None,
) -> Path:
    """Write nginx.conf and the site into `run_directory` and return the path of the former.

    `auth_include` is a sign-in, for tests of it.
    """
    variables: dict[str, Any] = {
        "nginx_run_directory": run_directory,
        "nginx_site_file": run_directory / "site.conf",
        "nginx_site_listen": [f"127.0.0.1:{http_port}"],
        "nginx_site_redirect_listen": [],
        "nginx_site_names": ["127.0.0.1", "localhost"],
        "nginx_site_tls": None,
        "nginx_site_auth_include": auth_include,
        "nginx_site_orthanc": f"127.0.0.1:{orthanc_port}",
        "nginx_site_pages": f"unix:{pages_socket}",
        "nginx_site_viewers_directory": VIEWERS,
        "nginx_site_errors_directory": TEMPLATES / "errors",
        "nginx_site_upload_limit": "2g",
        "nginx_site_access_log": log_directory / "access.log",
        "nginx_site_error_log": log_directory / "nginx.log",
    }
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - NGINX's configuration is no HTML
        keep_trailing_newline=True,
    )
    for template, path in (("pacs-site.conf.j2", "site.conf"), ("nginx.conf.j2", "nginx.conf")):
        (run_directory / path).write_text(templates.get_template(template).render(variables), encoding="utf-8")
    return run_directory / "nginx.conf"
