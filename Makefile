# Two commands: `make demo` shows an agent learning; `make test` checks everything.
PYTHON ?= python3
VENV   ?= .venv
SEED   ?= 0
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
EXTRAS := train,tasks,math,interop,bench,browser,test

.PHONY: demo test lint types unit bench setup clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Palaestra needs Python 3.11 or newer; set PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off torch -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

demo: $(STAMP)
	$(BIN)/palaestra demo --seed $(SEED)

test: lint types unit

lint: $(STAMP)
	$(BIN)/ruff check .

# The root is the package, whatever the checkout is called: mypy sees it under its import name through a link.
types: $(STAMP)
	@mkdir -p build/typing && ln -sfn ../.. build/typing/palaestra
	cd build/typing && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p palaestra

unit: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

bench: $(STAMP)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist *.egg-info
