# `make test` and `make demo` are all there is to know: they install what they need and say so.
# Needed beforehand: Debian 12 or like it, Python 3.11 or newer, git, make; root for lab and demo.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.NOTPARALLEL:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LOCK := requirements-dev.lock

# Which benchmarks: all of them, or as in `make bench BENCH="churn idle"`.
BENCH ?=

# What the Debian packages are built with and of, on Debian 12.
DEB_TOOLS := debhelper dh-python lintian pybuild-plugin-pyproject python3-attr python3-click python3-h11 \
	python3-hatchling python3-myst-parser python3-prometheus-client python3-pyroute2 python3-rich \
	python3-sphinx python3-trio python3-zmq
DEB_SOURCE := CHANGELOG.md LICENSE README.md SECURITY.md conf cuberouted debian docs pyproject.toml systemd

# PROGRAM:PACKAGE, what the lab and the unit files' test run. It may be in sbin.
TOOLS := openvpn:openvpn ip:iproute2 ping:iputils-ping nft:nftables openssl:openssl \
	systemd-analyze:systemd kill:procps curl:curl tmux:tmux less:less socat:socat man:man-db
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# install PACKAGES, quietly unless it fails, without starting their services: invoke-rc.d(8)
define APT
	apt_install() {
		if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
			echo "Missing: $$*. Install it, or run this as root on Debian." >&2
			exit 1
		fi
		echo "Installing Debian packages: $$*"
		local log=$$(mktemp) policy=/usr/sbin/policy-rc.d
		if [ ! -e $$policy ]; then
			trap "rm -f $$policy" EXIT
			printf '#!/bin/sh\nexit 101\n' >$$policy
			chmod 755 $$policy
		fi
		export DEBIAN_FRONTEND=noninteractive
		if ! { apt-get update && apt-get install --yes --no-install-recommends "$$@"; } \
			>"$$log" 2>&1 </dev/null; then
			cat "$$log" >&2
			rm -f "$$log"
			exit 1
		fi
		rm -f "$$log"
	}
endef

.PHONY: help
help: ## say what can be made
	@echo "make TARGET, where TARGET is one of:"
	sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: demo
demo: root setup ## three servers, four clients, cuberouted between them: see it work (root)
	@$(BIN)/python -m tests.lab.demo

.PHONY: test
test: root setup software lint types unit docs simulation machines lab ## lint, types, unit, documents, simulation, machines, lab, one after the other (root)
	@echo "All is well."

.PHONY: lint
lint: $(INSTALLED) ## style, with ruff, and which package may import which, with import-linter
	@echo "== lint"
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check . || {
		echo "Run '$(BIN)/ruff format' over the files above." >&2; exit 1; }
	$(BIN)/lint-imports --no-logo | sed -n '/KEPT\|BROKEN/p; /^Broken/,$$p'

.PHONY: types
types: $(INSTALLED) ## types, with mypy
	@echo "== types"
	$(BIN)/mypy

.PHONY: unit
unit: $(INSTALLED) ## unit tests: a few seconds, no root needed
	@echo "== unit tests"
	$(BIN)/python -m pytest -q -n 2 tests/unit

.PHONY: simulation
simulation: $(INSTALLED) ## whole meshes in simulation, some fixed seeds: under a minute, no root
	@echo "== simulation"
	$(BIN)/python -m pytest -q -n 2 tests/simulation

.PHONY: matrix
matrix: $(INSTALLED) ## unit tests and simulation with Debian 12's and 13's versions, and on Python 3.13 (NAME=debian12: one)
	@$(BIN)/python -m tests.matrix $(NAME)

.PHONY: simulate
simulate: $(INSTALLED) ## many seeds of the simulation: SEEDS=10000; one with its story: SEED=123
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000))

.PHONY: mutants
mutants: $(INSTALLED) ## prove that the simulation finds deliberate mistakes
	@$(BIN)/python -m tests.simulation --mutants --seeds $(or $(SEEDS),1000)

.PHONY: lab
lab: root setup software ## end-to-end tests on real OpenVPN in network namespaces (root)
	@echo "== lab tests"
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not alone" tests/lab
	$(BIN)/python -m pytest -q -m alone tests/lab tests/bench

