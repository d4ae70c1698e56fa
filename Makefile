# Everything a developer types; `make` lists it. Needs Python 3.11 to 3.13, nothing else.
PORT ?= 8080
DATA ?= .dev
S3 ?= seaweedfs
N ?= 30
ARGS ?=
USERS ?= 20
TIME ?= 60s
SIZE ?= 16MiB
URL ?=
KEY ?= $(MEDIAGATE_KEY)
METADATA ?= sqlite
SIZES ?= 10000 1000000

SUPPORTED = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done)
BIN := $(CURDIR)/.venv/bin
RUNTIME := .venv/.runtime
DEVELOPMENT := .venv/.development
# deptry cannot read setup.cfg.
REQUIREMENTS = import configparser; c = configparser.ConfigParser(); c.read("setup.cfg"); \
	print(c["options"]["install_requires"] + c["options.extras_require"]["fsspec"])
# Tools that tests and checks start are found here, wherever `go install` put them.
TOOLS_PATH := $(BIN):$(PATH):$(HOME)/go/bin:/usr/local/go/bin

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.PHONY: help run stack test faults load bench scale lint audit minio clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "PORT=$(PORT)  DATA=$(DATA)  S3=$(S3) (or minio)  METADATA=$(METADATA) (or mongo)  N=$(N) for faults  ARGS= for pytest"
	@echo "for load: USERS=$(USERS)  TIME=$(TIME)  SIZE=$(SIZE) at most  URL= of a deployment  KEY= its API key"

run: $(RUNTIME) ## the service and its servers on this machine, data in DATA
	@exec env PATH="$(TOOLS_PATH)" $(BIN)/mediagate dev --data "$(DATA)" --port "$(PORT)" --s3 "$(S3)" --metadata "$(METADATA)" --die-with-parent

stack: $(RUNTIME) ## only what the service needs; then: mediagate serve --env-file DATA/env
	@exec env PATH="$(TOOLS_PATH)" $(BIN)/mediagate stack --data "$(DATA)" --s3 "$(S3)" --metadata "$(METADATA)" --die-with-parent

test: $(DEVELOPMENT) ## all tests, on real servers (ARGS="-k name" for some)
	@PATH="$(TOOLS_PATH)" $(BIN)/python -m pytest $(ARGS)

faults: $(DEVELOPMENT) ## kill, freeze, fill up and lie to real processes, N rounds; report in DATA/faults.md
	@PATH="$(TOOLS_PATH)" MEDIAGATE_TEST_FAULTS_N="$(N)" \
		MEDIAGATE_TEST_FAULTS_REPORT="$(abspath $(DATA))/faults" \
		$(BIN)/python -m pytest tests/faults/test_real_faults.py $(ARGS)

load: $(DEVELOPMENT) ## load-test a service of its own, or the one at URL; report in DATA/load.html
	@exec env PATH="$(TOOLS_PATH)" MEDIAGATE_KEY="$(KEY)" $(BIN)/python -m tests.load --data "$(DATA)" \
		--s3 "$(S3)" --users "$(USERS)" --time "$(TIME)" --max-size "$(SIZE)" --url "$(URL)"

bench: $(DEVELOPMENT) ## what it costs beside nginx and the bare store (ARGS="--only transfers,small"); DATA/bench.txt
	@exec env PATH="$(TOOLS_PATH)" $(BIN)/python -m tests.load.bench --out "$(DATA)/bench" $(ARGS)

scale: $(DEVELOPMENT) ## p50 of each kind of page in buckets of SIZES objects, METADATA=sqlite or mongodb://…
	@$(BIN)/python -m tests.load.scale --metadata "$(METADATA)" --data "$(DATA)/scale" --sizes $(SIZES) $(ARGS)

lint: $(DEVELOPMENT) ## style, types, layers, dependencies, Dockerfile, compose file
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@$(BIN)/python -c '$(REQUIREMENTS)' > .venv/requirements.txt
	$(BIN)/deptry --requirements-files .venv/requirements.txt .
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/python -m pytest -q tests/test_layers.py

audit: $(DEVELOPMENT) ## known vulnerabilities of what is installed (needs the network)
	$(BIN)/pip-audit --skip-editable

minio: $(BIN)/minio ## build a `minio` into .venv with Go, for S3=minio and the tests

clean: ## remove the data in DATA
	rm -rf -- "$(DATA)"

$(BIN)/minio: | $(BIN)/python
	PATH="$(TOOLS_PATH)" GOBIN="$(BIN)" go install github.com/minio/minio@latest

# The stamps follow setup.cfg, so that a new dependency is installed by whatever needs it first.
$(RUNTIME): setup.cfg pyproject.toml | $(BIN)/python
	@echo "installing mediagate and its servers into .venv (once)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[devstack]'
	@touch $@

$(DEVELOPMENT): setup.cfg pyproject.toml | $(BIN)/python
	@echo "installing mediagate and its development tools into .venv (once)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev,devstack]'
	@touch $@ $(RUNTIME)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 to 3.13 found; name one: make PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "this Python cannot make a virtual environment (Debian: apt install python3-venv)" >&2; exit 1; }
