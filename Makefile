# make demo   judge the samples with the embedded model       make test   the tests
# Everything is installed into .venv (for vLLM .venv-vllm, for Inspect .venv-interop); nothing outside this folder is touched.

PYTHON ?= python3
PIP_FLAGS = --quiet --disable-pip-version-check
CONSTRAINTS = requirements/constraints.txt
POLICIES = hate harassment violence self-harm sexual spam dangerous privacy misinformation

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-vllm test-interop lint types wheel bench clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/base: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv .venv
	.venv/bin/pip install $(PIP_FLAGS) -c $(CONSTRAINTS) -e .
	@touch $@

.venv/dev: .venv/base
	.venv/bin/pip install $(PIP_FLAGS) -c $(CONSTRAINTS) torch
	.venv/bin/pip install $(PIP_FLAGS) -c $(CONSTRAINTS) -e '.[local,finetune,grpo,report,dev]'
	@touch $@

# vLLM pins what it needs; it has an environment of its own. The three packages removed are CUDA builds that break its import.
.venv-vllm/ready: pyproject.toml requirements/vllm.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install $(PIP_FLAGS) -c $(CONSTRAINTS) torch
	.venv-vllm/bin/pip install $(PIP_FLAGS) -r requirements/vllm.txt
	.venv-vllm/bin/pip uninstall $(PIP_FLAGS) --yes torchvision torchaudio torchcodec
	.venv-vllm/bin/pip install $(PIP_FLAGS) -c $(CONSTRAINTS) -r requirements/bench.txt
	.venv-vllm/bin/pip install $(PIP_FLAGS) --no-deps -e .
	@touch $@

# Inspect brings some eighty packages; they stay out of the others' way.
.venv-interop/ready: pyproject.toml requirements/interop.txt
	$(PYTHON) -m venv .venv-interop
	.venv-interop/bin/pip install $(PIP_FLAGS) -c $(CONSTRAINTS) -r requirements/interop.txt -e .
	@touch $@

demo: .venv/base ## judge samples/posts.jsonl with the embedded model
	@mkdir -p build
	.venv/bin/moderator judge samples/posts.jsonl $(POLICIES:%=--policy %) --map policies=topic \
	  --show table --out build/demo.outcomes.jsonl --force

test: .venv/dev ## the tests, without those that need vLLM or more than a few seconds each
	.venv/bin/python -m pytest -q -m 'not slow and not vllm and not interop'

test-slow: .venv/dev ## the tests that take longer
	.venv/bin/python -m pytest -q -m 'slow and not vllm and not interop'

test-vllm: .venv-vllm/ready ## the engines against real vLLM, in process and served
	HF_HUB_OFFLINE=1 .venv-vllm/bin/python -m pytest -q -m vllm tests/engines

test-interop: .venv-interop/ready ## exports, imports and evals against real Inspect
	.venv-interop/bin/python -m pytest -q -m interop -W ignore::pytest.PytestUnraisableExceptionWarning tests/interop

lint: .venv/dev ## ruff, and the linter over the shipped policies
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/moderator policy lint --strict --today 2026-11-23

types: .venv/dev ## mypy, strict
	.venv/bin/mypy moderator benchmarks tests

wheel: .venv/dev ## build the wheel and look into it
	rm -rf dist && .venv/bin/python -m build --wheel --outdir dist > /dev/null
	.venv/bin/python -m pytest -q -m slow tests/test_packaging.py

bench: .venv-vllm/ready ## measure speed against other ways of asking, in one run; writes benchmarks/latest.json
	HF_HUB_OFFLINE=1 .venv-vllm/bin/python -m benchmarks.run --out benchmarks/latest.json

clean: ## remove what the targets above made
	rm -rf .venv .venv-vllm .venv-interop build dist
