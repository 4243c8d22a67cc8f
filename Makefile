# Everything runs in .venv, made from constraints.txt. `make help` lists the targets.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
EXTRAS := app,audformat,encoders,onnx,plots,search
DEV_EXTRAS := $(EXTRAS),dev
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
USER_STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev

export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo remote-demo repro lint audit docs tables test test-long test-fast format clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(USER_STAMP)  ## Make .venv with what the commands of serct need

install-dev: $(DEV_STAMP)  ## Add what tests, checks and documentation need

# torch first and alone: its pin must be met before a dependency can ask for another build.
# Everything else at once: each call of pip looks again at all that is there.
define made_with
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) -e '.[$(1)]'
	$(BIN)/python -m serct.experiments.plot_page
	touch $(USER_STAMP) $@
endef

$(USER_STAMP): pyproject.toml constraints.txt
	$(call made_with,$(EXTRAS))

$(DEV_STAMP): pyproject.toml constraints.txt
	$(call made_with,$(DEV_EXTRAS))

demo: install  ## Run the whole pipeline on synthetic speech in build/demo
	$(BIN)/serct demo

remote-demo: install  ## Share data, models and the champion of two clones in build/remote-demo
	PATH="$(CURDIR)/$(BIN):$$PATH" bash docs/how-to/remote.sh build/remote-demo

repro: install  ## Rebuild the thesis' corpora and models in this checkout
	$(BIN)/serct repro

lint: install-dev  ## Style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/hadolint deploy/Containerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec deploy/compose.yaml
	$(BIN)/check-jsonschema --quiet --schemafile tests/deploy/grafana-dashboard.schema.json deploy/monitoring/dashboard.json
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/ci.yml
	$(BIN)/shellcheck deploy/build.sh deploy/team.sh tests/deploy/postgres/start.sh docs/how-to/remote.sh docs/start/versions.sh .ci/run
	$(BIN)/codespell README.md CHANGELOG.md CONTRIBUTING.md docs serct pipeline tests

audit: install  ## Ask PyPI for known vulnerabilities of every pinned version; it needs the network
	$(PIP) -e '.[audit]'
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

docs: install-dev  ## Build the documentation in build/site; a warning is an error
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -d build/site-cache docs build/site

tables: install-dev  ## Write measured results into the pages; first those of WORKSPACE=DIR into results/cpu
	$(BIN)/python -m docs._tables $(if $(WORKSPACE),--workspace $(WORKSPACE))

test: lint docs  ## Everything that must hold: lint, documentation and all tests
	$(BIN)/pytest -n 2 --dist loadfile -m 'not long'

test-long: install-dev  ## The tests that `make test` leaves out, since each takes minutes
	$(BIN)/pytest -n 2 --dist loadfile -m long

test-fast: install-dev  ## The tests that take under two minutes
	$(BIN)/pytest -n 2 --dist loadfile -m 'not slow'

format: install-dev  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove build output, not data
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
