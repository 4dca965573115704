# One verb for each act. `make demo` and `make test` need only Python 3.11 or newer and make.
.DEFAULT_GOAL := help
.PHONY: help demo test test-long lint format protos protos-check bench serve clean
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
ONLY ?=
# The tests of a file share servers and compiled programs; each process of tests takes 2 GB at most.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile
# Nothing outside of .venv may be found by accident.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

help: ## Show the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk 'BEGIN {FS = ":.*## "} {printf "  make %-14s %s\n", $$1, $$2}'

$(BIN)/python:
	@for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	  if command -v $$python >/dev/null 2>&1 && $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	    exec $$python -m venv $(VENV); \
	  fi; \
	done; echo "gradserve needs Python 3.11 or newer" >&2; exit 1

# What the demo needs is part of a development environment: where there is one, that is kept up to date instead.
ENVIRONMENT := $(VENV)/.installed-$(if $(wildcard $(VENV)/.installed-dev),dev,demo)

$(VENV)/.installed-demo: $(BIN)/python pyproject.toml
	@echo "installing gradserve (once; this takes a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[server,cli]'
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python pyproject.toml
	@echo "installing gradserve for development (once; this takes a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(ENVIRONMENT) ## Set up everything and show the main job with a server of its own
	@$(BIN)/gradserve demo

test: $(VENV)/.installed-dev ## Set up everything and run the tests
	$(BIN)/python -m pytest $(PARALLEL)

test-long: $(VENV)/.installed-dev ## Run all tests, the long ones too
	$(BIN)/python -m pytest $(PARALLEL) -m '' --timeout 1200

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

serve: $(ENVIRONMENT) ## Serve on 127.0.0.1:50051
	$(BIN)/gradserve serve --address 127.0.0.1:50051

clean: ## Remove what was built
	rm -rf build dist $(VENV) .venv-protos .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
