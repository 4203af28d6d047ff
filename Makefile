# `make demo` and `make test` are the README's two commands; every target sets up .venv on a fresh machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint docs clean

demo: $(INSTALLED)
	$(BIN)/dualcontrast demo --out demo --overwrite

# Some tests call RELION, others open pages in Chromium; both are installed if apt-get may be used.
# Test files are distributed over one process per core, with one thread each.
test: $(INSTALLED)
	@command -v relion_reconstruct >/dev/null && command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends relion chromium chromium-driver; } || \
		echo "RELION or Chromium is not installed; the tests that need it are skipped, or fail under CI=true"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --dist loadfile

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Warnings are errors: broken links, docstrings that name missing parameters.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# torch is installed first and pinned; otherwise pip may choose a build with gigabytes of GPU libraries.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo dist site .pytest_cache .mypy_cache .ruff_cache
