# SPDX-License-Identifier: BSD-3-Clause
# Every test, as a ctest test named GROUP.DIR.FILE and labelled GROUP. A file becomes a test by
# lying in the right folder; nothing is listed here by hand. See CONTRIBUTING.md, "Adding things".

set(test_bin_dir "${PROJECT_BINARY_DIR}/tests")

find_path(CMOCKA_INCLUDE_DIR cmocka.h)
find_library(CMOCKA_LIBRARY cmocka)
if(NOT CMOCKA_LIBRARY OR NOT CMOCKA_INCLUDE_DIR)
	message(FATAL_ERROR
		"cmocka is missing: install libcmocka-dev (tools/setup test does), or turn BUILD_TEST off")
endif()
find_program(SETARCH setarch)

# The python3 in front of PATH may be one without the distribution's packages.
if(NOT PYTHON_WITH_PYTEST)
	foreach(python python3 /usr/bin/python3)
		execute_process(COMMAND ${python} -c "import pytest"
			RESULT_VARIABLE no_pytest OUTPUT_QUIET ERROR_QUIET)
		if(NOT no_pytest)
			set(PYTHON_WITH_PYTEST ${python} CACHE STRING "a python3 that can import pytest")
		endif()
	endforeach()
endif()

function(slime_test_group group out)
	if("${group}" IN_LIST DLSLIME_TESTS)
		set(${out} TRUE PARENT_SCOPE)
	else()
		set(${out} FALSE PARENT_SCOPE)
	endif()
endfunction()

# Sanitizers: say all, stop at the first, and, for clang 14 on kernels with much randomness in
# their addresses, run with none of it (tsan and asan otherwise fail at start now and then).
set(test_launcher)
set(test_environment
	"DLSLIME_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}"
	"DLSLIME_LIB=${CMAKE_LIBRARY_OUTPUT_DIRECTORY}"
	"DLSLIME_BUILD=${PROJECT_BINARY_DIR}"
	"DLSLIME_SOURCE=${PROJECT_SOURCE_DIR}"
	"DLSLIME_SANITIZE=${DLSLIME_SANITIZE}")
if(DLSLIME_SANITIZE)
	list(APPEND test_environment
		"ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:abort_on_error=1"
		"UBSAN_OPTIONS=print_stacktrace=1"
		"TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:abort_on_error=1")
	execute_process(COMMAND "${SETARCH}" -R true RESULT_VARIABLE no_setarch OUTPUT_QUIET ERROR_QUIET)
	if(NOT no_setarch)
		set(test_launcher "${SETARCH}" -R)
	endif()
endif()

