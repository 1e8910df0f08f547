# Two commands: `make demo` shows an agent learning; `make test` checks everything.
PYTHON ?= python3
VENV   ?= .venv
SEED   ?= 0
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off -c constraints.txt
READY  := $(VENV)/.ready
TESTED := $(VENV)/.ready-for-tests

.PHONY: demo test lint types unit bench docs setup clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Palaestra needs Python 3.11 or newer; set PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once; torch is large)"
	@$(PIP) torch
	@$(PIP) -e '.[train,tasks,math]'
	@touch $@

$(TESTED): $(READY)
	@echo "installing what the tests need"
	@$(PIP) -e '.[train,tasks,math,interop,bench,browser,test]'
	@touch $@

demo: $(READY)
	$(BIN)/palaestra demo --seed $(SEED)

test: lint types unit

lint: $(TESTED)
	$(BIN)/ruff check .

# The root is the package, whatever the checkout is called: mypy sees it under its import name through a link.
types: $(TESTED)
	@mkdir -p build/typing && ln -sfn ../.. build/typing/palaestra
	cd build/typing && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p palaestra

unit: $(TESTED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

bench: $(TESTED)
	$(BIN)/python -m benchmarks

docs: $(TESTED)
	@$(PIP) -e '.[docs]'
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist *.egg-info
