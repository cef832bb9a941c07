# `make demo` and `make test` need Python >= 3.11 and nothing else; both work in ./.venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow test-databases bench chaos long soak fuzz audit lint docs clean

demo: $(READY)
	$(BIN)/python -m examples.demo

# Two at a time, each with a stack of its own: most of a test's time is waiting.
test: $(READY)
	$(BIN)/python -m tests.run

# For what ten minutes are too short: several hosts, fuzzing, ten kills, SQLite under Prefect.
test-slow: $(READY)
	$(BIN)/python -m tests.run -m slow

# Every test that has a stack, with the stack's tables on each kind of server. Those of the tables
# alone go through every kind by themselves, in `make test`; the others left out have no tables.
NO_STACK := tables browser/test_engine.py browser/test_keeper.py stack/test_postgres.py
WITH_STACK := tests/integration $(NO_STACK:%=--ignore=tests/integration/%)
test-databases: $(READY)
	VIBESURF_TEST_DATABASE=postgresql $(BIN)/python -m tests.run $(WITH_STACK)
	VIBESURF_TEST_DATABASE=mysql $(BIN)/python -m tests.run $(WITH_STACK)

# The cost of growth goes to docs/images/growth-<database>.svg as well.
bench: $(READY)
	VIBESURF_BENCH_PICTURE=docs/images/growth.svg $(BIN)/python -m tests.benchmarks

# Kills, freezes and cuts off parts of a working stack, and counts: docs/reliability.md.
chaos: $(READY)
	$(BIN)/python -m tests.chaos --seed 1 --kills 500

# The tests that take long.
long: $(READY)
	$(BIN)/python -m pytest -m chaos

# Ten thousand requests to the REST API (FUZZ_REQUESTS, FUZZ_SEED), and a table of the answers.
fuzz: $(READY)
	$(BIN)/python -m pytest -m chaos tests/chaos/test_long_fuzz.py

# Asks an advisory service about each locked version, so it needs the net and is no test.
audit: $(READY)
	$(BIN)/python -m pip check
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)/audit/bin/pip-audit --disable-pip --no-deps --requirement requirements.lock

# An hour of work, and what the stack uses meanwhile.
soak: $(READY)
	$(BIN)/python -m tests.chaos.soak --minutes 60

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m scripts.settings_page

clean:
	rm -rf $(VENV)

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
