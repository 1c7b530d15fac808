# Drover: the few commands a person types. Needs git, make and a Rust toolchain (1.90 or later); `make deps` sees to the rest.

CARGO ?= cargo
# Lab builds hold the counters and switches that release binaries lack (docs/architecture.md, I10). Where the system has
# DPDK, ports on it are built too; asked when a recipe runs, since `deps` may have installed it.
HAS_DPDK = pkg-config --atleast-version=22.11 libdpdk 2>/dev/null
LAB = --features "$$($(HAS_DPDK) && echo lab,dpdk || echo lab)"
DEMO_FLAGS ?=
PERF_FLAGS ?= --cell 512 --links 1000 --circuits 20000 --seconds 5
SOAK_FLAGS ?= --minutes 10
FUZZ_SECONDS ?= 60
# Where tests that cannot run here say so (nic/src/skip.rs).
export DROVER_SKIPPED := $(CURDIR)/target/skipped
# Where each port's conformance suite says how it ended.
export DROVER_PORTS := $(CURDIR)/target/ports

# BoringSSL is built from source: cmake, a C++ compiler, and for its bindings libclang with its own C headers. What of it
# the system lacks, as Debian's packages.
LIBCLANG := $(wildcard $(foreach d,/usr/lib/llvm*/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/lib64/llvm*/lib /usr/lib \
  /usr/local/lib,$d/libclang.so* $d/libclang-[0-9]*.so*))
CLANG_HEADERS := $(wildcard $(addsuffix /clang/*/include/stddef.h,/usr/lib/llvm*/lib /usr/lib /usr/lib64 /usr/local/lib))
LACKING := $(if $(shell command -v cmake 2>/dev/null),,cmake) $(if $(shell command -v $${CXX:-c++} 2>/dev/null),,g++) \
  $(if $(or $(LIBCLANG_PATH),$(and $(LIBCLANG),$(CLANG_HEADERS))),,libclang-dev)
# What can be done without, but for what needs it: some tests, and ports on DPDK.
WANTED := $(if $(shell command -v valgrind 2>/dev/null),,valgrind) \
  $(if $(shell $(HAS_DPDK) && echo yes),,libdpdk-dev pkg-config)

.PHONY: help deps demo test lint bench counts soak fuzz release clean

help:
	@echo 'make demo     a call between two zones over links full of chaff (about 45 s after the build); as root over AF_XDP'
	@echo 'make test     all tests, and lint'
	@echo 'make lint     rustfmt and clippy, warnings denied'
	@echo 'make bench    what one node'"'"'s work on a cell costs, against its bare crypto'
	@echo 'make counts   records anew how many instructions each stage of a worker takes; make test compares'
	@echo 'make soak     ten minutes of calls; memory must stay flat'
	@echo 'make fuzz     cargo-fuzz, $(FUZZ_SECONDS) s a target (needs a nightly toolchain and cargo-fuzz)'
	@echo 'make deps     what the build needs of the system; installs it where it may'
	@echo 'make release  release binaries, without the lab feature, in target/release'

deps:
	@:
ifneq ($(strip $(LACKING) $(WANTED)),)
	@install='apt-get install -y --no-install-recommends $(strip $(LACKING) $(WANTED))'; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "not installed yet: $(strip $(LACKING) $(WANTED))"; \
	  export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && $$install; \
	elif [ -z "$(strip $(LACKING))" ]; then \
	  echo "Not here, and what needs it is left out: $(strip $(WANTED)) (sudo $$install)."; \
	else \
	  echo "The build needs, by Debian's names: $(strip $(LACKING))"; \
	  echo "Install it with: sudo $$install"; \
	  echo 'or, where libclang is in an unusual place, set LIBCLANG_PATH to its folder.'; exit 1; \
	fi
endif

demo: deps
	$(CARGO) build --workspace --bins $(LAB)
	target/debug/drover demo $(DEMO_FLAGS)

# First what release binaries are made of, without the lab's code; then everything with it, programs too. This order leaves lab
# builds of the programs in target/debug: the tests start them, and so may you. Tests wait more than they work: what is left of
# the processor meanwhile goes to lint and to counting instructions, which no load changes. They begin with what is built in
# another folder than the tests, so that neither waits for the other.
TESTS = --workspace --lib --bins --tests $(LAB)
IDLY := $(if $(shell command -v chrt 2>/dev/null),chrt --idle 0,nice -n 19)

test: deps
	@mkdir -p target && rm -f $(DROVER_SKIPPED) $(DROVER_PORTS)
	$(CARGO) test --workspace --test worker --test no_alloc
	$(CARGO) test $(TESTS) --no-run
	@$(IDLY) $(MAKE) --no-print-directory beside >target/beside.log 2>&1 & beside=$$!; \
	trap "kill $$beside; exit 130" INT TERM; \
	$(CARGO) test $(TESTS); tests=$$?; \
	wait $$beside; beside=$$?; cat target/beside.log; exit $$((tests | beside))
	@touch $(DROVER_PORTS); cat $(DROVER_PORTS)
	@touch $(DROVER_SKIPPED); echo "$$(wc -l < $(DROVER_SKIPPED)) SKIPPED"; cat $(DROVER_SKIPPED)

.PHONY: beside
beside:
	$(CARGO) run --release -p drover-counts -- check
	$(CARGO) test -p drover-nic --features loom --test loom
	$(MAKE) --no-print-directory lint

lint: deps
	@if $(CARGO) fmt --version >/dev/null 2>&1; then $(CARGO) fmt --all --check; \
	  else echo 'SKIPPED: rustfmt is not installed (rustup component add rustfmt)' | tee -a $(DROVER_SKIPPED); fi
	@if $(CARGO) clippy --version >/dev/null 2>&1; then \
	  $(CARGO) clippy --workspace --all-targets $(LAB) -- -D warnings && \
	  $(CARGO) clippy --workspace --all-targets -- -D warnings; \
	  else echo 'SKIPPED: clippy is not installed (rustup component add clippy)' | tee -a $(DROVER_SKIPPED); fi

bench: deps
	$(CARGO) build --release -p drover-perf $$($(HAS_DPDK) && echo --features dpdk)
	target/release/drover-perf hop $(PERF_FLAGS)

# The compiler makes other code of other source: what make test compares with is recorded after a change that is meant.
counts: deps
	$(CARGO) run --release -p drover-counts -- record

soak: deps
	$(CARGO) build --workspace --bins $(LAB)
	target/debug/drover lab soak $(SOAK_FLAGS)

fuzz:
	@if $(CARGO) +nightly fuzz --version >/dev/null 2>&1; then \
	  for target in parsers stages backends; do \
	    $(CARGO) +nightly fuzz run --fuzz-dir dataplane/fuzz $$target -- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	  done; \
	else echo 'SKIPPED: make fuzz needs a nightly toolchain and cargo-fuzz (cargo install cargo-fuzz);' \
	  'the same functions run bounded in make test'; fi

release: deps
	$(CARGO) build --workspace --bins --release

clean:
	$(CARGO) clean
