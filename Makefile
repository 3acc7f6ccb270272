# One word per job, in the environment that `python` belongs to (see README, "Try it").
PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python)

.PHONY: help dev fix fast check test docs demo
help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 8

dev:  ## .venv with all that the tests need, and `make check` before every commit
	test -e .venv || python3 -m venv .venv
	.venv/bin/python -m pip install -e '.[test]'
	hook=$$(git rev-parse --git-path hooks/pre-commit) && mkdir -p "$$(dirname "$$hook")" && \
	  { test -e "$$hook" || { printf '#!/bin/sh\nexec make check\n' > "$$hook" && chmod +x "$$hook"; }; }

fix:  ## what ruff can put right by itself
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

fast:  ## the tests that take no seconds: all but whole programs and long work
	$(PYTHON) -m pytest -n 2 -q -m "not slow"

check:  ## lint, format, types, layers
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()" --no-cache

test:  ## every test, with coverage
	$(PYTHON) -m pytest -n 2 --cov --cov-fail-under=90

docs:  ## the commands, numbers and links of README and docs
	$(PYTHON) -m pytest -n 2 tests/test_docs.py tests/test_readme.py

demo:  ## the phenomenon and its cure, about a minute
	$(PYTHON) -m forgetcheck demo --overwrite
