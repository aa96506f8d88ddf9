# knell: `make help` lists what there is. Everything happens in .venv; the machine itself is left alone.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
WORKERS ?= 2

.PHONY: help demo test test-slow check lint format types layers unit coverage bench clean

help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/runtime.stamp ## play the demo story, then stay on its live page (ONCE=1: only the story)
	$(BIN)/knell demo $(if $(ONCE),--once,)

test: check unit ## everything that must pass: lint, types, layers, all tests

test-slow: .venv/dev.stamp ## the suites that take minutes
	$(BIN)/python -m pytest -m slow -p no:cacheprovider -n $(WORKERS)

check: lint types layers ## lint, types and layers

lint: .venv/dev.stamp ## ruff, rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/dev.stamp ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/dev.stamp ## mypy strict and basedpyright strict
	$(BIN)/mypy
	$(BIN)/basedpyright

layers: .venv/dev.stamp ## who may import whom
	$(BIN)/lint-imports --no-cache

unit: .venv/dev.stamp ## all tests but the slow ones
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS)

coverage: .venv/dev.stamp ## the tests with branch coverage, and its report
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not slow"
	$(BIN)/coverage combine
	$(BIN)/coverage report --skip-covered

bench: .venv/dev.stamp ## what supervision costs beside stock pykka, and the journal beside none; some minutes
	$(BIN)/python benchmarks/supervision.py
	$(BIN)/python benchmarks/outbox.py

clean: ## remove everything that was made here
	rm -rf .venv build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "knell needs Python 3.11 or newer; none was found" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/runtime.stamp: .venv/bin/python pyproject.toml
	$(PIP) install --editable .
	@touch $@

.venv/dev.stamp: .venv/bin/python pyproject.toml
	$(PIP) install --editable '.[dev]'
	@touch $@ .venv/runtime.stamp
