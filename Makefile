# make run    the archive, on http://127.0.0.1:8080      make test   everything that this machine can test
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

ROOT := orthanc/root
IN_TEST_ROOT := $(ROOT)/test.sh
# Tests wait more than they compute, so there are more workers than a small machine has cores. A file is one worker's
# and files go in the order of their names: fixtures of a module run once, and short tests come last.
PYTEST := pytest -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: help run test test-unit test-integration test-browser test-server test-host bench soak lint format lock clean distclean

help: ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

run: ## run the archive in the foreground; Ctrl-C ends it
	@# Job control gives the archive the terminal's Ctrl-C alone, so that make itself ends with 0.
	@if [ -t 0 ]; then set -m; fi; $(ROOT)/run.sh || exit $$?

test: lint test-unit test-integration test-browser test-server test-host ## all that this machine can run

test-unit: ## the core, without Orthanc
	@$(IN_TEST_ROOT) $(PYTEST) tests/unit

test-integration: ## the real Orthanc, NGINX and PostgreSQL
	@$(IN_TEST_ROOT) $(PYTEST) tests/integration

test-browser: ## the pages and viewers in Chromium
	@$(IN_TEST_ROOT) $(PYTEST) tests/browser

test-server: ## the playbooks on a machine that boots, with people around it (as root)
	@$(ROOT)/server.sh pytest tests/server -m "not soak" --timeout 1800

test-host: ## make run itself, as a person runs it
	@$(ROOT)/build.sh run
	@tests/host/run.sh

bench: ## speed and memory against stock Orthanc, as ratios
	@$(IN_TEST_ROOT) python -m benchmarks $(BENCH)

soak: ## long trials, for a night
	@$(IN_TEST_ROOT) pytest tests/soak --timeout 0
	@PACS_KERNEL=yes $(ROOT)/server.sh pytest tests/server -m soak --timeout 0

lint: ## style, types, templates
	@$(IN_TEST_ROOT) $(ROOT)/lint.sh

format: ## let the formatter have its way
	@$(IN_TEST_ROOT) ruff format plugins tests viewer-config

lock: ## pin the newest Python packages that fit pyproject.toml
	@$(IN_TEST_ROOT) $(ROOT)/lock.sh

clean: ## forget the data of `make run`
	@$(ROOT)/forget.sh data

distclean: clean ## forget the built root and packages too
	@$(ROOT)/forget.sh cache
