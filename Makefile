# Everything sets itself up: the virtual environment in .venv follows the requirement files.
PYTHON ?= python3
TESTS ?= tests
OPTIONS ?=
SEEDS ?= 1000
MINUTES ?= 3
BIN := .venv/bin
# Most tests wait most of the time, so that there may be more workers than cores. In the order of the directories, the
# long ones come first.
PYTEST = $(BIN)/python -m pytest --quiet --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
# How pytest ends when there was nothing to run.
NO_TESTS := 5
INSTALL := $(BIN)/pip install -qq --disable-pip-version-check --require-hashes -r
RESOLVE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header pyproject.toml

.PHONY: help demo test test-all simulate faults mutants bench lint format requirements clean
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s%s\n", $$1, $$2 }' Makefile

demo: .venv/run.stamp ## start a broker, a master and two secondaries, and talk to them
	@exec $(BIN)/python -m infra.demo

test: WORKERS ?= 3
test: .venv/dev.stamp ## run the tests that take no long time; TESTS=tests/unit runs some, BROKER=local needs no Docker
	@exec $(PYTEST) -m "not slow or heart" $(OPTIONS) $(TESTS)

test-all: WORKERS ?= 4
test-all: .venv/dev.stamp ## run all tests, up to 20 minutes; TESTS and BROKER as above, FUZZ_REQUESTS=n, WORKERS=n at once
	@$(PYTEST) -m "not alone" $(OPTIONS) $(TESTS) || [ $$? = $(NO_TESTS) ]
	@$(BIN)/python -m pytest --quiet -m alone $(OPTIONS) $(TESTS) || [ $$? = $(NO_TESTS) ]

simulate: .venv/dev.stamp ## run cluster histories under virtual time; SEEDS=n, FROM=seed to repeat some
	@exec $(BIN)/python -m tests.simulation --seeds $(SEEDS) $(if $(FROM),--from $(FROM))

faults: .venv/dev.stamp ## break everything around real processes and a real broker; MINUTES=n, SEED=s to repeat
	@exec $(BIN)/python -m tests.campaign --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

mutants: .venv/dev.stamp ## plant bugs in the protocol, and show how many seeds it takes to catch each
	@exec $(BIN)/python -m tests.simulation.mutants

bench: .venv/dev.stamp ## measure against limits and peers, 25 minutes; QUICK=1 in five, OUT=dir, ONLY="name ..."
	@exec $(BIN)/python -m tests.bench $(if $(QUICK),--quick) $(if $(OUT),--out "$(OUT)") $(if $(ONLY),--only $(ONLY))

lint: .venv/dev.stamp ## check style, types and layers
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --quiet --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: .venv/dev.stamp ## put the code into the house format
	@$(BIN)/ruff check --quiet --fix
	@$(BIN)/ruff format --quiet

requirements: .venv/dev.stamp ## resolve the requirement files anew, at the newest versions
	@$(BIN)/pip install -qq --disable-pip-version-check uv
	@$(RESOLVE) --output-file requirements.txt
	@$(RESOLVE) --extra dev --constraint requirements.txt --output-file requirements-dev.txt

clean: ## remove the demo's data, the benchmark's report and all caches
	@rm -rf demo-data bench-report .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

.venv/run.stamp: requirements.txt | .venv/bin/pip
	@echo "Installing the requirements into .venv ..."
	@$(INSTALL) $<
	@touch $@

.venv/dev.stamp: requirements-dev.txt | .venv/bin/pip
	@echo "Installing the development requirements into .venv ..."
	@$(INSTALL) $<
	@touch $@

.venv/bin/pip:
	@PYTHON="$(PYTHON)" infra/make_venv
