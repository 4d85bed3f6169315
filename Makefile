# The two commands that matter: `make demo` shows a mesh of five hosts, `make test` proves it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# The venv's programs are found by name everywhere below, and by what they start.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

SMEGMESH_LAB_ENGINE ?= docker
SMEGMESH_LAB_IMAGE ?= smegmesh-host:bookworm
export SMEGMESH_LAB_ENGINE SMEGMESH_LAB_IMAGE

PYTEST := python -m pytest
LAYERS := lint unit simulation fuzz kernel netns molecule

.PHONY: help setup packages venv image engine-stop lock demo demo-down \
	test test-all $(LAYERS:%=test-%) bench clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 18

setup: ## packages, .venv, container engine and host image, where missing
	@scripts/packages
	@$(MAKE) -j 2 --output-sync=target venv image

packages:
	@scripts/packages

venv: ## .venv from the locked requirements
	@scripts/venv

image: ## the container engine, started if none answers, and the image of a lab host
	@scripts/engine start
	@roles/smegmesh_lab/files/image $(SMEGMESH_LAB_ENGINE) $(SMEGMESH_LAB_IMAGE)

engine-stop: ## stop the engine, if it was started from here
	@scripts/engine stop

lock: venv ## bring requirements.txt up to requirements.in, keeping what it pins
	uv pip compile --quiet --generate-hashes --python-version 3.11 --no-emit-index-url \
		--custom-compile-command "make lock" requirements.in --output-file requirements.txt

test-unit: setup ## unit and property tests, of the agent and of the plugins
	$(PYTEST) tests/agent/unit tests/agent/property

clean: ## remove what was built; keep the lab
	rm -rf .venv .build .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
