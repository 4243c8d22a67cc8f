# Everything runs in .venv, made from constraints.txt. `make help` lists the targets.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
STAMP := $(VENV)/.installed

export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help install demo remote-demo repro lint docs test test-fast format clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(STAMP)  ## Make .venv with the pinned dependencies and the project

# torch first and alone: its pin must be met before a dependency can ask for another build.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,onnx,app]'
	touch $@

demo: install  ## Run the whole pipeline on synthetic speech in build/demo
	$(BIN)/serct demo

remote-demo: install  ## Share data, models and the champion of two clones in build/remote-demo
	PATH="$(CURDIR)/$(BIN):$$PATH" bash docs/how-to/remote.sh build/remote-demo

repro: install  ## Rebuild the thesis' corpora and models in this checkout
	$(BIN)/serct repro

lint: install  ## Style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/hadolint deploy/Containerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec deploy/compose.yaml
	$(BIN)/shellcheck deploy/team.sh docs/how-to/remote.sh .ci/run
	$(BIN)/codespell README.md CHANGELOG.md CONTRIBUTING.md docs serct pipeline tests

docs: install  ## Build the documentation in build/site; a warning is an error
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -d build/site-cache docs build/site

test: lint docs  ## Everything that must hold: lint, documentation and all tests
	$(BIN)/pytest -n 2 --dist loadfile

test-fast: install  ## The tests that take under two minutes
	$(BIN)/pytest -n 2 --dist loadfile -m 'not slow'

format: install  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove build output, not data
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
