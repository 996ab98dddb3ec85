# `make demo` and `make test` do all set-up themselves; `make help` tells the rest.
PYTHON ?= python3
BIN := .venv/bin
DEMO_DIR ?= .demo
BENCH_DIR ?= .bench

.PHONY: help setup demo ui test test-live check docs bench bench-quick lock clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.complete  ## .venv/ with everything, from requirements.lock

.venv/.complete: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "callarchive needs Python 3.11 or newer: make setup PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "this Python cannot make virtual environments: apt install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## a made-up week, archived from stand-ins on this machine
	$(BIN)/callarchive demo --directory $(DEMO_DIR)

ui: setup  ## Dagster on the configured archive, or on the demo's: port 3000 of this machine
	$(BIN)/python -m pipelines.ui

test: setup  ## the test suite
	$(BIN)/pytest -n 2 --dist loadfile

test-live: setup  ## days with Dagster's daemon, Celery workers and the receiver, killed in between; a backfill in a browser
	$(BIN)/pytest -m live

check: setup  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup  ## the documentation as a site, into docs/_build/html; a warning is an error
	$(BIN)/sphinx-build -q -W --keep-going -d docs/_build/doctrees docs docs/_build/html

bench: setup  ## callarchive beside s5cmd, rclone, lftp, sftp, into docs/performance.md: about half an hour
	$(BIN)/python -m benchmarks --directory $(BENCH_DIR) $(BENCH)

bench-quick: setup  ## the same, small and rough, printed only: under 3 minutes
	$(BIN)/python -m benchmarks --quick --directory $(BENCH_DIR) $(BENCH)

lock: setup  ## requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
		--generate-hashes --no-strip-extras --no-header --no-annotate --quiet -o requirements.lock

clean:  ## everything that this Makefile made, the demo's archive included
	rm -rf .venv $(DEMO_DIR) $(BENCH_DIR) .dagster docs/_build docs/reference
