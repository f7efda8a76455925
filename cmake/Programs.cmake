# SPDX-License-Identifier: BSD-3-Clause
# Programs: they see the public headers and the shared library, as any user's program would.

file(RELATIVE_PATH libdir_from_bindir "${CMAKE_INSTALL_FULL_BINDIR}" "${CMAKE_INSTALL_FULL_LIBDIR}")

# slime_program(NAME SOURCES...): NAME is also the file's name.
function(slime_program name)
	add_executable(${name} ${ARGN})
	slime_flags(${name})
	target_link_libraries(${name} PRIVATE dlslime Threads::Threads m)
	set_target_properties(${name} PROPERTIES INSTALL_RPATH "$ORIGIN/${libdir_from_bindir}")
endfunction()

# In a folder of small programs, each file with a main() is one; the others belong to all of them.
function(slime_programs_of target_prefix output_dir)
	set(programs)
	set(shared)
	foreach(source ${ARGN})
		file(STRINGS ${source} main REGEX "^(int )?main\\(")
		if(main)
			list(APPEND programs ${source})
		else()
			list(APPEND shared ${source})
		endif()
	endforeach()
	foreach(source ${programs})
		get_filename_component(name ${source} NAME_WE)
		file(STRINGS ${source} by_name REGEX "^#include (<slime/agent.h>|\"control.h\")")
		if(by_name AND NOT TARGET dlslime-agent)
			continue()
		endif()
		slime_program(${target_prefix}${name} ${source} ${shared})
		if(by_name)
			target_link_libraries(${target_prefix}${name} PRIVATE dlslime-agent)
		endif()
		set_target_properties(${target_prefix}${name} PROPERTIES
			OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY "${output_dir}")
	endforeach()
endfunction()

# cmd/NAME/*.c is the program NAME. The target has a suffix: the library has the plain name.
# nanoctrl needs libraries of its own, see Nanoctrl.cmake.
file(GLOB program_dirs CONFIGURE_DEPENDS LIST_DIRECTORIES true cmd/*)
list(FILTER program_dirs EXCLUDE REGEX "/nanoctrl$")
set(installed_programs)
foreach(dir ${program_dirs})
	file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.c)
	if(NOT TARGET dlslime-agent) # the verbs that need names
		list(FILTER sources EXCLUDE REGEX "/(announce|by_name|links|named_file|peers|ping)\\.c$")
	endif()
	if(sources)
		get_filename_component(name ${dir} NAME)
		slime_program(${name}-program ${sources})
		if(TARGET dlslime-agent)
			target_compile_definitions(${name}-program PRIVATE DLSLIME_WITH_AGENT)
			target_link_libraries(${name}-program PRIVATE
				dlslime-agent PkgConfig::AGENT_jansson)
		endif()
		target_include_directories(${name}-program PRIVATE ${dir})
		set_target_properties(${name}-program PROPERTIES OUTPUT_NAME ${name})
		list(APPEND installed_programs ${name}-program)
	endif()
endforeach()

file(GLOB example_sources CONFIGURE_DEPENDS examples/c/*.c)
slime_programs_of(example- "${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/examples" ${example_sources})

file(GLOB example_cc_sources CONFIGURE_DEPENDS examples/cpp/*.cc)
if(example_cc_sources OR BUILD_TEST)
	include(CheckLanguage)
	check_language(CXX)
	if(CMAKE_CXX_COMPILER)
		enable_language(CXX)
		slime_programs_of(example-cpp- "${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/examples" ${example_cc_sources})
	else()
		message(STATUS "no C++ compiler: the C++ examples and tests are left out")
	endif()
endif()

if(BUILD_BENCH)
	file(GLOB bench_sources CONFIGURE_DEPENDS bench/*.c)
	slime_programs_of(bench- "${CMAKE_RUNTIME_OUTPUT_DIRECTORY}" ${bench_sources})
endif()
