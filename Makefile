VENV := .venv
PYTHON := $(VENV)/bin/python
CONFIG ?= configs/synthetic.toml
FOLDERS := cluster features models retrieval train tune serve benchmarks tests

.PHONY: help setup demo serve test check format bench quality clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.installed ## make .venv and install the pinned set into it

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --progress-bar off -c constraints.txt -e '.[cpu,tune,dev,bench]'
	@touch $@

demo: setup ## synthetic world to recommendations over HTTP, printed as tables
	$(PYTHON) -m serve.demo $(CONFIG)

serve: setup ## keep the service of CONFIG=configs/NAME.toml up
	$(PYTHON) -m serve $(CONFIG)

# Modules keep to one process for their fixtures' sake. All tests run even where some have failed.
test: setup ## every test but the long quality runs
	@TEST_ARTIFACTS=$$(mktemp -d); export TEST_ARTIFACTS; trap 'rm -rf "$$TEST_ARTIFACTS"' EXIT; \
	trap 'exit 130' INT TERM; \
	$(PYTHON) -m pytest -n 2 --dist loadscope --no-loadscope-reorder \
		-m 'not alone and not long'; beside=$$?; \
	$(PYTHON) -m pytest -m 'alone and not long' && exit $$beside

check: setup ## lint, format, types and import contracts; changes nothing
	$(VENV)/bin/ruff check $(FOLDERS)
	$(VENV)/bin/ruff format --check $(FOLDERS)
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

format: setup ## mend formatting and what the linter can
	$(VENV)/bin/ruff check --fix $(FOLDERS)
	$(VENV)/bin/ruff format $(FOLDERS)

bench: setup ## measure what takes minutes, or BENCH="NAME ..." (BENCH=--list names them all)
	$(PYTHON) -m benchmarks $(BENCH)

quality: setup ## the long quality floors on real data
	$(PYTHON) -m pytest tests/quality

clean: ## remove what tools leave behind, keep artifacts and .venv
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
