# `make run` and `make test` need nothing but Python 3.11 or newer; they make .venv from the lock files.

PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
ARGS ?=
BIN := .venv/bin
# by `python -m`: the first line of a script names the folder that the environment was made in, and a clone may be moved
SNAKEMAKE := $(BIN)/python -m snakemake --cores $(CORES)
SNAKEFILES := Snakefile $(wildcard rules/*.smk)

.DEFAULT_GOAL := help
.PHONY: help env run dry test test-slurm test-architectures test-browser lint format site docs lock benchmark clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# compiled on all cores, where pip takes one, and in any case: with PYTHONDONTWRITEBYTECODE set, as containers have it, each
# of some hundred jobs would compile torch for itself, 10 s a job
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
COMPILE := $(BIN)/python -m compileall -qq -j 0 -x '/tests?/' .venv/lib || true # torch has files for newer Pythons alone

# the stamp is newer than the lock it was made from
.venv/.run-stamp: envs/requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(PIP) -r envs/requirements.lock
	$(COMPILE)
	@touch $@

.venv/.dev-stamp: .venv/.run-stamp envs/dev.lock
	$(PIP) -r envs/dev.lock
	$(COMPILE)
	@touch $@

env: .venv/.dev-stamp ## Make .venv with everything, for development

run: .venv/.run-stamp ## Run the default pipeline on all cores; ARGS="--configfile config/x.yaml" for another
	$(SNAKEMAKE) $(ARGS)

dry: .venv/.run-stamp ## Show what a run would do
	$(SNAKEMAKE) $(ARGS) --dry-run

test: .venv/.dev-stamp ## Run all tests on all cores, offline; ARGS="-k affinity" for some
	$(BIN)/python -m pytest -n $(CORES) --dist worksteal $(ARGS)

test-slurm: .venv/.dev-stamp ## Run the profile on a real Slurm on this machine (root on Debian installs it); ARGS=--whole or --cgroups
	$(BIN)/python tests/slurm/cluster.py install
	$(BIN)/python -m pytest tests/slurm -m slurm $(ARGS)

test-architectures: .venv/.dev-stamp ## Compare a tiny model of every causal class of transformers with autograd; prints the table of docs/architectures.md
	$(BIN)/python -m pytest tests/models/test_architectures.py -m architectures -s $(ARGS)

tests/browser/node_modules/.package-lock.json: tests/browser/package-lock.json
	cd tests/browser && npm ci --no-audit --no-fund --silent

test-browser: .venv/.dev-stamp ## Use every control of the explorer in a headless Chromium; needs node, npm and chromium
	$(MAKE) --no-print-directory tests/browser/node_modules/.package-lock.json
	QUANTA_BROWSER=required $(BIN)/python -m pytest tests/report/test_explorer.py -k in_a_browser -s

lint: .venv/.dev-stamp ## Check style, formats, rules and types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m snakefmt --check --line-length 120 $(SNAKEFILES)
	$(BIN)/python -m snakemake --lint
	$(BIN)/python -m mypy

format: .venv/.dev-stamp ## Format Python files and rules
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .
	$(BIN)/python -m snakefmt --line-length 120 $(SNAKEFILES)

site: .venv/.dev-stamp ## Build the documentation as a site into site/; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

docs: .venv/.run-stamp ## Write config/README.md and the derived tables of other pages again
	PYTHONPATH=workflow $(BIN)/python docs/make.py

benchmark: .venv/.dev-stamp ## Run the benchmarks; each prints a table
	for script in tests/benchmarks/[a-z]*.py; do PYTHONPATH=workflow $(BIN)/python $$script || exit 1; done

lock: ## Resolve the newest versions that pyproject.toml admits, torch as it is pinned, into the lock files
	$(PYTHON) envs/lock.py

clean: ## Remove the environment and caches; results stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
