# The front door: everything a fresh machine needs, from `make run` to `make dist`.
#
# Each step looks for what is there and does only what is missing, so that a second run needs no network.
# CARGO_TARGET_DIR is honoured; ARGS goes to the command that runs (`make run ARGS="--listen 127.0.0.1:9000"`).

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.PHONY: help run test sdk bench drill models audit dist tools postgres build

CARGO  ?= cargo
PYTHON ?= python3
ARGS   ?=

TARGET  := $(or $(CARGO_TARGET_DIR),target)
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
SUDO    := $(if $(filter 0,$(shell id -u)),,sudo )
DIST    := dist/refrain-$(VERSION)-$(shell uname -s | tr A-Z a-z)-$(shell uname -m)

# Any of these means that somebody has chosen where answers come from; `run` then leaves the sandbox out.
PROVIDER_KEYS := OPENAI_API_KEY ANTHROPIC_API_KEY GEMINI_API_KEY AZURE_OPENAI_API_KEY OPENROUTER_API_KEY

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name what; do \
	    printf '  make %-8s %s\n' "$$name" "$$what"; done

run: build ## build and start the server; without any key or configuration it answers from the sandbox
	@sandbox=; \
	if [ -z "$$(for name in $(PROVIDER_KEYS) REFRAIN_CONFIG; do printenv "$$name"; done)" ] && [ ! -e refrain.toml ]; then \
	    sandbox=--sandbox; \
	    echo 'make run: no provider key and no refrain.toml: starting with --sandbox, whose answers are made up' >&2; \
	fi; \
	exec $(CARGO) run --release --locked --quiet -- serve $$sandbox $(ARGS)

test: tools postgres ## run every test, on the real model, both databases and a real Qdrant server
	@$(PYTHON) models/fetch.py --tests
	@$(CARGO) test --locked $(ARGS)

sdk: tools ## drill the official SDKs against an upstream that others wrote; a drill, not a test: it fetches packages
	@$(CARGO) build --locked --quiet --bin refrain
	@$(PYTHON) -B tests/sdk/drill.py $(ARGS)

bench: tools models ## measure latencies and hit rates
	@$(CARGO) bench --locked $(or $(ARGS),--bench latency --bench hit_rate)

drill: tools ## drill an outage, kills and load against the real binary: some 15 minutes, `ARGS="outage --seconds 20"` for less
	@$(CARGO) bench --locked --bench drill -- $(ARGS)

models: ## fetch the embedding model and the ONNX Runtime, and verify every byte
	@$(PYTHON) models/fetch.py

audit: ## check licences, bans and sources of every dependency, and advisories where their database can be reached
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install cargo-deny --locked
	@$(CARGO) deny --config .deny.toml check licenses bans sources
	@if $(CARGO) deny --config .deny.toml fetch db; then \
	    $(CARGO) deny --config .deny.toml check --disable-fetch advisories; \
	else \
	    echo 'make audit: the advisory database cannot be reached: advisories were NOT checked' >&2; \
	fi

dist: build ## pack a folder that runs wherever it is put: binary, model, runtime, prices, word lists
	@rm -rf '$(DIST)'
	@mkdir -p '$(DIST)'
	@cp '$(TARGET)/release/refrain' LICENSE README.md CHANGELOG.md '$(DIST)/'
	@cp -R models '$(DIST)/models'
	@rm -f '$(DIST)/models/fetch.py'
	@cp examples/refrain.toml '$(DIST)/refrain.example.toml'
	@echo '$(DIST)'

build: tools models
	@$(CARGO) build --release --locked

# What cannot be fetched by name must be there. All that is missing is named at once, with the one command that brings it.
tools:
	@missing=; \
	command -v cc >/dev/null || missing="$$missing build-essential"; \
	$(PYTHON) -c 'import tomllib' 2>/dev/null || missing="$$missing python3"; \
	$(PYTHON) -m pip --version >/dev/null 2>&1 || missing="$$missing python3-pip"; \
	command -v npm >/dev/null || missing="$$missing nodejs npm"; \
	if [ -n "$$missing" ]; then \
	    echo "make: missing:$$missing (Python 3.11 or newer). Install with: $(SUDO)apt-get update && $(SUDO)apt-get install -y$$missing" >&2; exit 1; \
	fi; \
	command -v $(CARGO) >/dev/null || { \
	    echo 'make: missing: Rust. Install with: curl --proto =https --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y' >&2; \
	    exit 1; }; \
	wanted="$$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)"; \
	found="$$(rustc --version | cut -d' ' -f2)"; \
	[ "$$(printf '%s\n%s\n' "$$wanted" "$$found" | sort -V | head -n 1)" = "$$wanted" ] || { \
	    echo "make: Rust $$found is older than $$wanted. Install with: rustup update stable" >&2; exit 1; }

# The tests start a PostgreSQL server of their own, in a folder of their own; only its programs have to be there.
postgres:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        echo 'make test: installing PostgreSQL, which the tests need' >&2; \
	        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null; \
	    else \
	        echo 'make test: missing: a PostgreSQL server. Install with: $(SUDO)apt-get update && $(SUDO)apt-get install -y postgresql' >&2; exit 1; \
	    fi; }
