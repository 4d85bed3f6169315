# The two commands that matter: `make demo` shows a mesh of five hosts, `make test` proves it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# The venv's programs are found by name everywhere below, and by what they start.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

SMEGMESH_LAB_ENGINE ?= docker
SMEGMESH_LAB_IMAGE ?= smegmesh-host:bookworm
SMEGMESH_LAB_BASE_IMAGE ?= debian:bookworm
export SMEGMESH_LAB_ENGINE SMEGMESH_LAB_IMAGE SMEGMESH_LAB_BASE_IMAGE

PYTEST := python -m pytest
PYTHON_VERSION = $(shell python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
LAYERS := lint unit page integration simulation fuzz kernel netns molecule

SCENARIOS := default bridge inventory operate
LONG_SCENARIOS := exits clients upgrade rotate revoke uninstall expectations

.PHONY: help setup packages venv image engine-stop lock docs bundle demo demo-down \
	test test-all $(LAYERS:%=test-%) bench soak clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 18

setup: ## packages, .venv, container engine and host image, where missing
	@scripts/packages
	@$(MAKE) -j 2 venv image

packages:
	@scripts/packages

venv: ## .venv from the locked requirements
	@scripts/venv

image: ## the container engine, started if none answers, and the image of a lab host
	@scripts/engine start
	@roles/smegmesh_lab/files/image $(SMEGMESH_LAB_ENGINE) $(SMEGMESH_LAB_IMAGE) $(SMEGMESH_LAB_BASE_IMAGE)

engine-stop: ## stop the engine, if it was started from here
	@scripts/engine stop

lock: venv ## bring requirements.txt up to requirements.in, keeping what it pins
	uv pip compile --quiet --generate-hashes --python-version 3.11 --no-emit-index-url \
		--custom-compile-command "make lock" requirements.in --output-file requirements.txt

docs: venv ## the pages of plugins and roles, from what the code says of them
	@scripts/docs

# What a controller without a package index takes as smegmesh_wheelhouse. A wheel for an older libc runs on newer ones.
WHEELHOUSE ?= dist/wheelhouse
HOSTS ?= $(foreach python,3.10 3.11 3.12 3.13 3.14,$(foreach machine,x86_64 aarch64,cp$(python)-$(machine)-glibc-2.34))

bundle: venv ## the agent's dependencies for HOSTS into the directory WHEELHOUSE, for a controller without an index
	@scripts/bundle $(WHEELHOUSE) $(HOSTS)

demo: setup ## five hosts, one playbook, a mesh: status and pings
	ansible-playbook -i inventories/lab playbooks/lab.yml
	ansible-playbook -i inventories/lab playbooks/site.yml
	ansible-playbook -i inventories/lab playbooks/status.yml

demo-down: ## remove the demo: hosts, network, image, keys, the engine if it was started from here
	@if [[ -x .venv/bin/ansible-playbook && -e .lab/ssh_config ]]; then \
		ansible-playbook -i inventories/lab playbooks/lab.yml -e smegmesh_lab_state=absent; \
	fi
	@rm -rf .lab/authorities
	@scripts/engine stop
	@! $(SMEGMESH_LAB_ENGINE) info >/dev/null 2>&1 || $(SMEGMESH_LAB_ENGINE) image rm $(SMEGMESH_LAB_IMAGE) || true
	@[[ ! -d .lab ]] || rmdir --ignore-fail-on-non-empty .lab

test: ## everything below but what takes long; seconds per layer at the end
	@scripts/layers setup $(LAYERS)

test-all: ## the long tests too
	@SMEGMESH_TEST_LONG=1 scripts/layers setup $(LAYERS)

# Without SMEGMESH_TEST_LONG, the long ones stay out.
SELECTED = $(if $(SMEGMESH_TEST_LONG),,-m "not long")

test-lint: setup ## ruff, mypy, shellcheck, yamllint, ansible-lint, pages, galaxy-importer, ansible-test sanity
	@scripts/lint

test-unit: setup ## unit and property tests, of the agent and of the plugins
	@scripts/promtool
	$(PYTEST) $(SELECTED) tests/agent/unit tests/agent/property
	@scripts/collection copy
	cd .build/ansible_collections/smegmesh/wireguard && ansible-test units --local --python $(PYTHON_VERSION)

test-page: setup ## the agent's page in headless Chromium
	@scripts/packages chromium-headless-shell:chromium-headless-shell
	$(PYTEST) $(SELECTED) tests/agent/page

test-integration: setup ## the modules by ansible-test, on agents that run with WireGuard in memory
	@scripts/integration

test-simulation: setup ## many engines under a virtual clock and network
	SIM_SECONDS=$${SIM_SECONDS:-180} $(PYTEST) $(SELECTED) tests/agent/simulation

test-fuzz: setup ## what comes from a network, malformed
	$(PYTEST) $(SELECTED) tests/agent/fuzz

test-kernel: setup ## the kernel plane, in an emulated guest
	.venv/bin/python tests/agent/kernel/guest --timeout 600 $(CURDIR)/.venv/bin/python -m pytest $(SELECTED) tests/agent/kernel

test-netns: setup ## agents in network namespaces of this machine
	$(PYTEST) $(SELECTED) tests/agent/netns

test-molecule: setup ## the installed collection on hosts with systemd
	@set -e; for scenario in $(SCENARIOS) $(if $(SMEGMESH_TEST_LONG),$(LONG_SCENARIOS)); do scripts/molecule $$scenario; done

bench: setup ## measure, hold the bounds, write docs/benchmarks.md
	@scripts/bench-packages
	python tests/agent/benchmark/run.py

soak: venv ## simulated meshes of 3000 and 10 000 nodes, for hours; goes on where it was ended
	python tests/agent/benchmark/soak.py

clean: ## remove what was built; keep the lab
	rm -rf .venv .build .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks .ansible
