# Only Python >= 3.11, pip and make are assumed. `make` alone lists the targets.

PYTHON ?= python3
PYTEST_ARGS ?=

VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV    := .venv/$(VERSION)
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
PYTEST  := $(BIN)/python -m pytest
# Some tests wait, so three share two cores. Each process more collects all tests once more, for some 5 s of one core.
PARALLEL := -n $(shell $(PYTHON) -c 'import os; print(min(16, 3 * (os.cpu_count() or 1) // 2))') --dist worksteal

# Quick tests keep their files in memory where it has room, until they pass; what a disk does to all is for `make test`.
MEMORY := $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 1048576 { print "/dev/shm" }')
IN_MEMORY := $(if $(MEMORY),PYTEST_DEBUG_TEMPROOT=$(MEMORY) )
UNTIL_PASSED := $(if $(MEMORY),-o tmp_path_retention_policy=failed )

# Images of containers often set it. Every process of the tests would then compile all that it imports, each time.
unexport PYTHONDONTWRITEBYTECODE

# What a second driver repeats is for `make test`, and for other Pythons, which bring a library of their own.
QUICKER = and not again

.DEFAULT_GOAL := help
.PHONY: help demo test test-all quick quick-all check format long bench killed coverage lock clean python

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo "  (PYTHON=python3.12 chooses the interpreter, PYTEST_ARGS='-k lease' goes to pytest,"
	@echo "   OTHERS=1 leaves that interpreter out of test-all and quick-all)"

demo: $(READY) ## set up and run the main job on the embedded store
	@$(BIN)/holdfast demo

test: check ## set up, check, and run all tests
	$(PYTEST) $(PARALLEL) $(PYTEST_ARGS)

test-all: $(READY) ## run all tests on every Python from 3.11 up that is found
	@for python in $$($(BIN)/python checks/interpreters.py $(if $(OTHERS),--others)); do \
	  $(MAKE) --no-print-directory pytest-only PYTHON="$$python" || exit 1; \
	done

quick: $(READY) ## run the tests that take under a minute together
	$(IN_MEMORY)$(PYTEST) $(PARALLEL) $(UNTIL_PASSED)-m "not long and not slow$(if $(QUICKER), $(QUICKER))" $(PYTEST_ARGS)

quick-all: $(READY) ## run the quick tests on every Python from 3.11 up that is found
	@for python in $$($(BIN)/python checks/interpreters.py $(if $(OTHERS),--others)); do \
	  $(MAKE) --no-print-directory quick QUICKER= PYTHON="$$python" || exit 1; \
	done

check: $(READY) ## format, lint, sizes, links, layers, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/python checks/sizes.py
	@$(BIN)/python checks/links.py
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy
	@$(BIN)/pyright --pythonpath $(BIN)/python

format: $(READY) ## format the code and mend what the linter can
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

long: $(READY) ## run the long rounds of faults and load; results go to benchmarks/results
	$(PYTEST) -m long --timeout 0 $(PYTEST_ARGS)

bench: $(READY) ## measure; results go to benchmarks/results
	@$(BIN)/python -m benchmarks

killed: $(READY) ## kill workers of this and other libraries, see what is lost; results go to benchmarks/results
	@$(BIN)/python -m benchmarks killed

coverage: $(READY) ## run the tests and show the lines that none of them reaches
	@$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PYTEST_ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

lock: python ## write requirements.lock again (UPGRADE=1 takes newer versions)
	@test -x .venv/lock/bin/python || $(call make_venv,.venv/lock)
	@.venv/lock/bin/python -m pip install --quiet uv
	@.venv/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) --extra cli --extra dev \
	  --output-file requirements.lock pyproject.toml

clean: ## remove environments, caches and builds
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------- behind the targets

.PHONY: pytest-only
pytest-only: $(READY)
	$(PYTEST) $(PARALLEL) $(PYTEST_ARGS)

# Debian's Python has no ensurepip without python3-venv; its pip can still fill an environment from outside.
make_venv = { $(PYTHON) -m venv --clear $(1) >/dev/null 2>&1 || { $(PYTHON) -m venv --clear --without-pip $(1) \
	  && $(PYTHON) -m pip --python $(1)/bin/python install --quiet pip; }; }

# One environment for each Python version. The stamp is the last thing written, so half an environment is made anew.
$(READY): requirements.lock pyproject.toml | python
	@echo "Setting up $(VENV) ..."
	@$(call make_venv,$(VENV))
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Holdfast needs Python 3.11 or newer, but '$(PYTHON)' is $(if $(VERSION),Python $(VERSION),not there)." \
	    "Name another one: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12" >&2; exit 1; }
