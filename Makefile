# SPDX-License-Identifier: Apache-2.0
# The short names of everything a developer does here. The build itself is meson's; this file only
# sets up what is missing and calls it. A target whose subject is not in the tree is not offered.
# make SETUP= ... leaves the machine's packages alone.

SETUP ?= tools/setup
JOBS ?= $(shell nproc)
SECONDS ?= 60
CHECK := tools/check --jobs $(JOBS)

.DEFAULT_GOAL := build
.PHONY: help setup build check check-quick check-long lint format asan tsan coverage clean

help:
	@echo "make              build everything into build/"
	@echo "make check        everything that must pass before a change goes in"
	@echo "make check-quick  lint and unit tests only"
	@echo "make check-long   make check, and the long suites as well"
	@echo "make lint         format, tree rules, static analysis"
	@echo "make format       format the C sources in place"
	@echo "make asan         unit tests under AddressSanitizer and UBSan (build-asan/)"
	@echo "make tsan         the same under ThreadSanitizer (build-tsan/)"
	@echo "make coverage     line and branch coverage of the unit tests (build-coverage/)"
	@echo "make setup        install the Debian packages that are missing"
	@echo "make clean        remove every build directory"
	@$(foreach t,$(OFFERED),printf '%-17s %s\n' 'make $(t)' '$(HELP_$(t))';)

setup:
	@$(SETUP)

build/build.ninja: | setup
	meson setup build

build: setup build/build.ninja
	ninja -C build -j $(JOBS)

check: setup
	@$(CHECK)

check-quick: setup
	@$(CHECK) --stages lint,unit

check-long: setup
	@$(CHECK) --long

lint: setup
	@$(CHECK) --stages lint

asan: setup
	@$(CHECK) --stages sanitize

tsan: setup
	@$(CHECK) --stages threads

format: setup
	@git ls-files '*.c' '*.h' | xargs -r clang-format-14 -i

coverage: setup
	@tools/coverage

clean:
	rm -rf build build-asan build-tsan build-fuzz build-coverage

# Offered only when the tree holds their subject.
OFFERED :=

ifneq ($(wildcard src/*/fuzz-*.c),)
OFFERED += fuzz
HELP_fuzz := every fuzz target for SECONDS=60 each (build-fuzz/)
.PHONY: fuzz
fuzz: setup
	@tools/fuzz --seconds $(SECONDS)
endif

ifneq ($(wildcard tests/bench/run),)
OFFERED += bench
HELP_bench := the ratios of docs/benchmarks.md, measured here
.PHONY: bench
bench: build
	@tests/bench/run
endif

ifneq ($(wildcard tests/sim/run),)
OFFERED += sim
HELP_sim := the seeded simulation; a failure prints its seed
.PHONY: sim
sim: build
	@tests/sim/run
endif

# The demo needs every program: each is a folder that src/meson.build names.
BUILT = $(shell sed -n "s/^subdir('\(.*\)')/\1/p" src/meson.build)
ifeq ($(filter-out $(BUILT),agent target cli nbdkit),)
OFFERED += demo
HELP_demo := a site dies; its machine is opened at the second site
.PHONY: demo
demo: build
	@build/src/cli/holdfast demo
endif
