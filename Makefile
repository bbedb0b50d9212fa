# make demo   train the small workload on this machine, into a fresh run folder
# make test   run the tests
# make campaign  do to the program what should not happen to it, for an hour or
#                two: kills, damage, full disks; docs/trust.md has its table
# make set-up only set up, see below
# make lint   check style, formatting and types
# make format rewrite the files to the style
#
# Each sets up .venv first, from the pinned requirements, if it is missing or
# outdated. Another Python: make demo PYTHON=python3.12

PYTHON ?= python3
UV ?= uv
DEMO_FLAGS ?=
TEST_FLAGS ?=
CAMPAIGN_FLAGS ?=

# Tests share what they compile.
PARALLEL := --numprocesses=auto --maxprocesses=4 --dist=worksteal

VENV := .venv
RUN := $(VENV)/bin/python
VERSION := $(shell $(PYTHON) -c \
  'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)

# What is installed is at least as new as these. A change of the Python version
# changes their names, so that it sets up anew.
RUNTIME := $(VENV)/.runtime-$(VERSION)
DEV := $(VENV)/.dev-$(VERSION)

START := $(shell date +%s)

.PHONY: demo test campaign set-up lint types format requirements clean
.NOTPARALLEL:

demo: $(RUNTIME)
	@$(RUN) main.py --config=configs/mlp_digits.py \
	  --workdir=runs/demo-$$(date +%Y%m%d-%H%M%S) $(DEMO_FLAGS)

test: $(DEV)
	@begin=$$(date +%s); \
	  $(RUN) -m pytest $(PARALLEL) $(TEST_FLAGS); code=$$?; \
	  echo "set-up $$((begin - $(START))) s," \
	    "tests $$(($$(date +%s) - begin)) s"; \
	  exit $$code

campaign: $(DEV)
	@$(RUN) -m tests.campaign $(CAMPAIGN_FLAGS)

set-up: $(DEV)

lint: $(DEV)
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check
	@$(RUN) -m mypy

types: $(DEV)
	@$(RUN) -m mypy

format: $(DEV)
	@$(RUN) -m ruff check --fix --exit-zero --quiet
	@$(RUN) -m ruff format

# Leaves runs/ alone.
clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call setup,FILE) installs the pins of FILE into .venv, which is made anew
# if it does not run, has no pip or has another Python version.
define setup
@case '$(VERSION)' in \
  3.11|3.12|3.13) ;; \
  '') echo 'error: $(PYTHON) does not run; install Python 3.11 to 3.13, or' \
    'name it: make PYTHON=python3.12' >&2; exit 1;; \
  *) echo 'error: $(PYTHON) is Python $(VERSION), but 3.11 to 3.13 is needed;' \
    'name another: make PYTHON=python3.12' >&2; exit 1;; \
esac
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
  echo 'error: $(PYTHON) has no venv module; on Debian and Ubuntu it is in' \
    'the package python$(VERSION)-venv' >&2; exit 1; }
@echo 'Setting up $(VENV) (a minute or two)'
@$(RUN) -c 'import pip, sys; \
  sys.exit("%d.%d" % sys.version_info[:2] != "$(VERSION)")' 2>/dev/null \
  || $(PYTHON) -m venv --clear $(VENV)
@$(RUN) -m pip install -qq --disable-pip-version-check -r $(1)
endef

$(RUNTIME): requirements.txt
	$(call setup,requirements.txt)
	@touch $@

$(DEV): requirements.txt requirements-dev.txt
	$(call setup,requirements-dev.txt)
	@touch $(RUNTIME) $@

# Keeps the pins that still fit pyproject.toml; all anew with
# make requirements COMPILE_FLAGS=--upgrade
COMPILE = $(UV) pip compile --group app --universal --python-version 3.11 \
  --fork-strategy fewest --no-emit-index-url --no-annotate --no-header --quiet \
  $(COMPILE_FLAGS)
HEADER = '\# Every pin for Python 3.11 to 3.13; written by: make requirements'

# $(call add,GROUP,FIRST LINE) writes what GROUP needs beyond requirements.txt.
define add
@$(COMPILE) --group $(1) --constraints requirements.txt \
  --output-file requirements-$(1).txt
@{ printf '%s\n' $(HEADER) $(2); \
  grep -vxFf requirements.txt requirements-$(1).txt; } > requirements-$(1).new
@mv requirements-$(1).new requirements-$(1).txt
endef

requirements:
	@$(COMPILE) --output-file requirements.txt
	@{ printf '%s\n' $(HEADER); cat requirements.txt; } > requirements.new
	@mv requirements.new requirements.txt
	$(call add,dev,'-r requirements.txt')
	$(call add,cluster,'# Goes on top of requirements.txt: Dask, for studies over workers')
	$(call add,cuda,'# Goes on top of requirements.txt: the CUDA 12 build of JAX')
