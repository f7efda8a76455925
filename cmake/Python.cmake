# SPDX-License-Identifier: BSD-3-Clause
# The Python package dlslime: one Cython extension with the library inside. pip runs this through
# pyproject.toml; in a build of our own the package is put together in build/python, for the tests.

find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
execute_process(COMMAND "${Python_EXECUTABLE}" -m cython --version
	RESULT_VARIABLE no_cython OUTPUT_VARIABLE cython_version ERROR_VARIABLE cython_version)
if(no_cython OR NOT cython_version MATCHES "version [3-9]")
	message(FATAL_ERROR "BUILD_PYTHON: ${Python_EXECUTABLE} has no Cython 3; "
		"tools/venv makes a Python that has (build/venv)")
endif()

set(python_package "${PROJECT_BINARY_DIR}/python/dlslime")
set(core_source "${PROJECT_BINARY_DIR}/python/_core.c")
file(GLOB core_parts CONFIGURE_DEPENDS python/dlslime/*.pyx python/dlslime/*.pxd
     python/dlslime/core/*.pxi)
add_custom_command(OUTPUT "${core_source}" VERBATIM DEPENDS ${core_parts}
	WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}/python"
	COMMAND "${Python_EXECUTABLE}" -m cython -3 -o "${core_source}" dlslime/_core.pyx)

# Put the agent into TARGET, if it is built; a program takes its libraries in whole where it can.
function(link_agent target)
	if(NOT TARGET dlslime-agent-objects)
		return()
	endif()
	target_sources(${target} PRIVATE $<TARGET_OBJECTS:dlslime-agent-objects>)
	target_compile_definitions(${target} PRIVATE DLSLIME_WITH_AGENT)
	get_target_property(type ${target} TYPE)
	foreach(library event jansson)
		find_library(ARCHIVE_${library} "lib${library}.a" HINTS ${AGENT_lib${library}_LIBDIR})
		mark_as_advanced(ARCHIVE_${library})
		if(ARCHIVE_${library} AND type STREQUAL "EXECUTABLE")
			target_link_libraries(${target} PRIVATE "${ARCHIVE_${library}}")
		elseif(library STREQUAL "event")
			target_link_libraries(${target} PRIVATE PkgConfig::AGENT_libevent)
		else()
			target_link_libraries(${target} PRIVATE PkgConfig::AGENT_jansson)
		endif()
	endforeach()
endfunction()

# A wheel needs no package: the agent's two libraries travel in it. Distributions' archives of them
# are not fit for an extension (no -fPIC), so it is the shared ones.
function(install_agent_libraries)
	if(NOT TARGET dlslime-agent-objects)
		return()
	endif()
	foreach(library ${AGENT_libevent_LINK_LIBRARIES} ${AGENT_jansson_LINK_LIBRARIES})
		get_filename_component(file "${library}" REALPATH)
		execute_process(COMMAND "${CMAKE_OBJDUMP}" -p "${file}" OUTPUT_VARIABLE about)
		if(about MATCHES "SONAME +([^\n ]+)")
			install(FILES "${file}" RENAME "${CMAKE_MATCH_1}" DESTINATION dlslime/lib
				COMPONENT python)
		endif()
	endforeach()
endfunction()

Python_add_library(dlslime-python-core MODULE WITH_SOABI "${core_source}")
# The library's symbols stay inside: another copy in the process is none of our business.
target_compile_options(dlslime-python-core PRIVATE -fvisibility=hidden)
target_link_options(dlslime-python-core PRIVATE
	-Wl,--exclude-libs,ALL -Wl,-z,relro,-z,now $<$<BOOL:${SKBUILD}>:-s>)
target_link_libraries(dlslime-python-core PRIVATE dlslime-static)
link_agent(dlslime-python-core)
file(WRITE "${PROJECT_BINARY_DIR}/python/exports" "{ global: PyInit_*; local: *; };\n")
target_link_options(dlslime-python-core PRIVATE
	"-Wl,--version-script=${PROJECT_BINARY_DIR}/python/exports")
set_target_properties(dlslime-python-core PROPERTIES
	OUTPUT_NAME _core LIBRARY_OUTPUT_DIRECTORY "${python_package}" INSTALL_RPATH "$ORIGIN/lib")

# The programs that travel in the wheel bring the library with them.
file(GLOB program_sources CONFIGURE_DEPENDS cmd/dlslime/*.c)
if(NOT TARGET dlslime-agent-objects) # the verbs that need names
	list(FILTER program_sources EXCLUDE REGEX "/(announce|by_name|links|named_file|peers|ping)\\.c$")
endif()
add_executable(dlslime-python-program ${program_sources})
slime_flags(dlslime-python-program)
target_include_directories(dlslime-python-program PRIVATE cmd/dlslime)
target_link_libraries(dlslime-python-program PRIVATE dlslime-static Threads::Threads m)
link_agent(dlslime-python-program)
target_link_options(dlslime-python-program PRIVATE $<$<BOOL:${SKBUILD}>:-s>)
set_target_properties(dlslime-python-program PROPERTIES
	OUTPUT_NAME dlslime RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/python/bin")

add_custom_target(dlslime-python ALL VERBATIM
	COMMAND "${CMAKE_COMMAND}" -E copy_directory
		"${PROJECT_SOURCE_DIR}/python/dlslime" "${python_package}"
	DEPENDS dlslime-python-core dlslime-python-program)

if(SKBUILD)
	install_agent_libraries()
	install(TARGETS dlslime-python-core LIBRARY DESTINATION dlslime COMPONENT python)
	install(TARGETS dlslime-python-program
		RUNTIME DESTINATION "${SKBUILD_SCRIPTS_DIR}" COMPONENT python)
	# What get_cmake_dir() names: the library for programs in C and C++.
	install(FILES "$<TARGET_FILE:dlslime-static>" DESTINATION dlslime/lib COMPONENT python)
	install(CODE "execute_process(COMMAND \"${CMAKE_STRIP}\" --strip-debug
		\"\${CMAKE_INSTALL_PREFIX}/dlslime/lib/libdlslime.a\")" COMPONENT python)
	install(DIRECTORY include/slime DESTINATION dlslime/include COMPONENT python)
	install(FILES cmake/python/dlslimeConfig.cmake
		DESTINATION dlslime/share/cmake/dlslime COMPONENT python)
endif()
