# Each target does everything from a bare checkout: virtual environment, install, run.
# PYTHON chooses the interpreter (default: the newest supported one found), PYMONGO pins a PyMongo version.

PYTHON  ?= $(shell scripts/pythons | tail -n 1)
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
PYMONGO ?=
VENV    ?= .venv-$(VERSION)$(if $(PYMONGO),-pymongo-$(PYMONGO))
BIN     := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test test-core test-all lint format docs bench soak soak-million secrets cancellations faults clean

demo: $(VENV)/.cli,embedded  ## Watch a shared pool serve a real MongoDB
	$(BIN)/python -m async_mongo_pool demo $(ARGS)

test: $(VENV)/.test  ## The whole suite, on a real MongoDB
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not serial" $(ARGS)
	$(BIN)/pytest -m serial $(ARGS)

test-core: $(VENV)/.test  ## The named core subset
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "core and not serial" $(ARGS)

test-all:  ## The suite on each Python found; the core subset on the lowest and the newest PyMongo
	@set -e; for python in $$(scripts/pythons); do \
		echo "== $$python"; $(MAKE) test PYTHON=$$python; done
	@echo "== the lowest supported PyMongo"; $(MAKE) test-core PYMONGO=$$(scripts/lowest-pymongo)

lint: $(VENV)/.lint  ## ruff, mypy strict, pyright on the user's view
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python tests/typing

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.docs  ## The documentation, strictly
	$(BIN)/mkdocs build --strict

bench: $(VENV)/.test  ## The costs that the README states
	$(BIN)/python -m benchmarks.fast_path
	$(BIN)/python -m benchmarks.import_time
	$(BIN)/python -m benchmarks.listener_cost
	$(BIN)/python -m benchmarks.admission
	$(BIN)/python -m benchmarks.waiters

soak: $(VENV)/.test  ## 30 minutes on all backends, a fault every 20 s: laws hold, zero drift, every slope flat
	$(BIN)/python -m tests.soak $(ARGS)

soak-million: $(VENV)/.test  ## A million operations with faults, and no drift (about an hour)
	$(BIN)/python -m tests.soak --operations 1000000 $(ARGS)

secrets: $(VENV)/.test  ## A hundred thousand inputs with secrets in them, and no place that shows one (about an hour)
	$(BIN)/python -m tests.secrets $(ARGS)

cancellations: $(VENV)/.test  ## Twice 10,000 random cancellations on each backend, and nothing is lost (minutes)
	$(BIN)/python -m tests.cancellation --backend motor $(ARGS)
	$(BIN)/python -m tests.cancellation --backend pymongo $(ARGS)

faults: $(VENV)/.test  ## Twenty writers on every driver under six faults, as docs/failure.md shows (about 20 minutes)
	$(BIN)/python -m tests.faults $(ARGS)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 was found; set PYTHON=/path/to/python."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[$*]" $(if $(PYMONGO),pymongo==$(PYMONGO))
	@touch $@

clean:
	rm -rf .venv-* .mypy_cache .ruff_cache .pytest_cache site