.PHONY: machines
machines: root setup deb ## whole Debian 12 and 13 systems, by systemd-nspawn, with the package (root)
	@$(APT)
	echo "== machines"
	type -P debootstrap >/dev/null || apt_install debootstrap
	type -P systemd-nspawn >/dev/null || apt_install systemd-container
	$(BIN)/python -m tests.machine.root
	$(BIN)/python -m pytest -q tests/machine

.PHONY: container-test
container-test: root setup ## the steps of the Containerfile, and the daemon with one capability: a minute (root)
	@$(APT)
	type -P debootstrap >/dev/null || apt_install debootstrap
	$(BIN)/python -m pytest -q tests/container

.PHONY: versions
versions: root setup ## lab tests with other versions of OpenVPN: OPENVPN="PATH PATH ..." (root)
	@$(BIN)/python -m tests.lab.versions $(OPENVPN)

.PHONY: machine-test
machine-test: root setup deb ## the same under qemu, with Debian's kernels, WireGuard and DCO: long (root)
	@$(APT)
	echo "== machines under qemu"
	type -P debootstrap >/dev/null || apt_install debootstrap
	type -P qemu-system-x86_64 >/dev/null || apt_install qemu-system-x86
	type -P qemu-img >/dev/null || apt_install qemu-utils
	$(BIN)/python -m tests.machine.images
	$(BIN)/python -m pytest -q tests/machine --machines qemu

.PHONY: bench
bench: root setup software ## benchmarks; their tables go into docs/performance.md (root)
	@$(BIN)/python -m tests.bench --write $(BENCH)

.PHONY: setup
setup: tools tun $(INSTALLED) ## install what is missing: Debian packages, .venv, /dev/net/tun

.PHONY: tools
tools:
	@$(APT)
	missing=()
	for tool in $(TOOLS); do
		type -P "$${tool%:*}" >/dev/null || missing+=("$${tool#*:}")
	done
	[ $${#missing[@]} = 0 ] || apt_install "$${missing[@]}"

.PHONY: software
software:
	@$(APT)
	command -v bird >/dev/null || { apt_install bird2; systemctl --quiet disable bird; }
	command -v dnsmasq >/dev/null || apt_install dnsmasq-base
	command -v wg-quick >/dev/null || apt_install wireguard-tools
	[ -x /usr/lib/frr/zebra ] || { apt_install frr; systemctl --quiet disable frr; }
	command -v prometheus >/dev/null || { apt_install prometheus; systemctl --quiet disable prometheus; }
	command -v chromium >/dev/null || apt_install chromium fonts-dejavu-core
	# Playwright's driver, a program of its own, is linked with it
	ldconfig -p | grep -F libatomic.so.1 >/dev/null || apt_install libatomic1
	command -v zsh >/dev/null && command -v fish >/dev/null || apt_install zsh fish
	command -v haproxy >/dev/null || { apt_install haproxy; systemctl --quiet disable haproxy; }

.PHONY: tun
tun:
	@if [ ! -e /dev/net/tun ] && [ "$$(id -u)" = 0 ]; then
		echo "Making /dev/net/tun"
		mkdir -p /dev/net
		mknod -m 666 /dev/net/tun c 10 200
	fi

.PHONY: root
root:
	@if [ "$$(id -u)" != 0 ]; then
		echo "The lab makes network namespaces: run this as root (lint, types, unit need none)." >&2
		exit 1
	fi

$(INSTALLED): pyproject.toml $(LOCK)
	@$(APT)
	command -v $(PYTHON) >/dev/null || apt_install python3 python3-venv
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
		echo "$(PYTHON) is older than 3.11: name another by 'make PYTHON=...'." >&2; exit 1; }
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
	echo "Installing Python packages into $(VENV)"
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install -qq --require-hashes --requirement $(LOCK)
	$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	touch $@

# -E: the help texts and the reference, which Sphinx does not know as sources, may have changed.
SPHINX = $(BIN)/python -m sphinx -q -E -n -W --keep-going

.PHONY: docs
docs: tools $(INSTALLED) ## the documents: HTML in build/docs, man pages, their links and anchors checked
	@echo "== documents"
	$(BIN)/python -m pytest -q tests/docs

.PHONY: man
man: $(INSTALLED) ## the man pages in build/man
	@$(SPHINX) -b man docs build/man

.PHONY: linkcheck
linkcheck: $(INSTALLED) ## links from the documents to other sites (needs the network)
	@$(SPHINX) -b linkcheck docs build/linkcheck

.PHONY: fuzz
fuzz: $(INSTALLED) ## every parser with random bytes, and the API, SECONDS=60 each (Python 3.11 to 3.13)
	@$(BIN)/python -c 'import atheris, schemathesis' 2>/dev/null || $(BIN)/python -m pip install -qq --no-build-isolation --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) $(TARGET)

