#!/usr/bin/env bash
# Style, types, templates: what must be clean before anything lands.
set -euo pipefail
ruff check .
ruff format --check .
mypy
djlint --lint plugins/pacs/web/templates
ansible-lint --offline -q
