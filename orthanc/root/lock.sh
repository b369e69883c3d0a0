#!/usr/bin/env bash
# Pins the newest Python packages that fit pyproject.toml, with hashes.
set -euo pipefail
pin=(uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-header)
"${pin[@]}" pyproject.toml -o requirements.lock
"${pin[@]}" pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
