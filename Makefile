# One word per job, in the environment that `python` belongs to (see README, "Try it").
PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python)

.PHONY: check test demo
check:  ## lint, format, types, layers
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()" --no-cache

test:  ## every test, with coverage
	$(PYTHON) -m pytest -n 2 --cov --cov-fail-under=90

demo:  ## the phenomenon and its cure, about a minute
	$(PYTHON) -m forgetcheck demo --overwrite
