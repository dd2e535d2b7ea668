# Everything a developer or a CI machine does.  Needs Python 3.11 or newer, make, and a package index for pip.
# `make test` is the one command that decides whether a change is good.

PYTHON  ?= $(shell command -v python3.11 || command -v python3)
VENV    := .venv
BIN     := $(VENV)/bin
LOCK    := requirements/dev.txt
LOWEST  := requirements/lowest.txt
READY   := $(VENV)/.ready-$(shell cat $(LOCK) pyproject.toml | cksum | cut -d' ' -f1)
PEERS   := .venv-bench/.ready-$(shell cat benchmarks/requirements.txt pyproject.toml | cksum | cut -d' ' -f1)
COMPILE  = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --no-header \
           --no-emit-index-url --no-emit-find-links --all-extras --group dev pyproject.toml
# Two workers pay as soon as the suite takes longer than their start; TESTS="tests/test_prices.py -k tier" narrows it.
TESTS   ?= -n 2 tests

.DEFAULT_GOAL := help
.PHONY: help test lint types layers demo docs build bench trouble lock notebooks pictures prices format test-lowest test-wheel clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

test: lint types ## make the environment, run linter, type checker and the whole test suite
	$(BIN)/python -m pytest $(TESTS)

lint: $(READY) ## ruff, without changing anything
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .

types: $(READY) ## mypy in strict mode
	$(BIN)/mypy

layers: $(READY) ## who may import whom (also a test)
	$(BIN)/lint-imports

format: $(READY) ## let ruff put the code in order
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

demo: $(READY) ## see calls survive, on this machine, without any key
	@$(BIN)/python -m failover demo

lock: $(READY) ## resolve the newest and the lowest versions anew
	$(COMPILE) --output-file $(LOCK)
	$(COMPILE) --resolution lowest-direct --output-file $(LOWEST)

notebooks: $(READY) ## run every notebook anew and keep what it shows
	$(BIN)/python scripts/notebooks.py

pictures: $(READY) ## draw the pictures of the README anew
	$(BIN)/python scripts/pictures.py

prices: $(READY) ## fetch the newest price table
	$(BIN)/uv pip install --quiet --upgrade --python $(BIN)/python --group prices
	$(BIN)/python scripts/prices.py

test-lowest: $(READY) ## the suite on the lowest versions that pyproject.toml allows
	$(PYTHON) -m venv --clear .venv-lowest
	$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python -r $(LOWEST)
	$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python --no-deps --no-build-isolation --editable .
	.venv-lowest/bin/python -m pytest $(TESTS)

docs: $(READY) ## write the pages that are made from the code
	$(BIN)/python -m failover.failures > docs/failures.md
	$(BIN)/python scripts/options.py > docs/options.md

build: $(READY) ## the wheel and the source distribution, in dist/
	rm -rf dist
	$(BIN)/python -m hatchling build -d dist

test-wheel: $(READY) ## the wheel in empty environments, each extra alone, without the source
	$(BIN)/python scripts/installed.py

bench: $(PEERS) ## speed against the peers, in an environment of their own (ten minutes)
	.venv-bench/bin/python -m benchmarks.compare

trouble: $(PEERS) ## the same faults for us and for the peers (ten minutes)
	.venv-bench/bin/python -m benchmarks.in_trouble

$(PEERS): $(READY)
	$(PYTHON) -m venv --clear .venv-bench
	$(BIN)/uv pip install --quiet --python .venv-bench/bin/python -r benchmarks/requirements.txt \
	  --editable '.[langchain,llamaindex,aiohttp]'
	@touch $@

clean: ## forget the environments and every cache
	rm -rf $(VENV) .venv-lowest .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist

# uv installs the lock in seconds; where it cannot reach what pip can, pip does it.
$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -o '^uv==[0-9.]*' $(LOCK))"
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r $(LOCK) \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(LOCK)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@
