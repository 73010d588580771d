# The two commands that matter: `make run` and `make test`. Each does all its own set-up.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# What the tests start is looked for here first (see tools/prerequisites).
export PATH := $(CURDIR)/.cache/bin:$(PATH)
export NODE_PATH := $(CURDIR)/.cache/node/node_modules

PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest -q
# Properties and parsers are all computing, so they use every core; servers are shared by one process.
PARALLEL := -n auto
# Contracts wait for servers much of the time; each file's are started once.
BY_FILE := -n 2 --dist loadfile

.PHONY: help
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 18

.PHONY: run
run: venv  ## start a demonstration on 127.0.0.1:9000 (ARGS="--listen HOST:PORT --data DIR")
	@exec .venv/bin/s3orchestrator demo $(ARGS)

.PHONY: venv
venv:  ## make .venv with the project and its tested dependencies, unless it is fresh
	@tools/venv

.PHONY: prerequisites
prerequisites: venv  ## install the servers and clients that the tests use
	@tools/prerequisites

.PHONY: test
test:  ## everything: prerequisites, all tests, lint, types, docs
	@tools/test

.PHONY: test-clean
test-clean:  ## the same in a new Debian root with nothing prepared (needs root)
	@tools/test-clean

.PHONY: unit
unit: venv  ## tests without servers
	$(PYTEST) $(PARALLEL) tests/unit $(ARGS)

.PHONY: contracts
contracts: venv prerequisites  ## one suite per interface, on every provider
	$(PYTEST) $(BY_FILE) tests/contracts $(ARGS)

.PHONY: integration
integration: venv prerequisites  ## the whole program on real servers
	$(PYTEST) tests/integration $(ARGS)

.PHONY: faults
faults: venv prerequisites  ## crashes, failing networks, disks and databases; FULL=1 for longer
	$(PYTEST) tests/faults $(ARGS)

.PHONY: soak
soak: venv prerequisites  ## all of it at random (MINUTES=30, SEED=n, ARGS="--ledger postgres")
	$(PYTHON) -m tests.faults.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: package
package: venv prerequisites deb  ## the Debian package in a clean root: installed, served from, upgraded, purged (needs root)
	tools/test-package $(ARGS)

.PHONY: clients
clients: venv prerequisites  ## AWS CLI, boto3, rclone, s3cmd, restic, the JavaScript SDK
	$(PYTEST) tests/clients $(ARGS)

.PHONY: clients-postgres
clients-postgres: venv prerequisites  ## the same, with two daemons on one PostgreSQL behind one address
	S3O_TEST_LEDGER=postgres $(PYTEST) tests/clients $(ARGS)

.PHONY: lint
lint: venv  ## style, layers, spelling
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-cache
	.venv/bin/codespell

.PHONY: types
types: venv  ## mypy, strict
	.venv/bin/mypy

.PHONY: docs
docs: venv  ## HTML in .cache/docs/html; a warning is an error
	.venv/bin/sphinx-build -q -W --keep-going -d .cache/docs/doctrees docs .cache/docs/html

.PHONY: deb
deb:  ## the Debian package, in dist/
	@tools/deb

.PHONY: package-pins
package-pins: venv  ## write constraints-package.txt anew, after a change of setup.cfg or constraints.txt
	$(PYTHON) tools/pins.py

.PHONY: bench
bench: venv prerequisites  ## cost per request and per GB, beside nginx; FULL=1 for everything
	$(PYTHON) -m s3orchestrator.testing.bench $(if $(FULL),--full) $(ARGS)

.PHONY: bench-compare
bench-compare: venv  ## two runs of it beside each other (A=before.json B=after.json)
	$(PYTHON) -m s3orchestrator.testing.bench.comparing $(A) $(B)

.PHONY: bench-page
bench-page: venv  ## show a run of it in docs/performance.rst (JSON=run.json)
	$(PYTHON) -m s3orchestrator.testing.bench.page $(JSON)

.PHONY: clean
clean:  ## remove everything that was made or downloaded
	rm -rf .venv .cache .hypothesis build dist *.egg-info
	find s3orchestrator tests twisted -name __pycache__ -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache
