# Makefile -- the commands a fresh checkout answers to. Thin: CMake builds, ctest tests.
#
#   make                 what is missing is installed, release is built into build/
#   make run             a cluster of three nodes: real vectors, searches, one node killed; KEEP=1 leaves it running
#   make run-engine      the index alone: real vectors, recall, speed, memory, a file that opens at once
#   make test            everything that belongs to CI; `ctest --preset release` runs a part
#   make interop         clients of msgpack-RPC that others wrote, all of them; `make test` leaves out what is slow to prepare
#   make coverage        which branches of the machines the tests take; fails below 95 %
#   make bench           recall/QPS curves beside the installed peers; QUICK=1 takes 3 minutes
#   make python          the wheel, into build/dist/
#   make lint            formatters and static checks
#   make install PREFIX=/usr/local
#
# DATA=dir names a folder with data sets for `run` and `bench`; JOBS=n limits the compilers.

JOBS   ?= $(shell nproc)
PREFIX ?= /usr/local
PYTHON := build/venv/bin/python
export DATA QUICK

build := cmake --build --parallel $(JOBS) --preset

.PHONY: all run run-engine test interop interop-tools coverage bench python lint format spec install package clean
all: build/build.ninja
	@$(build) release

build/build.ninja:
	@tools/setup.sh build
	@cmake --preset release

# ---- Python: an environment with pinned packages; the wheel, installed into it ----
engine_sources := $(shell find base index storage gpu shard include clients/python cmake CMakeLists.txt -type f \
                    -not -path '*/__pycache__/*' -not -path '*.egg-info/*' -not -path '*/tests/*')
wheel := build/dist/.wheel

python: $(wheel)
	@ls build/dist/*.whl

build/venv/.python: $(wildcard clients/python/requirements*.txt)
	@tools/setup.sh build python
	@tools/setup.sh --venv $@ $^

build/venv/.bench: bench/requirements.txt
	@tools/setup.sh build python bench
	@tools/setup.sh --venv $@ $^

$(wheel): build/venv/.python $(engine_sources)
	@rm -rf build/dist/omendb-*.whl
	@CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) $(PYTHON) -m pip wheel -q --disable-pip-version-check --no-deps \
	    --no-build-isolation -w build/dist ./clients/python
	@$(PYTHON) -m pip install -q --disable-pip-version-check --no-deps --force-reinstall build/dist/omendb-*.whl
	@touch $@

run: build/build.ninja $(wheel) build/venv/.bench
	@$(build) release --target omend omenctl
	@tools/setup.sh run
	@$(PYTHON) -m bench.demo $(if $(KEEP),--keep)

run-engine: $(wheel) build/venv/.bench
	@tools/setup.sh run
	@$(PYTHON) -m bench.run

bench: all $(wheel) build/venv/.bench
	@$(PYTHON) -m bench.ann
	@$(PYTHON) -m bench.durable

# ---- tests ----
interop := build/venv/.interop build/interop/npm/.installed build/interop/go/porcupine

build/venv/.interop: tests/system/interop/requirements.txt
	@tools/setup.sh build python
	@tools/setup.sh --venv $@ $^

build/interop/npm/.installed: tests/system/interop/npm/package-lock.json
	@tools/setup.sh --npm $@ $(<D)

build/interop/go/porcupine: $(wildcard tests/system/porcupine/*)
	@tools/setup.sh --go $@ tests/system/porcupine

interop-tools:
	@tools/setup.sh interop

# Each build has its own folder; build/ci joins them, so that one report counts everything.
test: all $(wheel) $(interop)
	@tools/setup.sh test rust
	@JOBS=$(JOBS) tools/test_all.sh

interop: all interop-tools $(interop)
	@[ -x build/interop/old/bin/python ] || python3 -m venv build/interop/old
	@build/interop/old/bin/python -m pip install -q --disable-pip-version-check -r tests/system/interop/requirements-old.txt
	@cd tests/system/interop/go && go build -o ../../../../build/interop/go/driver
	@OMENDB_REQUIRE_INTEROP=aio,nvim,old,npm,go python3 tests/system/test_interop.py build/bin/omend
	@OMENDB_REQUIRE_INTEROP=porcupine python3 tests/system/test_porcupine.py

# What earlier runs took is forgotten first.
coverage:
	@tools/setup.sh build
	@[ -e build/coverage/build.ninja ] || cmake --preset coverage
	@$(build) coverage
	@find build/coverage -name '*.gcda' -delete
	@ctest --preset coverage --parallel $$((2 * $(JOBS)))
	@python3 tools/coverage

lint: all
	@tools/setup.sh lint
	@tools/lint.sh

format:
	@tools/setup.sh lint
	@tools/lint.sh --fix

spec:
	@tools/setup.sh build python spec
	@tools/setup.sh --venv build/venv/.spec docs/spec/requirements.txt
	@docs/spec/check.sh

install: all
	@cmake --install build --prefix $(PREFIX)

package: all
	@cd build && cpack

clean:
	rm -rf build
