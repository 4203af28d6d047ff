# The README's two commands are `make demo` and `make test`; each sets itself up on a fresh machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint docs clean

demo: $(INSTALLED)
	$(BIN)/dualcontrast demo --out demo --overwrite

# Some tests ask RELION itself, and some look at the report in Chromium; where apt-get may be used, both are brought along.
# Files of tests go to as many processes as there are processors, of one thread each.
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

# Warnings are errors: a link that leads nowhere, a docstring that names what is not there.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# torch goes first and pinned: left to itself, pip may choose a build with gigabytes of GPU libraries.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo dist site .pytest_cache .mypy_cache .ruff_cache
