# `make demo` and `make test` work straight after a clone: they make .venv with the pinned dependencies first.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test check bench docs torture fuzz axe clean

demo: $(READY)
	$(BIN)/sit2 demo -o demo-run --overwrite

test: $(READY)
	$(BIN)/pytest -n auto

check: $(READY)
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy src
	$(BIN)/pytest tests/test_imports.py

bench: $(READY)
	$(BIN)/python -m benchmarks.speed

docs: $(READY)
	$(BIN)/sphinx-build -W -q -b html docs build/docs

torture: $(READY)
	$(BIN)/python -m benchmarks.torture train compare synthesize

fuzz: $(READY)
	$(BIN)/python -W ignore tests/fuzz.py

# The accessibility checker of tests/report/test_report_browser.py; any other copy can be named in AXE.
axe:
	mkdir -p .cache
	cd .cache && npm pack --silent axe-core && tar -xzf axe-core-*.tgz package/axe.min.js && rm axe-core-*.tgz
	mv .cache/package/axe.min.js .cache/axe.min.js && rmdir .cache/package

clean:
	rm -rf build .venv demo-run .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("sit2 needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
