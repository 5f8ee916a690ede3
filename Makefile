# Every target works alone on a bare machine with Python 3.11 or newer: it makes .venv and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# What torch brings or leaves out by itself, as its build for this machine wants it.
TORCH_PACKAGES := torch triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cccl \
  nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand \
  nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 \
  nvidia-nvtx
# A stamp per set of packages: reinstalled when its list changes.
SERVE_STAMP := $(VENV)/.serve-installed
DEV_STAMP := $(VENV)/.dev-installed

.PHONY: setup serve test check static format docs site bench stress soak lock clean

setup: $(DEV_STAMP)

serve: $(SERVE_STAMP)
	$(BIN)/turbov2 serve

test: $(DEV_STAMP)
	$(BIN)/python -m pytest

check: static test

# Everything of `make check` but the tests.
static: $(DEV_STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m docs.generate --check
	$(BIN)/python -m docs.site

format: $(DEV_STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(DEV_STAMP)
	$(BIN)/python -m docs.generate
	$(BIN)/python -m deploy.monitoring.dashboard
	$(BIN)/python -m deploy.sbom

# The documentation as a site, in build/site; a link that leads nowhere fails.
site: $(DEV_STAMP)
	$(BIN)/python -m docs.site

bench: $(DEV_STAMP)
	$(PIP) install --quiet --requirement bench/requirements.txt
	$(BIN)/python -m bench

# A million random events against residency and queue, on a clock that jumps; minutes.
stress: $(DEV_STAMP)
	$(BIN)/python -m tests.stress

# A real server under mixed traffic: memory and descriptors have to stay flat. MINUTES=15 by default.
MINUTES ?= 15
soak: $(DEV_STAMP)
	$(BIN)/python -m bench soak --minutes $(MINUTES)

# Resolves every range in pyproject.toml to exact versions with hashes.
lock: $(BIN)/python
	$(PIP) install --quiet "uv>=0.8,<1"
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  pyproject.toml --extra starter --output-file requirements/serve.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --constraint requirements/serve.txt --constraint requirements/dev.in \
	  pyproject.toml --extra starter --extra nf4 --extra vision --output-file requirements/cuda.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  requirements/build.in --output-file requirements/build.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  $(addprefix --no-emit-package ,$(TORCH_PACKAGES)) \
	  pyproject.toml --extra onnx --extra nf4 --extra documents --extra ocr --extra gguf --extra audio requirements/dev.in --output-file requirements/dev.txt
	$(MAKE) --no-print-directory $(DEV_STAMP)
	$(BIN)/python -m deploy.sbom --look-up

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "TurboV2 needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# Pulls of packaged weights show their progress from pip 24.1 on.
	$(PIP) install --quiet --upgrade "pip>=24.1,<27"

$(SERVE_STAMP): $(BIN)/python requirements/serve.txt pyproject.toml
	@echo "Installing TurboV2 and everything it serves with into $(VENV) (once, about a minute) ..."
	$(PIP) install --quiet --require-hashes --requirement requirements/serve.txt
	$(PIP) install --quiet --no-deps --editable .
	@touch $@

$(DEV_STAMP): $(BIN)/python requirements/dev.txt pyproject.toml
	@echo "Installing what tests and checks need into $(VENV) (once, some minutes) ..."
	$(PIP) install --quiet --no-deps --require-hashes --requirement requirements/dev.txt
	$(PIP) install --quiet "$$(grep '^torch==' requirements/dev.in)"
	$(PIP) install --quiet --no-deps --editable .
	@touch $@
