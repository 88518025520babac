# Everything a person or a machine runs here. GNU make 3.81 (as on macOS) is enough.

# The first of these that really is a CPython 3.11 to 3.13: a version manager's shim exists without one, too.
CANDIDATES := python3.13 python3.12 python3.11 python3 python
IS_SUITABLE := import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 13) and sys.implementation.name == "cpython"))
PYTHON ?= $(shell for p in $(CANDIDATES); do "$$p" -c '$(IS_SUITABLE)' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input

# Each stamp says: this much is installed, from these files.
CREATED := $(VENV)/.created
RUNTIME := $(VENV)/.runtime
DEVELOPMENT := $(VENV)/.development

LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-annotate --no-header --quiet

.PHONY: serve test test-long test-keras lint format bench demo openapi lock clean
.DELETE_ON_ERROR:

# `exec` leaves no shell between make and the service, so a signal to make reaches it.
serve: $(RUNTIME)
	@exec $(BIN)/plumbline serve

demo: $(RUNTIME)
	@exec $(BIN)/python -m service.demo

test: $(DEVELOPMENT)
	@exec $(BIN)/python -m pytest $(ARGS)

# What `test` leaves out, marked `long`: processes killed at random, outages, several machines, hundreds of watchers, and a
# covering part of the table against Keras itself.
test-long: $(DEVELOPMENT)
	@exec $(BIN)/python -m pytest -m long $(ARGS)

# Every optimizer on every problem by every plan against Keras itself: half an hour.
test-keras: $(DEVELOPMENT)
	@exec $(BIN)/python -m pytest tests/fitting/descent/every_case_against_keras.py $(ARGS)

bench: $(DEVELOPMENT)
	@exec $(BIN)/python -m benchmarks $(ARGS)

lint: $(DEVELOPMENT)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(DEVELOPMENT)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

openapi: $(RUNTIME)
	$(BIN)/python -m service.api.openapi > openapi/openapi.json.new
	mv openapi/openapi.json.new openapi/openapi.json

# The only target that resolves versions; it needs uv (https://docs.astral.sh/uv/).
lock:
	$(LOCK) --group build -o requirements/runtime.txt
	$(LOCK) --group dev -o requirements/development.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(CREATED):
	@test -n "$(PYTHON)" || { echo "Plumbline needs CPython 3.11, 3.12 or 3.13; name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c '$(IS_SUITABLE)' || { echo "$(PYTHON) is no CPython 3.11 to 3.13" >&2; exit 1; }
	@echo "Making $(VENV) with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv --clear $(VENV)
	@touch $@

$(RUNTIME): requirements/runtime.txt pyproject.toml $(CREATED)
	@echo "Installing what the service needs (a few minutes the first time)"
	@$(PIP) install --require-hashes --no-deps -r requirements/runtime.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# Beside the runtime's, never instead: both locks name the same versions.
$(DEVELOPMENT): requirements/development.txt $(RUNTIME)
	@echo "Installing what the tests need"
	@$(PIP) install --require-hashes --no-deps -r requirements/development.txt
	@touch $@
