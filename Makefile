# Everything a developer runs. `make` alone lists the targets; CONTRIBUTING.md explains them.
#
# One virtual environment (.venv) and one release build of the extension serve `run` and `test`. Stamp files in .venv
# remember what was done, so a second run starts at once. Python packages come from wherever pip is set up to look,
# and only if their hashes are those of requirements/*.lock.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# PYTHON may name any Python 3.11 or later; the first suitable one of the usual names is taken otherwise.
PYTHON ?= $(shell tools/find-python)
VENV := .venv
BIN := $(VENV)/bin
DIST ?= dist
PIP := $(BIN)/python -m pip --disable-pip-version-check
STEP := tools/step

# cargo must build against the interpreter of the environment, or it builds everything again.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export VIRTUAL_ENV := $(CURDIR)/$(VENV)

RUST_SOURCES := $(shell find rust -name target -prune -o \( -name '*.rs' -o -name Cargo.toml \) -print 2>/dev/null)
CLIENT_SOURCES := $(shell find tests/clients -name node_modules -prune -o -type f -print)

# ---- using it ----------------------------------------------------------------------------------------------------

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/.extension ## Build, then show a collector and an agent at work: Ctrl-C or SECONDS=20 ends it
	@$(BIN)/telemetry-collector demo $(if $(SECONDS),--seconds $(SECONDS))

.PHONY: build
build: $(VENV)/.extension ## Build everything into .venv; .venv/bin/telemetry-collector is then ready

.PHONY: wheel
wheel: $(VENV)/.runtime ## Build the wheel for Python 3.11 and later into dist/
	@PATH="$(CURDIR)/$(BIN):$$PATH" deploy/build-wheel.sh "$(DIST)"

# ---- testing it --------------------------------------------------------------------------------------------------

.PHONY: test
test: programs lint rust-test types python-test instructions torture ## Run every format, lint, type check and test; what CI runs

.PHONY: programs
programs: ## Install the Debian packages that the tests start, or say which are missing
	@$(STEP) "programs the tests start" tools/test-programs

.PHONY: lint
lint: $(VENV)/.dev ## Check formats, lints and layers
	@$(STEP) "ruff format" $(BIN)/ruff format --check --quiet .
	@$(STEP) "ruff" $(BIN)/ruff check --quiet .
	@PYTHONPATH=python $(STEP) "import layers" $(BIN)/lint-imports --no-logo --cache-dir $(VENV)/.import_linter_cache
	@$(STEP) "shellcheck" shellcheck .ci/run tools/* deploy/*.sh
	@$(STEP) "cargo fmt" cargo fmt --all --check
	@$(STEP) "cargo clippy" cargo clippy --locked --quiet --workspace --all-targets -- -D warnings
	@$(STEP) "cargo clippy without quinn" cargo clippy --locked --quiet -p telemetry-bindings --no-default-features -- -D warnings

.PHONY: rust-test
rust-test: $(VENV)/.runtime ## Run the tests of the Rust core
	@$(STEP) "cargo test" cargo test --locked --quiet --workspace

.PHONY: types
types: $(VENV)/.dev $(VENV)/.extension ## Check types, and the extension against its stub
	@$(STEP) "mypy" $(BIN)/mypy
	@$(STEP) "stubtest" $(BIN)/stubtest --concise telemetry_collector._core

.PHONY: python-test
python-test: $(VENV)/.dev $(VENV)/.extension $(VENV)/.clients ## Run the Python tests with their coverage
	@$(STEP) "pytest" $(BIN)/python -m pytest --cov --cov-report=term

.PHONY: torture
torture: $(VENV)/.extension ## Prove that nothing acknowledged is lost or stored twice: KILLS (50), MINUTES (15) at most
	@$(STEP) "torture" $(BIN)/telemetry-collector torture --minutes $(or $(MINUTES),15) --kills $(or $(KILLS),50)

.PHONY: instructions
instructions: $(VENV)/.extension ## Count instructions a point of each stage; over +10 % of the baseline fails
	@$(STEP) "instructions" $(BIN)/python -m benches.instructions

.PHONY: baseline
baseline: $(VENV)/.extension ## Count again, and take the counts as the new baseline
	@$(BIN)/python -m benches.instructions --update

.PHONY: format
format: $(VENV)/.dev ## Format all code
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .
	@cargo fmt --all

.PHONY: bench
bench: $(VENV)/.dev $(VENV)/.extension ## Measure; the figures are explained in docs/benchmarks.md
	@$(BIN)/python -m benches
	@$(BIN)/python -m pytest benches/python --benchmark-enable --quiet
	@cargo bench --locked --quiet -p telemetry-core

.PHONY: fuzz
fuzz: ## Fuzz decoder and journal recovery for SECONDS (60) each; TARGET=frame: that one
	@tools/fuzz $(or $(SECONDS),60) $(TARGET)

# ---- what they need ----------------------------------------------------------------------------------------------

# The environment is made once; a lock that changes is installed on top of it.
$(VENV)/.created:
	@tools/preflight "$(PYTHON)"
	@$(STEP) "virtual environment" "$(PYTHON)" -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.created requirements/runtime.lock requirements/build.lock
	@$(STEP) "packages to run" $(PIP) install --quiet --require-hashes --no-deps -r requirements/runtime.lock -r requirements/build.lock
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.lock
	@$(STEP) "packages to test" $(PIP) install --quiet --require-hashes --no-deps -r requirements/dev.lock
	@touch $@

$(VENV)/.extension: $(VENV)/.runtime $(RUST_SOURCES) Cargo.toml Cargo.lock pyproject.toml
	@PIP_QUIET=1 $(STEP) "release build" $(BIN)/maturin develop --release --locked
	@touch $@

# Clients that are not ours, which tests send with: OpenTelemetry's SDKs for Go and JavaScript, telemetrygen, grpcurl.
$(VENV)/.clients: $(VENV)/.created tools/clients $(CLIENT_SOURCES)
	@$(STEP) "clients" tools/clients $(VENV)/clients
	@touch $@

.PHONY: proto
proto: $(VENV)/.dev ## Write the Python messages of proto/*.proto again
	@tools/proto $(BIN)/python

.PHONY: lock
lock: $(VENV)/.created ## Resolve the requirements again (UPGRADE=1: to their newest versions)
	@$(PIP) install --quiet uv
	@tools/lock $(BIN)/uv $(if $(UPGRADE),--upgrade)

.PHONY: clean
clean: ## Remove what was built, the environment and the demo's data; certificates stay
	rm -rf $(VENV) target dist data tests/clients/node/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find python tests benches \( -name __pycache__ -o -name '_core*.so' \) -prune -exec rm -rf {} +