# slime_add_test(GROUP NAME TIMEOUT COMMAND...). 77 means skipped, and the test has said why.
function(slime_add_test group name timeout)
	set(test "${DLSLIME_TEST_PREFIX}${name}")
	add_test(NAME "${test}" COMMAND ${test_launcher} ${ARGN} WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
	set_tests_properties("${test}" PROPERTIES LABELS ${group} TIMEOUT ${timeout}
		SKIP_RETURN_CODE 77 ENVIRONMENT "${test_environment}")
	if(name MATCHES "serial")
		set_tests_properties("${test}" PROPERTIES RUN_SERIAL ON)
	endif()
endfunction()

# What stands in for hardware. An archive: a test that does not ask for it gets none of it.
file(GLOB fakes CONFIGURE_DEPENDS tests/fakes/fakes.c tests/fakes/fake_verbs*.c)
set(absent_tests "^$") # what looks inside a transport that this build is without
if(NOT BUILD_RDMA)
	string(APPEND absent_tests
		"|/fake_verbs[^/]*$|/(test|case|rig|fuzz)_rdma[^/]*$|/unit/(rdma|fakes)/")
endif()
if(NOT BUILD_TCP)
	string(APPEND absent_tests "|/fuzz_tcp[^/]*$|/unit/tcp/")
endif()
list(FILTER fakes EXCLUDE REGEX "${absent_tests}")
add_library(test-fakes STATIC ${fakes})
slime_flags(test-fakes)
target_include_directories(test-fakes PRIVATE include src tests)
target_compile_definitions(test-fakes PRIVATE
	FAKES_WITH_RDMA=$<BOOL:${BUILD_RDMA}> FAKES_WITH_TCP=$<BOOL:${BUILD_TCP}>)
target_link_libraries(test-fakes PUBLIC dlslime-static)

# A program that sees the library's insides: internal headers, hidden symbols.
function(slime_inside_program target)
	add_executable(${target} ${ARGN})
	slime_flags(${target})
	target_include_directories(${target} PRIVATE src tests ${CMOCKA_INCLUDE_DIR})
	nanoctrl_test_links(${target} ${ARGN})
	agent_test_links(${target} ${ARGN})
	target_link_libraries(${target} PRIVATE
		test-fakes dlslime-static ${CMOCKA_LIBRARY} m)
	set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${test_bin_dir}")
endfunction()

# The files of a folder that are not tests themselves belong to each test in it; compiled once.
function(slime_support_of dir out)
	file(GLOB support CONFIGURE_DEPENDS ${dir}/*.c)
	list(FILTER support EXCLUDE REGEX "/test_[^/]*$|/contract/store_[^/]*$|${absent_tests}")
	file(RELATIVE_PATH target "${PROJECT_SOURCE_DIR}/tests" "${dir}")
	string(REPLACE "/" "." target "support.${target}")
	if(support AND NOT TARGET ${target})
		add_library(${target} OBJECT ${support})
		slime_flags(${target})
		target_include_directories(${target} PRIVATE include src tests ${CMOCKA_INCLUDE_DIR})
	endif()
	if(support)
		set(${out} "$<TARGET_OBJECTS:${target}>" PARENT_SCOPE)
	else()
		set(${out} "" PARENT_SCOPE)
	endif()
endfunction()

# tests/GROUP/test_FILE.c and tests/GROUP/DIR/test_FILE.c: a program each.
function(slime_program_tests group timeout)
	file(GLOB_RECURSE sources CONFIGURE_DEPENDS tests/${group}/test_*.c)
	list(FILTER sources EXCLUDE REGEX "${absent_tests}")
	nanoctrl_filter_tests(sources)
	agent_filter_tests(sources)
	foreach(source ${sources})
		file(RELATIVE_PATH path "${PROJECT_SOURCE_DIR}/tests" "${source}")
		string(REGEX REPLACE "\\.c$" "" name "${path}")
		string(REGEX REPLACE "(^|/)test_([^/]*)$" "/\\2" name "${name}")
		string(REPLACE "/" "." name "${name}")
		get_filename_component(dir "${source}" DIRECTORY)
		slime_support_of("${dir}" support)
		slime_inside_program(${name} ${source} ${support})
		if(EXISTS "${dir}/wrap.txt") # functions that the tests of this folder make fail
			file(STRINGS "${dir}/wrap.txt" wraps)
			list(TRANSFORM wraps PREPEND "-Wl,--wrap=")
			target_link_options(${name} PRIVATE ${wraps})
		endif()
		slime_add_test(${group} ${name} ${timeout} "$<TARGET_FILE:${name}>")
	endforeach()
endfunction()

slime_test_group(unit wanted)
if(wanted)
	slime_program_tests(unit 60)
endif()

slime_test_group(torture wanted)
if(wanted)
	slime_program_tests(torture 120)
endif()

# A contract suite, tests/contract/test_NAME.c, says itself which cases it has; each is a ctest test
# of its own, for each of the things under test: contract.SUBJECT.CASE, run as test_NAME SUBJECT
# CASE. A suite without subjects is contract.NAME.CASE, run as test_NAME CASE.
set(contract_subjects_of_transport loopback shm)
if(BUILD_TCP)
	list(APPEND contract_subjects_of_transport tcp)
endif()
if(BUILD_RDMA)
	list(APPEND contract_subjects_of_transport rdma)
endif()

set(contract_subjects_of_store sqlite sqlite_memory redis)

function(slime_contract_suite source)
	get_filename_component(program ${source} NAME_WE)
	string(REPLACE "test_" "" name ${program})
	slime_support_of("${PROJECT_SOURCE_DIR}/tests/contract" support)
	file(GLOB own CONFIGURE_DEPENDS tests/contract/${name}_*.c)
	slime_inside_program(${program} ${source} ${own} ${support})
	set(tests "${PROJECT_BINARY_DIR}/contract_${name}_tests.cmake")
	string(REPLACE ";" "," subjects "${contract_subjects_of_${name}}")
	string(REPLACE ";" "," environment "${test_environment}")
	string(REPLACE ";" "," launcher "${test_launcher}")
	add_custom_command(TARGET ${program} POST_BUILD VERBATIM BYPRODUCTS "${tests}"
		COMMAND "${CMAKE_COMMAND}" "-DPROGRAM=$<TARGET_FILE:${program}>" "-DNAME=${name}"
			"-DSUBJECTS=${subjects}" "-DPREFIX=${DLSLIME_TEST_PREFIX}" "-DOUT=${tests}"
			"-DENVIRONMENT=${environment}" "-DLAUNCHER=${launcher}"
			-P "${PROJECT_SOURCE_DIR}/cmake/DiscoverContract.cmake")
	# ctest may look before the suite is built.
	set(include "${PROJECT_BINARY_DIR}/contract_${name}.cmake")
	file(WRITE "${include}" "include([==[${tests}]==] OPTIONAL)\n")
	set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${include}")
endfunction()

slime_test_group(contract wanted)
if(wanted)
	file(GLOB contract_sources CONFIGURE_DEPENDS tests/contract/test_*.c)
	list(FILTER contract_sources EXCLUDE REGEX "${absent_tests}")
	nanoctrl_filter_tests(contract_sources)
	foreach(source ${contract_sources})
		slime_contract_suite(${source})
	endforeach()
endif()

# tests/fuzz/fuzz_X.c: a replay of its corpus in every build, and a libFuzzer program with clang.
slime_test_group(fuzz wanted)
file(GLOB fuzz_sources CONFIGURE_DEPENDS tests/fuzz/fuzz_*.c)
list(FILTER fuzz_sources EXCLUDE REGEX "${absent_tests}")
nanoctrl_filter_tests(fuzz_sources)
agent_filter_tests(fuzz_sources)
foreach(source ${fuzz_sources})
	get_filename_component(target ${source} NAME_WE)
	string(REPLACE "fuzz_" "" name ${target})
	if(DLSLIME_FUZZ)
		slime_inside_program(${target} ${source})
		target_link_options(${target} PRIVATE -fsanitize=fuzzer)
	endif()
	if(wanted AND EXISTS "${PROJECT_SOURCE_DIR}/tests/fuzz/replay.c")
		slime_inside_program(${target}_replay ${source} tests/fuzz/replay.c)
		slime_add_test(fuzz fuzz.${name} 60 "$<TARGET_FILE:${target}_replay>"
			"${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name}")
	endif()
endforeach()

slime_test_group(cpp wanted)
if(wanted AND CMAKE_CXX_COMPILER)
	file(GLOB cpp_sources CONFIGURE_DEPENDS tests/cpp/test_*.cc)
	foreach(source ${cpp_sources})
		get_filename_component(target ${source} NAME_WE)
		string(REPLACE "test_" "" name ${target})
		slime_program(cpp.${name} ${source})
		set_target_properties(cpp.${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${test_bin_dir}")
		slime_add_test(cpp cpp.${name} 60 "$<TARGET_FILE:cpp.${name}>")
	endforeach()
endif()

slime_test_group(integration wanted)
if(wanted)
	# Their C helpers: a program each, which uses the library as a user would.
	file(GLOB integration_helpers CONFIGURE_DEPENDS tests/integration/*.c)
	agent_filter_tests(integration_helpers)
	foreach(source ${integration_helpers})
		get_filename_component(target ${source} NAME_WE)
		slime_program(integration.${target} ${source})
		if(target MATCHES "^agent_")
			target_link_libraries(integration.${target} PRIVATE dlslime-agent)
		endif()
		set_target_properties(integration.${target} PROPERTIES OUTPUT_NAME ${target}
			RUNTIME_OUTPUT_DIRECTORY "${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/tests")
	endforeach()
	file(GLOB integration_sources CONFIGURE_DEPENDS tests/integration/test_*.py)
	nanoctrl_filter_tests(integration_sources)
	agent_filter_tests(integration_sources)
	foreach(source ${integration_sources})
		get_filename_component(target ${source} NAME_WE)
		string(REPLACE "test_" "" name ${target})
		slime_add_test(integration integration.${name} 180
			"${PYTHON_WITH_PYTEST}" -B -m pytest -q -p no:cacheprovider "${source}")
	endforeach()
endif()

slime_test_group(check wanted)
if(wanted)
	slime_add_test(check check.layers 60 tools/check-layers)
	slime_add_test(check check.headers 60 tools/check-headers)
	slime_add_test(check check.mirror 60 tools/check-mirror)
	slime_add_test(check check.format 60 tools/format --check)
	if(EXISTS "${PROJECT_SOURCE_DIR}/tools/check-tour")
		slime_add_test(check check.tour 60 tools/check-tour)
	endif()
	slime_add_test(check check.symbols 60
		tools/check-symbols "$<TARGET_FILE:dlslime>" "$<TARGET_FILE:dlslime-static>"
		$<$<TARGET_EXISTS:dlslime-agent>:$<TARGET_FILE:$<IF:$<TARGET_EXISTS:dlslime-agent>,dlslime-agent,dlslime>>>)
endif()

# The examples end with an error if what they moved is not as expected. They go where the
# integration tests go: both are several processes, which tsan does not follow.
slime_test_group(integration wanted)
if(wanted)
	set(example_ways best)
	if(BUILD_TCP)
		list(APPEND example_ways tcp)
	endif()
	get_property(targets DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
	list(FILTER targets INCLUDE REGEX "^example-")
	foreach(target ${targets})
		string(REPLACE "-" "." name ${target})
		foreach(way ${example_ways})
			string(REGEX REPLACE "^best$" "" argument ${way})
			slime_add_test(example ${name}.${way} 30 "$<TARGET_FILE:${target}>" ${argument})
		endforeach()
	endforeach()
endif()

slime_test_group(install wanted)
if(wanted)
	slime_add_test(install install.foreign_project 120 tests/install/run "${PROJECT_BINARY_DIR}")
endif()

# Real verbs on emulated devices: tests/softroce/test_* run in one machine, which boot starts. The test of
# each tells what became of it there. Once, by the release build: under emulation a sanitizer would take
# an hour. The machine has its own time, so others may run beside it; first, as it takes the longest.
slime_test_group(softroce wanted)
if(wanted AND BUILD_RDMA)
	slime_program(softroce.stress tests/softroce/stress.c)
	set_target_properties(softroce.stress PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${test_bin_dir}")
	slime_add_test(softroce softroce.machine 1560 tests/softroce/boot "${PROJECT_BINARY_DIR}")
	set_tests_properties("${DLSLIME_TEST_PREFIX}softroce.machine" PROPERTIES
		FIXTURES_SETUP softroce COST 1000)
	file(GLOB softroce_tests CONFIGURE_DEPENDS tests/softroce/test_*)
	foreach(source ${softroce_tests})
		get_filename_component(test ${source} NAME)
		string(REPLACE "test_" "" name ${test})
		slime_add_test(softroce softroce.${name} 60
			tests/softroce/verdict "${PROJECT_BINARY_DIR}" ${test})
		set_tests_properties("${DLSLIME_TEST_PREFIX}softroce.${name}" PROPERTIES
			FIXTURES_REQUIRED softroce)
	endforeach()
endif()

# The Python package, with the Python that built it; pytest says itself what it skips.
slime_test_group(python wanted)
if(wanted AND BUILD_PYTHON)
	file(GLOB python_tests CONFIGURE_DEPENDS tests/python/test_*.py)
	if(DLSLIME_SANITIZE) # what gives it strange things; the others are for the release
		list(FILTER python_tests INCLUDE REGEX "/test_fuzz\\.py$")
	endif()
	foreach(source ${python_tests})
		get_filename_component(target ${source} NAME_WE)
		string(REPLACE "test_" "" name ${target})
		slime_add_test(python python.${name} 180 "${CMAKE_COMMAND}" -E env
			${python_environment} "${Python_EXECUTABLE}" -B -m pytest -q -p no:cacheprovider
			"${source}")
	endforeach()
endif()
