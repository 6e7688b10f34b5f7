# What a person does with a checkout. Every target makes its own .venv with plain python3 and pip, prints what it
# does, and is quick the second time. Change the interpreter with PYTHON=python3.13 after `make clean`.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --editable
# Everything is tested in as many processes as there are cores, a part of it in one: that one is at work before others
# have started, and ARGS="-n 4" and the like stay free. Whoever is done first takes over what others still have to do.
WORKERS := $(if $(strip $(ARGS)),,--numprocesses logical --dist worksteal)
# Only what is there: a folder that does not exist yet is no error.
CHECKED := $(wildcard flowtx engine dsl tests examples)
BENCHMARKS := $(sort $(wildcard tests/benchmarks/bench_*.py))

.PHONY: help demo serve test check format fuzz bench clean
.PHONY: check-lint check-formatting check-types-mypy check-types-pyright check-imports
.DEFAULT_GOAL := help
# A recipe that fails half-way must not leave a target that looks made.
.DELETE_ON_ERROR:

help: ## print this list
	@echo "make targets (PYTHON=python3.13 chooses the interpreter, ARGS=... is handed on by demo, serve, test and fuzz):"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.runtime ## move money between two banks, crash in the middle, and see it recover
	$(BIN)/python -m examples.bank.demo $(ARGS)

serve: $(VENV)/.runtime ## run the server on DTM's ports
	$(BIN)/flowtx serve $(ARGS)

test: $(VENV)/.dev ## run the tests, then say what was skipped and why (ARGS="tests/dsl -x")
	$(BIN)/python -m pytest -ra --ignore=tests/benchmarks $(WORKERS) $(ARGS)

# All five beside each other, each with its output in one piece, and all of them, so that everything wrong is said at once.
check: $(VENV)/.dev ## lint, formatting, types (mypy and pyright), who imports whom
	@$(MAKE) --no-print-directory --jobs --keep-going --output-sync=target \
	    check-types-mypy check-types-pyright check-lint check-formatting check-imports

check-lint check-formatting check-types-mypy check-types-pyright check-imports: $(VENV)/.dev
check-lint:
	$(BIN)/ruff check .
check-formatting:
	$(BIN)/ruff format --check .
check-types-mypy:
	$(BIN)/mypy $(CHECKED)
check-types-pyright:
	$(BIN)/pyright --pythonpath $(BIN)/python $(CHECKED)
check-imports:
	$(BIN)/lint-imports

format: $(VENV)/.dev ## mend what lint and formatting can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: $(VENV)/.dev ## attack a server for a minute, and say what came of it (ARGS="--minutes 10")
	$(BIN)/python -m tests.fuzz $(ARGS)

bench: $(VENV)/.dev ## run every benchmark in turn
	@test -n "$(BENCHMARKS)" || { echo "make bench: found no tests/benchmarks/bench_*.py" >&2; exit 1; }
	@set -e; for script in $(BENCHMARKS); do echo "== $$script"; $(BIN)/python $$script $(ARGS); done

clean: ## remove the .venv, caches and built files
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find flowtx engine dsl tests examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# The .venv. ensurepip writes bin/pip last, so a .venv that was interrupted has none and is made again.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "flowtx needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing)." >&2; \
	    echo "Name another one: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments: its venv or ensurepip module is missing." >&2; \
	    echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.runtime: pyproject.toml flowtx/version.py | $(BIN)/pip
	@echo "Installing flowtx and what it runs on into $(VENV)"
	@$(PIP_INSTALL) .
	@touch $@

$(VENV)/.dev: pyproject.toml flowtx/version.py | $(BIN)/pip
	@echo "Installing flowtx, what it runs on and the development tools into $(VENV)"
	@$(PIP_INSTALL) '.[dev]'
	@touch $(VENV)/.runtime $@
