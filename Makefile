# The two commands of the README: each makes its virtual environment, installs what it needs, and does its work.
.PHONY: demo test live lint bench evasion lock clean

VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

$(VENV)/ready: pyproject.toml requirements.lock
	@scripts/setup.sh $(VENV)
	@touch $@

demo: $(VENV)/ready
	@$(SUDO) scripts/packages.sh demo
	@$(SUDO) $(BIN)/penstock demo $(DEMO)

test: $(VENV)/ready
	@$(SUDO) scripts/packages.sh test
	@$(SUDO) env PATH="$(CURDIR)/$(BIN):$$PATH" scripts/test.sh $(PYTEST)

lint: $(VENV)/ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/ready
	@$(SUDO) scripts/packages.sh bench
	@$(SUDO) env PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench $(BENCH)

# The whole evasion catalogue, live; writes docs/evasion.md. EVASION: ids of strategies, or --improvise SEED.
evasion: $(VENV)/ready
	@$(SUDO) scripts/packages.sh test
	@$(SUDO) env PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.evasion $(EVASION)

# The lock file: every version and hash of what is installed, from pyproject.toml.
lock:
	@python3 -m venv build/lock && build/lock/bin/pip install --quiet pip-tools
	@build/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --extra demo --extra test --extra lint --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis results
