# Each target brings its own environment: .venv is built on first use, and again only when pyproject.toml changes.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo train test test-slow test-gpu test-services test-compat test-long lint format bench reproduce report tensorboard dashboard

STAMP := .venv/.set-up
SERVICES := .venv/.services
BIN := .venv/bin
BY_FILE := --dist loadfile --no-loadscope-reorder
SOURCES := src scripts tests

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r target text; do \
		printf '  make %-13s %s\n' "$$target" "$$text"; done
	@echo '  ARGS="..." hands arguments on, as in: make train ARGS="data=digits optimizer=adamw"'
	@echo '  PYTHON=... names the Python (3.11 or newer) that .venv is made with'

setup: $(STAMP) ## build .venv, nothing else
	@echo '.venv is ready: source .venv/bin/activate'

$(STAMP): pyproject.toml
	@PYTHON="$(PYTHON)" scripts/setup.sh .venv
	@touch $@

demo: $(STAMP) ## train and sweep on the bundled digits: under 90 seconds, no network
	@scripts/demo.sh $(BIN)/python

train: $(STAMP) ## train one classifier (ARGS: config overrides; CIFAR-10 is fetched on first use)
	@$(BIN)/python src/train.py $(ARGS)

test: $(STAMP) ## run the fast tests (ARGS: for pytest)
	@$(BIN)/python -m pytest -n auto $(ARGS)

test-slow: $(STAMP) ## run the slow tests: processes, real training
	@$(BIN)/python -m pytest -m slow -n auto $(BY_FILE) $(ARGS)

test-gpu: $(STAMP) ## run the tests that need a GPU, on it
	@$(BIN)/python -m pytest -m gpu -n 4 $(ARGS)

$(SERVICES): $(STAMP) scripts/services.sh
	@scripts/services.sh .venv
	@touch $@

test-services: $(SERVICES) ## run sweeps on a real Slurm, Ray, PostgreSQL and MariaDB (installs them, as root)
	@$(BIN)/python -m pytest -m services -n auto $(BY_FILE) $(ARGS)

test-compat: $(STAMP) ## sweep other apps with the wheel on Python 3.11 to 3.13, Hydra 1.3 and 1.4, in .compat (QUICK=1: two minutes)
	@$(BIN)/python -m pytest -m 'compat$(if $(QUICK), and quick)' -n auto -rs $(ARGS)

# One worker more than cores: while one waits for a database or a signal, the others use the cores.
test-long: $(SERVICES) ## run slow, services and the quick ones of compat in one go, as CI does
	@$(BIN)/python -m pytest -m 'slow or services or compat and quick' -n $$(($$(nproc) + 1)) $(BY_FILE) $(ARGS)

lint: $(STAMP) ## check style, format, types, and which package imports which
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

format: $(STAMP) ## put the code into its format and fix what ruff can fix
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: $(STAMP) ## measure the speed of training beside a plain loop and the usual template (ARGS: options)
	@$(BIN)/python scripts/benchmark.py train $(ARGS)

reproduce: $(STAMP) ## train the missing reference experiments, write docs/reference/RESULTS.md (ARGS: families, options)
	@$(BIN)/python scripts/reproduce.py $(ARGS)

report: $(STAMP) ## rank runs by validation, in the terminal (SWEEP: a sweep's name; ARGS: folders, options, as --html report.html)
	@$(BIN)/python src/report.py $(SWEEP) $(ARGS)

tensorboard: $(STAMP) ## look at runs in a browser (SWEEP: a sweep's name, else all; ARGS: for tensorboard)
	@folder="$(or $(LIGHTSWEEP_OUTPUTS),outputs)$(if $(SWEEP),/sweeps/$(SWEEP))"; \
	[ -d "$$folder" ] || { echo "there is no folder $$folder" >&2; exit 1; }; \
	$(BIN)/tensorboard --logdir "$$folder" $(ARGS)

dashboard: $(STAMP) ## look at a sweep with optuna-dashboard (SWEEP: its name, else the newest; STORAGE: its URL, if it has one)
	@study='$(STORAGE)'; [ -n "$$study" ] || study=$$($(BIN)/python scripts/study.py $(SWEEP)) || exit 1; \
	$(BIN)/python -c 'import optuna_dashboard' 2>/dev/null || $(BIN)/python -m pip install --quiet --editable '.[dashboard]' || exit 1; \
	$(BIN)/optuna-dashboard "$$study"
