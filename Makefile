# Everything a fresh machine needs: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOLS := $(VENV)/.installed-tools

.DEFAULT_GOAL := help
.PHONY: help install java demo experiment test lint format wheel zip check clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(TOOLS) ## a virtual environment with everything, in .venv

$(STAMP): setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "redpajama_pipe needs Python 3.11 or newer; say make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lid]'
	touch $(STAMP)

$(TOOLS): $(STAMP)
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lid,test,lint]'
	touch $(TOOLS)

java: ## Java 17 through apt-get, where there is none and apt-get is there and allowed
	@command -v java >/dev/null || [ -x "$$JAVA_HOME/bin/java" ] || \
	{ command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq openjdk-17-jre-headless >/dev/null; } || \
	{ echo "Spark needs Java 17 or newer. Debian/Ubuntu: sudo apt-get install openjdk-17-jre-headless;" \
	  "macOS: brew install openjdk@17; conda: conda install -c conda-forge openjdk=17"; exit 2; }

demo: $(STAMP) java ## the whole pipeline in local mode on a sample that needs no network
	$(BIN)/redpajama-pipe make-sample demo/sample
	$(BIN)/redpajama-pipe run sample --output demo/run --set vars.data=demo/sample

# What pip is asked for, such as TORCH=torch==2.13.0. Empty: where there is no GPU, the build without CUDA, which PyPI
# has not got for Linux; where PyTorch's index cannot be reached, or there is a GPU, PyPI's. An extra index that pip is
# configured with is not asked: with a newer version it would win over the build without CUDA.
TORCH ?=
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

# torch is large, and no other target needs it: installed when the experiment is first asked for
$(VENV)/.installed-train: $(STAMP)
	@if [ -z "$(TORCH)" ] && ! command -v nvidia-smi >/dev/null; then \
	  PIP_EXTRA_INDEX_URL=$(TORCH_INDEX) $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    --retries 1 --timeout 15 --no-deps torch --index-url $(TORCH_INDEX) 2>/dev/null || \
	  echo "no torch from $(TORCH_INDEX): taking PyPI's, which on Linux brings gigabytes of CUDA"; fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(or $(TORCH),torch) || \
	{ echo "pip found no $(or $(TORCH),torch), and says why above; name another one, or where it is:" \
	  "make experiment TORCH='torch==2.13.0 --index-url URL'"; exit 2; }
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lid,train]'
	touch $@

experiment: $(VENV)/.installed-train java ## models trained with and without duplicates, compared; minutes on a CPU
	$(BIN)/redpajama-pipe experiment pythia_mini --output demo/experiment

test: $(TOOLS) java ## the tests
	$(BIN)/python -m pytest

lint: $(TOOLS) ## ruff and mypy --strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(TOOLS) ## rewrite the code as ruff likes it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(TOOLS) ## dist/*.whl and the source archive
	$(BIN)/python -m build --outdir dist .

zip: wheel ## dist/redpajama_pipe.zip for spark-submit --py-files (a wheel does not reach the workers, a zip does)
	cp dist/redpajama_pipe-*.whl dist/redpajama_pipe.zip

check: lint test ## what CI runs

clean: ## remove everything that was made
	rm -rf $(VENV) build dist demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
