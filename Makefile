# make help   lists the targets
SCALE    ?= laptop
THEORY   ?= all
LAUNCHER ?= basic
PYTHON   ?= python3
VENV     ?= .venv
# Processes that run tests beside each other: a number, or logical for one a core.
WORKERS  ?= logical

RESULTS := results/$(SCALE)
PY      := $(VENV)/bin/python
READY   := $(VENV)/.ready
RAY     := $(VENV)/.ray

.DEFAULT_GOAL := help
.PHONY: help setup ray reproduce figures claims report test lint bench parity reference clean dashboard notebooks compare

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1\t/' | expand -t 12

setup: $(READY) ## .venv with the pinned dependencies
$(READY): requirements.lock requirements-compiler.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed, {sys.executable} is {v.major}.{v.minor}: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(PY) -c 'from unrolled.training.native.build import compiler; compiler()' 2>/dev/null \
		|| $(PY) -m pip install --quiet --disable-pip-version-check -r requirements-compiler.lock \
		|| echo "no C compiler, and none could be installed: training will be slower"
	@touch $@

ray: $(RAY) ## adds Ray and its launcher to .venv
$(RAY): $(READY) requirements-ray.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-ray.lock
	@touch $@

reproduce: $(READY) ## all theories: run what is missing, figures, claims, report (SCALE, THEORY, LAUNCHER)
	$(PY) scripts/reproduce.py --scale $(SCALE) --theory $(THEORY) --launcher $(LAUNCHER)

figures: $(READY) ## figures again, from the records
	$(PY) scripts/plot.py --results $(RESULTS) --theory $(THEORY)

claims: $(READY) ## claims again, from the records
	$(PY) scripts/check_claims.py --results $(RESULTS) --theory $(THEORY)

report: $(READY) ## the report again, from records, figures and claims
	$(PY) scripts/report.py --results $(RESULTS) --theory $(THEORY)

test: lint $(RAY) ## everything CI runs: lint, types, tests (WORKERS)
	$(PY) -m pytest -n $(WORKERS) --maxprocesses 4 --dist worksteal

lint: $(READY) ## style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(READY) ## the performance table, written to results/bench.json and results/bench.html
	$(PY) scripts/bench.py

parity: $(READY) ## every comparison with reference numbers (REFERENCE=<folder>)
	@test -n "$(REFERENCE)" || { echo "make parity needs REFERENCE=<folder with reasoning_dataset.npz and reasoning_authors.csv>"; exit 2; }
	$(PY) scripts/parity.py $(REFERENCE)

reference: $(READY) ## results/reference/ from the records of results/$(SCALE)
	$(PY) scripts/reference.py --results $(RESULTS)

clean: ## everything generated but results/ and .venv
	rm -rf .pytest_cache .mypy_cache .ruff_cache outputs multirun src/*.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

dashboard notebooks compare:
	@echo "make $@ is not built yet; see the list of make help" >&2; exit 2
