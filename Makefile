# Everything a developer does. `make demo` and `make test` need only Python >= 3.11 and make.
.DEFAULT_GOAL := help
PYTHON ?= python3
UV_VERSION := 0.13.9
# uv from the machine where it has one, else our own under .tools/.
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help install demo test test-fast test-newest hostile check format lock docs pictures bench sbom clean

help: ## this list
	@grep -E '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

.tools/bin/uv:
	@echo "==> no uv on this machine: bringing our own under .tools/"
	@$(PYTHON) -m venv .tools
	@.tools/bin/python -m pip install --quiet "uv==$(UV_VERSION)"

$(STAMP): requirements.lock pyproject.toml | $(filter .tools/bin/uv,$(UV))
	@echo "==> installing Outlast and its tools into .venv (about 700 MB of packages once, most of it for tests)"
	@test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) .venv
	@$(UV) pip sync --quiet --python $(BIN)/python requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

install: $(STAMP) ## everything into .venv

# The demo needs no test tools: the default install and the extra `local`, at the locked versions.
.demo/.installed: requirements.lock pyproject.toml | $(filter .tools/bin/uv,$(UV))
	@echo "==> installing Outlast and its embedded model's runtime into .demo/venv (about 190 MB once)"
	@test -x .demo/venv/bin/python || $(UV) venv --quiet --python $(PYTHON) .demo/venv
	@$(UV) pip install --quiet --python .demo/venv/bin/python --constraint requirements.lock --editable '.[local]'
	@touch $@

demo: .demo/.installed ## the main job end to end: local model, server, example agent, a streamed answer
	@.demo/venv/bin/python examples/demo.py

# Six processes on two cores: what waits for servers, drains and take-overs leaves them to the others.
# The few tests that fail run once more, alone: a machine that stalls for seconds fails one or another.
test: $(STAMP) ## all tests
	@$(BIN)/python -m tests.support.whole

test-fast: $(STAMP) ## a subset that covers each part, without Postgres and slow modules: at most 90 seconds on two cores
	@$(BIN)/python -m pytest --fast --processes 2

test-newest: $(STAMP) ## a part of the tests on the newest Python of this machine, if it has a newer one
	@$(BIN)/python -m tests.support.on_python

test-on-%: $(STAMP) ## all tests on another Python, in an environment of its own: make test-on-3.13
	@$(BIN)/python -m tests.support.on_python $*

HOSTILE := tests/hostile tests/rooms/test_connections.py tests/bench tests/rooms/test_slow_readers.py \
  tests/rooms/test_fuzz.py tests/rooms/console/test_screens.py tests/test_files.py tests/cli/test_leaving.py \
  tests/cli/test_deadline.py tests/engine/test_children_workers.py tests/engine/test_children_deep.py

hostile: $(STAMP) ## full disks, failing disks, a fleet in chaos, storms of runs: all of it, about fifteen minutes
	@OUTLAST_HOSTILE=whole $(BIN)/python -m pytest $(HOSTILE)

hostile-on-%: $(STAMP) ## the same on another Python: make hostile-on-3.13
	@OUTLAST_HOSTILE=whole $(BIN)/python -m tests.support.on_python $* --processes 1 $(HOSTILE)

check: $(STAMP) ## format, lint, layers, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/mypy

format: $(STAMP) ## format and mend what ruff can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: | $(filter .tools/bin/uv,$(UV)) ## write requirements.lock anew
	@$(UV) pip compile --quiet --universal --all-extras --group dev --no-emit-index-url \
	  --no-emit-find-links --no-header --generate-hashes --output-file requirements.lock pyproject.toml

docs: | $(filter .tools/bin/uv,$(UV)) ## the documents as a site, in site/
	@$(UV) tool run --quiet --from mkdocs==1.6.1 mkdocs build --quiet --strict
	@cp docs/*.md site/ # for machines: what llms.txt names

pictures: $(STAMP) ## the documents' pictures anew, by the tests that walk through the console in Chromium
	@OUTLAST_PICTURES=docs/images $(BIN)/python -m pytest tests/rooms/console/test_browser.py \
	  -k "killed or rolled_back or arguments or chat"

bench: $(STAMP) ## the figures on SQLite and on Postgres, as ratios against baselines measured in the same run
	@$(BIN)/python -m bench

sbom: | $(filter .tools/bin/uv,$(UV)) ## sbom.json: a CycloneDX bill of what requirements.lock names
	@$(UV) tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements --output-reproducible \
	  --output-format JSON --output-file sbom.json requirements.lock

clean: ## remove what make made
	@rm -rf .venv .venv-* .tools .demo
