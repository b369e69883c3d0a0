"""Every request counted and timed."""

from __future__ import annotations

import time

from flask import Flask, Response, g, request

from pacs.metrics import Metrics


def install(app: Flask, metrics: Metrics) -> None:
    """Count requests by the name of their route, never by the address asked for."""

    @app.before_request
    def start_clock() -> None:
        g.started_seconds = time.monotonic()

    @app.after_request
    def count(response: Response) -> Response:
        seconds = time.monotonic() - g.get("started_seconds", time.monotonic())
        metrics.count_request(request.endpoint or "none", request.method, response.status_code, seconds)
        return response