.PHONY: schemas
schemas: $(INSTALLED) ## docs/openapi.json and docs/schemas/, from the endpoints and their structs
	@$(BIN)/python -m tests.openapi

.PHONY: dist
dist: $(INSTALLED) ## wheel and sdist, in dist/
	@$(BIN)/python -m hatchling build --directory dist

.PHONY: lock
lock: $(INSTALLED) ## pin the newest packages in requirements-dev.lock and tests/matrix (needs the network)
	@$(BIN)/python -m pip install -qq uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
		--extra dev --no-emit-index-url --no-emit-find-links --no-header \
		--output-file $(LOCK) pyproject.toml
	for of in debian12:3.11 debian13:3.13; do
		$(BIN)/uv pip compile --quiet --python-version $${of#*:} --python-platform linux \
			--generate-hashes --upgrade --no-emit-index-url --no-emit-find-links --no-header \
			--output-file tests/matrix/$${of%:*}.txt tests/matrix/$${of%:*}.in
	done
	sed -i '1i # What `make test` installs: every package with its hashes, for Python 3.11 to 3.13.\n# Made from pyproject.toml by `make lock`.' $(LOCK)

.PHONY: deb
deb: debtools $(INSTALLED) ## packages for Debian 12 and 13 in dist/, built on Debian 12 (tools: root)
	@echo "== Debian packages"
	rm -rf build/deb dist/*.deb
	mkdir -p build/deb/wheels dist
	# msgspec, which Debian 12 lacks, at the lock's version and hashes: debian/rules tells of its use
	sed -n '/^msgspec==/,/^ *# via/p' $(LOCK) >build/deb/msgspec.txt
	for machine in x86_64 aarch64; do
		$(BIN)/python -m pip download -qq --require-hashes --no-deps --requirement build/deb/msgspec.txt \
			--only-binary :all: --platform manylinux2014_$$machine --python-version 3.11 \
			--dest build/deb/wheels
	done
	# DEB_TOOLS has all it needs; dpkg would ask for compilers (build-essential) as well
	build_deb() {  # SUITE [PROFILE]
		local source=build/deb/$$1/cuberouted
		mkdir -p $$source
		tar -c --exclude=__pycache__ $(DEB_SOURCE) | tar -x -C $$source
		cp -r build/deb/wheels $$source/debian
		if ! (cd $$source && PATH=/usr/sbin:/usr/bin:/sbin:/bin dpkg-buildpackage --build=binary \
			--no-sign --no-check-builddeps --build-profiles=pkg.cuberouted.wheels$${2:+,$$2}) >build/deb/$$1.log 2>&1; then
			cat build/deb/$$1.log >&2
			return 1
		fi
		mv build/deb/$$1/*.deb dist
	}
	trap wait EXIT  # if one fails, the other one still writes below build
	build_deb deb13 & other=$$!
	build_deb deb12 pkg.cuberouted.deb12
	wait $$other
	lintian --allow-root --fail-on error,warning dist/*.deb
	ls dist/*.deb

.PHONY: reproducible
reproducible: deb ## build the Debian packages again, otherwise, and compare
	@sha256sum dist/*.deb >build/packages.sha256
	umask 077
	TZ=Asia/Tokyo LC_ALL=C.UTF-8 $(MAKE) --no-print-directory deb
	sha256sum --quiet --check build/packages.sha256
	echo "The packages are the same."

.PHONY: debtools
debtools:
	@$(APT)
	# dpkg-query fails when it knows one of them not at all
	missing=$$({ dpkg-query --show --showformat '$${db:Status-Abbrev} $${Package}\n' $(DEB_TOOLS) 2>&1 || true; } |
		sed -n 's/^\(un\|rc\) *//p; s/^dpkg-query: no packages found matching //p')
	[ -z "$$missing" ] || apt_install $$missing

.PHONY: clean
clean: ## remove what was made here: .venv and caches
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
