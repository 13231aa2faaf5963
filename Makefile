# Everything a person or CI runs here; `make help` lists it. Each target that runs Python sets up .venv by itself.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
STAMP := .venv/.installed

# Passed on by `make demo`; empty means the command's own default.
PORT ?=
DATA ?=
RUN_SECONDS ?=

# Debian packages whose programs the tests start: Prometheus, which the PromQL answers are compared with and which is
# scraped, as is its node exporter, and Alertmanager; what writes and rotates logs; smartctl; systemd, which reads units.
TEST_SERVERS := prometheus prometheus-node-exporter prometheus-alertmanager nginx logrotate smartmontools systemd

# Passed on by `make soak`; without a seed, one is drawn and printed.
MINUTES ?= 10
SEED ?=

.PHONY: help dev demo check test soak grafana test-wheel test-servers bench bench-sources clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'
	@echo
	@echo "  make bench-quantiles                 one area of benchmarks; with QUICK=1 a smoke run"
	@echo "  make demo PORT=18080 DATA=./some-folder RUN_SECONDS=20   passes all three on to tailwatch demo"

dev: $(STAMP)  ## build .venv, with hooks for git where this is a checkout
	@if [ -e .git ] && ! git config --get core.hooksPath >/dev/null; then $(BIN)/pre-commit install --install-hooks; fi
	@echo "ready: $(BIN)/tailwatch demo"

$(STAMP): pyproject.toml constraints.txt
	@python=; for candidate in python3.11 python3 python3.13 python3.12; do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "no Python >= 3.11 found on PATH; install python3.11 and its venv module" >&2; exit 1; fi; \
	if [ ! -x $(BIN)/python ]; then echo "building .venv with $$python"; "$$python" -m venv .venv; \
	else echo "pyproject.toml or constraints.txt changed: updating .venv"; fi
	@{ $(BIN)/python -m pip install 'pip>=25.1' && \
	    $(BIN)/python -m pip install -c constraints.txt -e '.[all]' --group dev; } >.venv/install.log 2>&1 \
	    || { tail -n 30 .venv/install.log >&2; echo "installing failed; all of it is in .venv/install.log" >&2; exit 1; }
	@touch $@

demo: $(STAMP)  ## run agent, collector and API on this host's own telemetry
	@exec $(BIN)/tailwatch demo $(if $(PORT),--port $(PORT)) $(if $(DATA),--data '$(DATA)') $(if $(RUN_SECONDS),--seconds $(RUN_SECONDS))

check: $(STAMP)  ## ruff, mypy strict and the import layers; needs no network
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A file to a process, the longest first, half as many again side by side as there are cores: some wait for a disk or a
# server. What starts whole systems, or wants a server for itself, comes second, two side by side: it has waits of its
# own. Interpreters are started by the hundred: each finds what others have compiled, whatever the environment says.
# Spools and databases sync thousands of times: they lie in memory where there is room, on a path short enough for sockets.
WHOLE_SYSTEMS = $(shell grep -rlE 'mark\.(system|alone)\b' tests --include='test_*.py' | sort)

test: export PYTHONDONTWRITEBYTECODE :=
test: $(STAMP)  ## all tests but the soak ones; ARGS='tests/wire -k frame' narrows
ifdef ARGS
	$(BIN)/python -m pytest -m 'not soak' $(ARGS)
else
	@cores=$$(nproc); ended=0; \
	most=$$(((cores * 3 + 1) / 2)); \
	workers=$$((most < 8 ? most : 8)); files="--dist loadfile --no-loadscope-reorder"; \
	free_mb=$$(df --output=avail -m /dev/shm 2>/dev/null | tail -n 1 || true); memory=; \
	if [ -w /dev/shm ] && [ "$${free_mb:-0}" -ge 4000 ]; then \
	    memory=$$(mktemp -d /dev/shm/tw-XXXXXX); trap 'rm -rf "$$memory"' EXIT; \
	fi; \
	$(BIN)/python -m pytest -n $$workers $$files $${memory:+--basetemp "$$memory/1"} \
	    -m 'not (soak or system or alone)' || ended=$$?; \
	$(BIN)/python -m pytest -n 2 $$files $${memory:+--basetemp "$$memory/2"} \
	    -m '(system or alone) and not soak' $(WHOLE_SYSTEMS) || ended=$$?; \
	exit $$ended
endif

soak: $(STAMP)  ## faults at random for a while; MINUTES=30 SEED=7
	MINUTES='$(MINUTES)' SEED='$(SEED)' $(BIN)/python -m pytest -m soak tests/system/test_soak.py $(ARGS)

grafana: $(STAMP)  ## render grafana/ again, after a change of dashboards or rules
	$(BIN)/tailwatch grafana export grafana --config grafana/export.yaml
	$(BIN)/python -m tailwatch.grafana.described docs/reference/grafana.md

test-wheel: $(STAMP)  ## build the wheel, install it elsewhere, run its demo from an empty folder
	.ci/test-wheel $(BIN)/python

test-servers: $(STAMP)  ## install the programs that tests start (apt, root); else say which
	@if [ -z "$(strip $(TEST_SERVERS))" ]; then echo "test-servers: the tests need no program beyond .venv"; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q </dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(TEST_SERVERS) </dev/null; \
	else echo "test-servers: would install by apt, as root: $(TEST_SERVERS)"; fi

bench: $(STAMP)  ## run every area under benchmarks/
	@areas=$$(if [ -d benchmarks ]; then find benchmarks -mindepth 2 -maxdepth 2 -name __main__.py -printf '%h\n' | sort; fi); \
	if [ -z "$$areas" ]; then echo "bench: there are no benchmarks yet"; exit 0; fi; \
	for area in $$areas; do echo "bench: $$area"; $(BIN)/python -m "$${area/\//.}"; done

# The StatsD server, a peer, where npm can be had; without it the table says that it is not installed.
bench-sources: $(STAMP)  ## what a core takes in of each source; puts StatsD's server into .node where npm is there
	-command -v npm >/dev/null && npm install --silent --no-audit --no-fund --no-save --prefix .node statsd@0.9.0
	$(BIN)/python -m benchmarks.sources

bench-%: $(STAMP)
	$(BIN)/python -m benchmarks.$*

clean:  ## remove what builds and tests left behind; .venv and demo data stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
