# The developer's vocabulary: `make help`.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.setup-done
TWO := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder
WARM := import ganlab.commands.train, torch.distributed.run, torchmetrics, hypothesis, beartype, jaxtyping, xdist.plugin, wandb

# Without bytecode every process compiles torch and Lightning from source, which takes as long again as importing them.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-gpu lint format types docs bench bench-gpu clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(SETUP) ## make .venv and install the pinned dependencies; repeated only when they change

$(SETUP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ganlab needs Python 3.11 or newer, and this is " + sys.version.split()[0] + "; name another with make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing the pinned dependencies into .venv (5 GB with torch, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev,demo,docs]'
	@$(BIN)/python -c '$(WARM)'
	@touch $@

demo: $(SETUP) ## train a DCGAN on handwritten digits, in three minutes on two cores, and show what came of it
	$(BIN)/ganlab demo $(KEYS)

test: $(SETUP) lint types ## lint, types, import floors and all tests
	$(TWO) -m 'not gpu and not alone'
	OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not gpu and alone' $$(grep -rl --include='test_*.py' mark.alone tests)

test-fast: $(SETUP) ## the tests that take seconds
	$(TWO) -m 'not gpu and not slow and not multi'

test-gpu: $(SETUP) ## the tests that need a CUDA device; with GANLAB_DRY_GPU=1 on the CPU, as far as that goes
	$(BIN)/pytest -m gpu

lint: $(SETUP) ## ruff, and the import floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

format: $(SETUP) ## let ruff rewrite the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(SETUP) ## mypy, strict
	$(BIN)/mypy

docs: $(SETUP) ## the pages of docs/ as a site, in site/; to read it: .venv/bin/mkdocs serve
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(SETUP) ## ganlab's cost per step against a hand-written loop, and its data against other loaders, as ratios
	$(BIN)/python benchmarks/step_overhead.py
	$(BIN)/python benchmarks/data.py

bench-gpu: $(SETUP) ## training on one GPU: precisions, compilation, CUDA graphs, in ten minutes; GANLAB_DRY_GPU=1 as above
	$(BIN)/python benchmarks/gpu.py

clean: ## remove what the tools left; data, runs and .venv stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis site *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
