# Everything a newcomer types. Each verb sets itself up first; a second run starts at once.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
BIN := .venv/bin
LOCK := requirements/lock.txt
PEER := requirements/peer.txt
LIVEKIT := v1.13.5
LIVEKIT_SERVER := .tools/bin/livekit-server
EXTRAS := amazon docs export livekit local picture postgres testing dev vad

# pip's own bar is one a file; this is one line a package, and its errors still come through on stderr.
NARROW := awk '/^ *(Downloading|Using cached) / && !/metadata/ {sub(/^ *(Downloading|Using cached) /, ""); sub(/-(py|cp)[0-9][^ ]*\.whl/, ""); printf "  [%d/%d] %s\n", ++n, all, $$0} /^Installing collected/ {print "  installing"} {fflush()}'

# A lock has hashes, and no address in it.
RESOLVE := CUSTOM_COMPILE_COMMAND='make lock' PIP_FIND_LINKS= $(BIN)/python -m piptools compile --quiet --upgrade \
    --generate-hashes --strip-extras --allow-unsafe \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

.PHONY: help demo test check fmt bench figures lock schemas docs site livekit page peer

help:
	@echo 'make demo     a call from start to end: a caller, five stages, a recording and its picture'
	@echo 'make test     the tests'
	@echo 'make check    formatting, lint, types, imports between packages, unused names'
	@echo 'make fmt      put the code in shape'
	@echo 'make bench    overhead and cost of a turn, against the last committed figures'
	@echo 'make figures  every figure that is promised, five times, into bench/figures and docs/performance.md: 35 minutes'
	@echo 'make peer     LiveKit Agents, to measure beside: python -m bench.all --only peer'
	@echo 'make lock     resolve the dependencies of pyproject.toml, and those of the peer, anew'
	@echo 'make schemas  write the JSON Schemas and the golden wire samples anew'
	@echo 'make page     bring what the talk page uses for rooms: LiveKit'"'"'s client; needs Node'
	@echo 'make docs     write what the documentation takes from the code anew'
	@echo 'make site     the documentation as a site, in site/index.html'
	@echo 'make livekit  build the server for rooms with Go, into .tools/bin'

demo: .venv/stamp
	@$(BIN)/antiphon demo

# What listens to the clock runs alone; the rest runs in two processes, a file in one of them.
test: .venv/stamp
	@$(BIN)/antiphon fetch
	@$(BIN)/python -m pytest -m 'not realtime' --numprocesses 2 --dist loadfile
	@$(BIN)/python -m pytest -m realtime

check: .venv/stamp
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/vulture

fmt: .venv/stamp
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format

bench: .venv/stamp
	@$(BIN)/python -m bench.pipeline --sessions 1 --turns 40 --compare
	@$(BIN)/python -m bench.pipeline --sessions 100 --turns 12 --compare

figures: .venv/stamp
	@$(BIN)/python -m bench.all
	@$(BIN)/python -m docs.generate

lock: .venv/stamp
	@$(RESOLVE) --no-build-isolation $(EXTRAS:%=--extra %) --output-file $(LOCK) pyproject.toml
	@$(RESOLVE) --output-file $(PEER) $(PEER:.txt=.in)

# What the figures are taken beside, in an environment of its own: not part of the product, nor of its tests.
peer: $(PEER)
	@$(PYTHON) -m venv .tools/livekit-agents
	@.tools/livekit-agents/bin/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes --no-deps -r $< | $(NARROW) all=$$(grep -c == $<)

schemas: .venv/stamp
	@$(BIN)/python -m docs.json_schemas
	@$(BIN)/python -m tests.schemas.samples

# What the talk page can do without, and does better with: LiveKit's client, for rooms, and two typefaces.
NPM := gateway/node_modules
BUNDLE := gateway/page/bundle
page:
	@npm ci --prefix gateway --ignore-scripts --prefer-offline --no-audit --no-fund --loglevel=error >/dev/null
	@rm -rf $(BUNDLE) && mkdir $(BUNDLE)
	@cp $(NPM)/livekit-client/dist/livekit-client.umd.js $(BUNDLE)/livekit-client.js
	@cp $(NPM)/livekit-client/LICENSE $(BUNDLE)/livekit-client.LICENSE
	@for face in literata instrument-sans; do \
	    cp $(NPM)/@fontsource-variable/$$face/files/$$face-latin-wght-normal.woff2 $(BUNDLE)/$$face.woff2; \
	    cp $(NPM)/@fontsource-variable/$$face/LICENSE $(BUNDLE)/$$face.LICENSE; done
	@cp $(NPM)/@fontsource-variable/literata/files/literata-latin-wght-italic.woff2 $(BUNDLE)/literata-italic.woff2
	@echo 'the talk page has its bundle: $(BUNDLE)'

docs: .venv/stamp
	@$(BIN)/python -m docs.generate

site: .venv/stamp
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

livekit: $(LIVEKIT_SERVER)-$(LIVEKIT)
	@ln -sf livekit-server-$(LIVEKIT) $(LIVEKIT_SERVER)

# The version is in the name: a newer pin is built, and what is there is not built again.
$(LIVEKIT_SERVER)-%:
	@command -v go >/dev/null || { echo 'livekit-server is built with Go, which is not here: install Go 1.24 or newer, or take the server from a container, a package manager or its releases: docs/livekit.md' >&2; exit 1; }
	@echo 'Building livekit-server $* with Go (some minutes the first time)'
	@GOBIN='$(CURDIR)/.tools/go' go install github.com/livekit/livekit-server/cmd/server@$*
	@mkdir -p $(@D)
	@mv .tools/go/server $@

.venv/stamp: $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Antiphon needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	@echo 'Setting up .venv (a few minutes the first time)'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes --no-deps -r $(LOCK) | $(NARROW) all=$$(grep -c == $(LOCK))
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
