# crimeface: the commands of README.md. Each works alone on a fresh clone with Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check lab apps bench evaluate clean

demo: $(READY)
	@$(BIN)/crimeface demo

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadgroup

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lab: $(READY)
	JUPYTER_CONFIG_PATH=$(CURDIR)/configs/jupyter $(BIN)/jupyter lab --ServerApp.root_dir=$(CURDIR)

apps: $(READY)
	$(BIN)/crimeface apps

bench: $(READY)
	$(BIN)/python tests/bench.py

evaluate: $(READY)
	$(BIN)/python tests/evaluate.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

# Installed again whenever what it is made from changes.
$(READY): pyproject.toml configs/constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"got Python {v[0]}.{v[1]}, expected 3.11 or newer; run: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): some minutes the first time, nothing the next."
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --constraint configs/constraints.txt --editable '.[dev,test]'
	@touch $(READY)
