# One verb for each act. `make demo` and `make test` need only Python 3.11 or newer and make.
.DEFAULT_GOAL := help
.PHONY: help demo test test-long lint format protos protos-check bench serve clean
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
ONLY ?=

help: ## Show the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk 'BEGIN {FS = ":.*## "} {printf "  make %-14s %s\n", $$1, $$2}'

$(BIN)/python:
	@for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	  if command -v $$python >/dev/null 2>&1 && $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	    exec $$python -m venv $(VENV); \
	  fi; \
	done; echo "gradserve needs Python 3.11 or newer" >&2; exit 1

# What the demo needs; a development environment has it as well.
$(VENV)/.installed-demo: $(BIN)/python pyproject.toml
	@if [ -e $(VENV)/.installed-dev ]; then touch $@; else \
	  echo "installing gradserve (once; this takes a minute)"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[server,cli]' && touch $@; fi

$(VENV)/.installed-dev: $(BIN)/python pyproject.toml
	@echo "installing gradserve for development (once; this takes a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(VENV)/.installed-demo ## Set up everything and show the main job with a server of its own
	@$(BIN)/gradserve demo

test: $(VENV)/.installed-dev ## Set up everything and run the tests
	$(BIN)/python -m pytest -m 'not long'

test-long: $(VENV)/.installed-dev ## Run all tests, the long ones too
	$(BIN)/python -m pytest --timeout 1200

lint: $(VENV)/.installed-dev protos-check ## Check format, types, contract, direction of imports and shell
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd protos && ../$(BIN)/buf lint
	cd protos && ../$(BIN)/buf format --diff --exit-code
	cd protos && ../$(BIN)/buf breaking --against released.binpb
	$(BIN)/shellcheck .ci/run tools/*.sh

format: $(VENV)/.installed-dev ## Mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd protos && ../$(BIN)/buf format --write

# The generator has an environment of its own: its protobuf is older than ours, so that users of both can install.
.venv-protos/.installed: $(BIN)/python tools/protos-requirements.txt
	@$(BIN)/python -m venv .venv-protos
	@.venv-protos/bin/python -m pip install --quiet --disable-pip-version-check -r tools/protos-requirements.txt
	@touch $@

protos: .venv-protos/.installed ## Generate the stubs in client/gradserve/v1
	tools/protos.sh client

protos-check: .venv-protos/.installed
	tools/protos-check.sh

bench: $(VENV)/.installed-dev ## Measure; ONLY=name runs one row
	$(BIN)/python -m tests.benchmarks --only "$(ONLY)"

serve: $(VENV)/.installed-demo ## Serve on 127.0.0.1:50051
	$(BIN)/gradserve serve --address 127.0.0.1:50051

clean: ## Remove what was built
	rm -rf build dist $(VENV) .venv-protos .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
