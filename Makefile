# Everything one does with Breakwater. `make check` never modifies a file, `make lint` does.
# Needs Python 3.11 or newer; choose one with `make PYTHON=/path/to/python3.12 …`.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# One more than the cores this is meant for: a sixth of the time of the tests is waiting.
JOBS ?= 3
SEEDS ?= 200

.PHONY: help setup setup-dev demo run install-service uninstall-service check lint test failures fuzz histories histories-exits soak chaos chaos-crash chaos-kill journal-size removals waves trailing panic quiet bench lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

$(BIN)/python:
	@found=""; \
	for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found="$$candidate"; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "Breakwater needs Python 3.11 or newer; install one or name it: make PYTHON=/path/to/python3.12" >&2; exit 2; fi; \
	echo "setting up $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv $(VENV) || { echo "could not create $(VENV); on Debian and Ubuntu: apt install python3-venv" >&2; rm -rf $(VENV); exit 2; }

$(VENV)/.runtime: requirements.txt | $(BIN)/python
	@echo "installing requirements.txt"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.development: requirements-dev.txt | $(BIN)/python
	@echo "installing requirements-dev.txt"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@ $(VENV)/.runtime

setup: $(VENV)/.runtime ## create .venv and install what the daemon needs
setup-dev: $(VENV)/.development ## the same, with the tools of the tests

demo: setup ## a wave of signals becomes protected positions, against the local simulator
	@$(BIN)/python tools/demo.py $(ARGS)

run: setup ## the daemon; arguments in ARGS, e.g. make run ARGS=--dry-run
	@$(BIN)/python main.py $(ARGS)

install-service: setup ## a systemd service in /opt, asks for root (ARGS="--dry-run" tells what it would do)
	@$(BIN)/python deploy/install.py $(ARGS)

uninstall-service: ## take it away again; settings, secrets, journal, audit and logs stay
	@python3 deploy/install.py --uninstall $(ARGS)

check: setup-dev ## project rules, lint, format and types; modifies nothing
	@$(BIN)/python validate_project.py
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

lint: setup-dev ## fix what can be fixed, then check
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(MAKE) --no-print-directory check

test: export PYTHONDONTWRITEBYTECODE = # the programs that tests start would compile the project anew each time
test: check ## everything that must pass
	@$(BIN)/pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

failures: setup-dev ## which entries of docs/FAILURES.md a test proves
	@$(BIN)/python -m tools.failures $(ARGS)

fuzz: setup-dev ## every inbound parser under a coverage-guided fuzzer (five minutes; ARGS="--seconds 600" for longer)
	@$(BIN)/python -m tests.campaigns.fuzz $(ARGS)

histories: setup-dev ## ten thousand generated histories, each must end in the venue's state (a minute)
	@$(BIN)/python -m tests.campaigns.histories $(ARGS)

histories-exits: setup-dev ## three thousand histories with prices, exits and deaths (three minutes)
	@$(BIN)/python -m tests.campaigns.exit_histories --runs 3000 --dies $(ARGS)

chaos: setup-dev ## the daemon in virtual time under random faults, SEEDS of them (some 120 a minute on two cores)
	@$(BIN)/python -m tests.campaigns.chaos --seeds $(SEEDS) $(ARGS)

chaos-crash: setup-dev ## die at every write, send, receive and await of a daemon's life, and start again (four minutes)
	@$(BIN)/python -m tests.campaigns.crash $(ARGS)

chaos-kill: setup-dev ## kill -9 at random moments of waves, fifty times (ten minutes)
	@$(BIN)/python -m tests.campaigns.kill --runs 50 $(ARGS)

soak: setup-dev ## half an hour of fast waves over three venues: memory, files, tasks, sockets, loop (ARGS="--minutes 5" for less)
	@$(BIN)/python -m tests.campaigns.soak $(ARGS)

journal-size: setup-dev ## the journal's writer with two million rows (ARGS="--rows 25000000" for as many as ever)
	@$(BIN)/python -m tests.campaigns.journal_size $(ARGS)

removals: setup-dev ## take each protection out of a copy of the code and see a test notice (ARGS="--only NAME" for one)
	@$(BIN)/python -m tests.campaigns.removals $(ARGS)

waves: setup-dev ## waves over three venues and what these say of them (seven minutes; ARGS="--dead NAME:HOW", "--faults NAME" for worse)
	@$(BIN)/python -m tests.campaigns.waves $(ARGS)

trailing: setup-dev ## an hour of trailing on a random walk at each venue, judged by its record (two minutes; ARGS="--faults NAME" for worse)
	@$(BIN)/python -m tests.campaigns.trailing $(ARGS)

quiet: setup-dev ## a day of healthy trading that must alarm nobody, and faults that must alarm once (minutes; ARGS="--hours 1")
	@$(BIN)/python -m tests.campaigns.quiet $(ARGS)

panic: setup-dev ## ten positions over three venues at 250 ms: how long until all is closed, by the daemon and without one
	@$(BIN)/python -m tests.campaigns.panic $(ARGS)

bench: setup-dev ## the figures of docs/ARCHITECTURE.md, measured against the simulator
	@$(BIN)/python -m tools.bench $(ARGS)

lock: ## renew both pinned lists from the .in files (needs uv)
	uv pip compile --quiet --universal --no-header --generate-hashes --python-version 3.11 requirements.in -o requirements.txt
	uv pip compile --quiet --universal --no-header --generate-hashes --python-version 3.11 requirements-dev.in -o requirements-dev.txt

clean: ## caches and build leftovers; never data/
	@python3 cleanup_project.py --apply
