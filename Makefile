# Relight's commands. Each target sets up what it needs; nothing has to be done by hand before.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV ?= .venv
PY := $(VENV)/bin/python
CONFIG ?= examples/portfolio/relight.toml

.PHONY: help run test quick lint format bench docs clean

help:            ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

$(VENV)/.ready: pyproject.toml constraints.txt scripts/setup
	@scripts/setup $(VENV)

run: $(VENV)/.ready   ## serve the example: a page, an API and a real model that sleeps when idle
	@$(VENV)/bin/relight models pull --config $(CONFIG)
	@$(VENV)/bin/relight serve --config $(CONFIG)

test: $(VENV)/.ready  ## everything: pure, in-process, and with the real engine and browser
	@scripts/setup-tests $(VENV)
	@$(PY) -m pytest

quick: $(VENV)/.ready ## the tests that need no engine, browser or download
	@$(PY) -m pytest -m "not real"

lint: $(VENV)/.ready  ## formatting, lint, strict types
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

format: $(VENV)/.ready ## rewrite the code in the house format
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

bench: $(VENV)/.ready ## measure start-up, wake and the stream path; tables here, JSON in bench/results
	@$(VENV)/bin/relight models pull --config $(CONFIG)
	@$(PY) -m bench

docs: $(VENV)/.ready  ## write the generated pages: configuration reference and JSON Schema
	@$(VENV)/bin/relight docs --write docs

clean:           ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
