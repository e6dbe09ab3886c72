# Relight's commands. Each target sets up what it needs; nothing has to be done by hand before.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV ?= .venv
PY := $(VENV)/bin/python
CONFIG ?= examples/portfolio/relight.toml
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev

ifdef PYTHON
export PYTHON
endif
# Compiled bytecode is half of the start: it is kept, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test quick lint format bench docs doctor clean

help:            ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt scripts/setup
	@scripts/setup $(VENV)

$(READY_DEV): $(READY)
	@scripts/setup $(VENV) dev

run: $(READY)    ## serve the example: a page, an API and a real model that sleeps when idle
	@$(VENV)/bin/relight models pull --config $(CONFIG)
	@$(VENV)/bin/relight modes prepare --config $(CONFIG)
	@$(VENV)/bin/relight serve --config $(CONFIG)

test: $(READY_DEV) ## everything: pure, in-process, and with the real engine and browser
	@scripts/setup-tests $(VENV)
	@PATH="$(abspath $(VENV))/bin:$$PATH" $(PY) -m pytest -m "not real" -n 2
	@PATH="$(abspath $(VENV))/bin:$$PATH" $(PY) -m pytest -m real

quick: $(READY_DEV) ## the tests that need no engine, browser or download
	@$(PY) -m pytest -m "not real" -n 2

lint: $(READY_DEV) ## formatting, lint, strict types
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

format: $(READY_DEV) ## rewrite the code in the house format
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

bench: $(READY)  ## measure start-up, wake and the stream path; tables here, JSON in bench/results
	@$(VENV)/bin/relight models pull --config $(CONFIG)
	@$(PY) -m bench

docs: $(READY)   ## write the generated pages: configuration, commands and JSON Schema
	@$(VENV)/bin/relight docs --write docs

doctor: $(READY) ## check this machine and the example's configuration, and try its engine
	@$(VENV)/bin/relight doctor --start --config $(CONFIG)

clean:           ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
