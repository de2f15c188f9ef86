# Two commands: `make demo` runs the main job on the text that ships with the package, `make test` runs every test.
# Everything is installed into .venv; PYTHON names the interpreter that makes it.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test prepare docs lab bench clean

# A torch that PYTHON already has is kept (the venv then sees the system's packages); else 2.13.0 comes first, so that
# no later requirement can pull a larger build of it.
.venv/base: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("enterprise_lm needs Python 3.11 or newer: set PYTHON=python3.11 or later") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $$($(PYTHON) -c 'import torch' 2>/dev/null && echo --system-site-packages) .venv
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/pip install -q torch==2.13.0
	$(BIN)/pip install -q -e .
	touch $@

.venv/dev: .venv/base
	$(BIN)/pip install -q -e '.[dev]'
	touch $@

demo: .venv/base
	$(BIN)/elm demo

test: .venv/dev
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 nbdev-test --n-workers 2
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 pytest -q -n 2 --dist loadfile tests

prepare: .venv/dev
	$(BIN)/nbdev-export
	$(BIN)/nbdev-clean --fname nbs
	$(BIN)/nbdev-clean --fname pipelines
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 nbdev-test --n-workers 2
	$(BIN)/python docs/build.py readme

docs: .venv/dev
	$(BIN)/pip install -q -e '.[docs]'
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python docs/build.py site

lab: .venv/dev
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter lab --notebook-dir=$(CURDIR) nbs/index.ipynb

bench: .venv/dev
	PATH="$(CURDIR)/$(BIN):$$PATH" nbdev-test --flags slow --n-workers 1 --timing

clean:
	rm -rf .venv site _proc _docs dist build
