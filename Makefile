# `make demo` and `make test` work straight after a clone: they make .venv with the pinned dependencies first.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
BROWSER := .venv/.browser

.PHONY: demo test test-slow check layers bench docs torture fuzz clean

demo: $(READY)
	$(BIN)/sit2 demo -o demo-run --overwrite

test: $(READY) $(BROWSER)
	$(BIN)/pytest -n auto -m "not slow"

test-slow: $(READY) $(BROWSER)
	$(BIN)/pytest -n auto -m slow

check: $(READY)
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/mypy src
	$(BIN)/pytest tests/test_imports.py

layers: $(READY)
	$(BIN)/python tests/helpers/layers.py

bench: $(READY)
	$(BIN)/python -m benchmarks.speed

docs: $(READY)
	$(BIN)/sphinx-build -W -q -b html docs build/docs

torture: $(READY)
	$(BIN)/python -m benchmarks.torture train compare synthesize

fuzz: $(READY)
	$(BIN)/python -W ignore tests/fuzz.py

clean:
	rm -rf build .venv demo-run .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("sit2 needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# The report's tests in a browser need Chromium; where it cannot be installed they are skipped.
$(BROWSER): $(READY)
	@for name in chromium chromium-browser google-chrome; do command -v $$name > /dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		echo "Installing Chromium for the browser tests"; \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } > /dev/null 2>&1; \
	fi; true
	@touch $@
