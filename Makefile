# SPDX-License-Identifier: BSD-3-Clause
# The front door. CMake and Ninja do the work: see CMakePresets.json and CONTRIBUTING.md.

PREFIX       ?= /usr/local
FILE         ?=
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 180
STRESS_SECONDS ?= 240
export JOBS  ?= 2
export WERROR ?= ON

ctest = ctest --progress --output-on-failure --no-tests=error --no-label-summary -j$(JOBS)

.PHONY: all demo test check full bench bench-rdma format install clean help
.PHONY: setup-build setup-demo setup-bench setup-bench-rdma setup-test setup-full release debug asan tsan clang fuzz

all: release

# Build one preset of CMakePresets.json, each in its own directory under build/.
release debug asan tsan clang fuzz:
	@tools/build $@

# These two do all their set-up, packages included: they are what a fresh machine can run.
demo: setup-demo
	@tools/venv || echo 'going on without Python'
	@tools/build release
	@tools/demo "$(FILE)"

# The three builds as one list of tests, so that one line at the end speaks for all of them.
test: setup-test
	@tools/venv
	@tools/build release
	@tools/build asan
	@tools/build tsan
	@mkdir -p build/all
	@printf 'subdirs("$(CURDIR)/build%s")\n' '' /asan /tsan >build/all/CTestTestfile.cmake
	@$(ctest) --test-dir build/all

check: debug
	@$(ctest) --test-dir build/debug -L '^(check|unit|contract|fuzz|cpp)$$'

full: setup-full test
	@tools/build debug
	@tools/memcheck
	@tools/soak $(SOAK_SECONDS)
	@for test in "test_stress $$(date +%N) $(STRESS_SECONDS)" cable; do \
		SOFTROCE_LIMIT=$$(($(STRESS_SECONDS) + 300)) tests/softroce/boot "$(CURDIR)/build" "$$test" && \
		tests/softroce/verdict "$(CURDIR)/build" $${test%% *} || [ $$? = 77 ] || exit 1; \
	done
	@tools/schemathesis
	@tools/build clang
	@tools/tidy
	@tools/build fuzz
	@tools/fuzz $(FUZZ_SECONDS)

bench: setup-bench release
	@bench/run

bench-rdma: setup-bench-rdma release
	@bench/rdma/run

format:
	@tools/format

# As for CMake and autotools: DESTDIR is put in front for packagers.
install: release
	@cmake --install build --prefix "$(PREFIX)"

clean:
	rm -rf build

setup-build setup-demo setup-bench setup-bench-rdma setup-test setup-full:
	@tools/setup $(@:setup-%=%)

help:
	@echo 'make              build the library and the programs: build/lib, build/bin'
	@echo 'make demo         find a process by name and fetch a file from it, two ways [FILE=path]'
	@echo 'make test         what CI runs: all tests, also under ASan, UBSan and TSan'
	@echo 'make check        before each commit, about a minute: format, layers, unit and contract tests'
	@echo 'make full         test, then valgrind, a mesh of agents under misfortunes [SOAK_SECONDS=180],'
	@echo '                  transfers over soft-RoCE [STRESS_SECONDS=240], its cables pulled,'
	@echo '                  schemathesis, clang-tidy and fuzzing [FUZZ_SECONDS=60 for each target]'
	@echo 'make bench        our figures beside the peers'"'"'; docs/performance.md explains'
	@echo 'make bench-rdma   our RDMA beside perftest, on emulated devices'
	@echo 'make format       let clang-format have its way'
	@echo 'make install      [PREFIX=/usr/local] [DESTDIR=]'
	@echo 'make clean        remove build/'
	@echo 'make PRESET       build one of debug asan tsan clang fuzz, in build/PRESET'
	@echo 'demo, test, bench, bench-rdma and full first install missing packages (tools/setup).'
	@echo 'JOBS=2: tests at a time. WERROR=OFF: warnings do not stop the build.'
