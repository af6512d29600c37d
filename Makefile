# Two commands set everything up on a fresh machine (see README): `make system` (as root) and `make install`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help system install quickstart test test-slow test-heavy test-all lint smoke reference site house clean

help:            ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

system:          ## Debian packages for stills, browser tests, PostgreSQL, Slurm and nginx tests and the stand-in for CUDA (as root)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium cmake faketime munge nginx-light pgbouncer postgresql slurm-client slurmctld slurmd fonts-dejavu-core g++ git make python3-dev python3-venv

$(BIN)/nas: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $(BIN)/nas

install: $(BIN)/nas  ## the virtual environment with everything

quickstart: $(BIN)/nas  ## the main job: a small study on generated data, on the CPU
	$(BIN)/nas run studies/quickstart.yaml

# A process a core, one more while browsers and databases are waited for, four at most (memory), one thread a process; the
# tests of a file stay together and share what they set up. What is compiled is kept, whatever the environment says:
# hundreds of processes read the same modules.
TESTS = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(shell n=$$(nproc); echo $$((n < 4 ? n + 1 : 4))) --dist loadfile

test: $(BIN)/nas  ## the tests, browser and PostgreSQL included, without the slow ones
	$(TESTS) -m 'not slow'

test-slow: $(BIN)/nas  ## the slow tests: killed workers, outages, full disks, whole studies
	$(TESTS) -m 'slow and not heavy'

test-heavy: $(BIN)/nas  ## whole clusters, studies on the stand-in for CUDA, long walks: minutes each, not in .ci/run
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m heavy

test-all: $(BIN)/nas  ## all tests
	$(TESTS)

lint: $(BIN)/nas  ## ruff, mypy and the floors of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -n 2
	$(BIN)/mypy -n 2 --config-file tests/mypy.ini tests docs/build_reference.py
	$(BIN)/lint-imports

STUDIES ?= $(basename $(notdir $(wildcard studies/*.yaml)))
smoke: $(BIN)/nas  ## the shipped studies from file to report, in their shortest form (STUDIES="quickstart published": those)
	cd $$(mktemp -d) && for study in $(STUDIES); do $(CURDIR)/$(BIN)/nas run $(CURDIR)/studies/$$study.yaml --profile smoke || exit 1; done

reference: $(BIN)/nas  ## the reference pages in docs/, from the code
	$(BIN)/python docs/build_reference.py

# A copy is built: the notebooks run, and leave their databases beside themselves.
site: $(BIN)/nas  ## the documentation as pages that need no network, in site/; runs the notebooks, warnings are errors
	rm -rf build/site && mkdir -p build/site && cp -r docs mkdocs.yml build/site/
	cd build/site && OMP_NUM_THREADS=1 PLOTLY_RENDERER=notebook NO_MKDOCS_2_WARNING=1 $(CURDIR)/$(BIN)/mkdocs build --strict --quiet --site-dir $(CURDIR)/site

house: $(BIN)/nas  ## how heavy the package is and how deep its stairs are
	$(BIN)/python benchmarks/house.py

clean:           ## removes the virtual environment and caches
	rm -rf $(VENV) build site .pytest_cache .mypy_cache .ruff_cache .hypothesis
