# Needs python3 (3.11 or newer), pip, make and bash. Everything else goes into .venv.
#
#   make demo    the main job on real input: three sessions, jobs side by side, logs read after the fact
#   make test    lint, types, docs and tests
#   make bench   speed, side by side with peers
#   make docs    the documentation as a site, in site/
#   make sdks    what the tests of other people's SDKs run; the tests are skipped without
#   make clean   removes what these made

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: demo test bench docs tools sdks clean

PYTHON ?= python3
VENV := .venv
export NO_MKDOCS_2_WARNING := 1
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable

demo: $(VENV)/.installed
	@$(BIN)/python -m sessions.demo

# pytest runs last, so that its closing line is the last one; its tests build the docs, too. Several files at a time, since
# most of the time goes into starting processes; the tests of a file stay together, as they share servers and what SDKs have printed.
test: tools $(VENV)/.installed-test sdks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

bench: $(VENV)/.installed-bench sdks
	@$(BIN)/python -m benchmarks

docs: $(VENV)/.installed-test
	$(BIN)/python -m mkdocs build --quiet --strict
	@echo "open site/index.html"

clean:
	rm -rf $(VENV) .sdks site dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# A Debian python3 without python3-venv makes no pip of its own: the system's pip then puts one into the environment.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("sessions needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV) >/dev/null || \
	  { $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	    $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check pip; }

# A stamp is newer than pyproject.toml while what is installed is what it asks for.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "installing sessions into $(VENV)"
	@$(INSTALL) .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	@echo "installing sessions and what its tests and docs need into $(VENV)"
	@$(INSTALL) '.[test,docs]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: pyproject.toml | $(BIN)/python
	@echo "installing sessions and the peers that it is compared with into $(VENV)"
	@$(INSTALL) '.[bench]'
	@touch $@ $(VENV)/.installed

# Other people's SDKs, each in an environment of its own, which tests and benchmarks run as they are.
sdks: | $(BIN)/python
	@$(BIN)/python tests/sdks/install_sdks.py

# Tests of the zsh adapter need zsh, those of Tab fish, too; others need util-linux (setsid, prlimit) and mount.
tools:
	@missing=; \
	for pair in zsh:zsh fish:fish setsid:util-linux prlimit:util-linux mount:mount; do \
	  command -v "$${pair%%:*}" >/dev/null || missing+=" $${pair##*:}"; \
	done; \
	if [[ -n $$missing && $$(id -u) == 0 ]] && command -v apt-get >/dev/null; then \
	  echo "installing$$missing"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing; } >/dev/null || true; \
	fi; \
	for tool in zsh fish setsid prlimit mount; do \
	  command -v $$tool >/dev/null || echo "!!! $$tool IS NOT INSTALLED: the tests that need it are SKIPPED" >&2; \
	done
