# SPDX-License-Identifier: BSD-3-Clause
# The Python package dlslime: one Cython extension with the library inside. pip runs this through
# pyproject.toml; in a build of our own the package is put together in build/python, for the tests.

find_package(Python 3.10 QUIET COMPONENTS Interpreter)
if(NOT Python_Interpreter_FOUND)
	message(FATAL_ERROR "BUILD_PYTHON: no Python of 3.10 or newer is found "
		"(Debian: apt-get install python3-dev; -DPython_EXECUTABLE= names one)")
endif()
find_package(Python 3.10 QUIET COMPONENTS Interpreter Development.Module)
if(NOT Python_Development.Module_FOUND)
	message(FATAL_ERROR "BUILD_PYTHON: the headers of ${Python_EXECUTABLE} are missing "
		"(Debian: apt-get install python3-dev)")
endif()
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

# Link LIBRARY into a program of the package, whole where there is an archive; else the system's
# shared one, INSTEAD, is needed wherever the program runs.
function(link_whole target library instead)
	get_filename_component(dir "${${instead}_LIBDIR}" ABSOLUTE)
	find_library(ARCHIVE_${library} "lib${library}.a" HINTS "${dir}")
	mark_as_advanced(ARCHIVE_${library})
	if(ARCHIVE_${library})
		target_link_libraries(${target} PRIVATE "${ARCHIVE_${library}}")
	else()
		message(STATUS "lib${library}.a is missing: the package's programs need lib${library}.so")
		target_link_libraries(${target} PRIVATE PkgConfig::${instead})
	endif()
	target_link_options(${target} PRIVATE -Wl,--as-needed)
endfunction()

# Distributions' archives are not fit for an extension (no -fPIC): it takes the shared ones.
function(link_agent target)
	if(NOT TARGET dlslime-agent-objects)
		return()
	endif()
	target_sources(${target} PRIVATE $<TARGET_OBJECTS:dlslime-agent-objects>)
	target_compile_definitions(${target} PRIVATE DLSLIME_WITH_AGENT)
	target_link_libraries(${target} PRIVATE "${HTTP_PARSER_LIBRARY}")
	target_link_options(${target} PRIVATE "LINKER:--exclude-libs,ALL")
	get_target_property(type ${target} TYPE)
	if(type STREQUAL "EXECUTABLE")
		link_whole(${target} event AGENT_libevent)
		link_whole(${target} jansson AGENT_jansson)
	else()
		target_link_libraries(${target} PRIVATE PkgConfig::AGENT_libevent PkgConfig::AGENT_jansson)
	endif()
endfunction()

# A wheel needs no package: what the extension takes shared travels in it.
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

set(switches_source python/dlslime/core/switches.c)
Python_add_library(dlslime-python-core MODULE WITH_SOABI "${core_source}" ${switches_source})
if(DLSLIME_SANITIZE)
	# Cython's own code adds 0 to NULL, which UBSan takes for a fault; and -O0 builds in half the time.
	set_source_files_properties("${core_source}" PROPERTIES
		COMPILE_OPTIONS "-fno-sanitize=undefined;-O0")
endif()
# The library's symbols stay inside: another copy in the process is none of our business.
target_compile_options(dlslime-python-core PRIVATE -fvisibility=hidden)
set_source_files_properties(${switches_source} PROPERTIES COMPILE_DEFINITIONS
	"DLSLIME_BUILT_RDMA=$<BOOL:${BUILD_RDMA}>;DLSLIME_BUILT_TCP=$<BOOL:${BUILD_TCP}>")
target_link_options(dlslime-python-core PRIVATE
	-Wl,--exclude-libs,ALL -Wl,-z,relro,-z,now $<$<BOOL:${SKBUILD}>:-s>)
target_link_libraries(dlslime-python-core PRIVATE dlslime-static)
link_agent(dlslime-python-core)
file(WRITE "${PROJECT_BINARY_DIR}/python/exports" "{ global: PyInit_*; local: *; };\n")
target_link_options(dlslime-python-core PRIVATE
	"-Wl,--version-script=${PROJECT_BINARY_DIR}/python/exports")
set_target_properties(dlslime-python-core PROPERTIES
	OUTPUT_NAME _core LIBRARY_OUTPUT_DIRECTORY "${python_package}" INSTALL_RPATH "$ORIGIN/lib")

add_custom_target(dlslime-python ALL VERBATIM
	COMMAND "${CMAKE_COMMAND}" -E copy_directory
		"${PROJECT_SOURCE_DIR}/python/dlslime" "${python_package}"
	COMMAND "${CMAKE_COMMAND}" -E copy_directory
		"${PROJECT_SOURCE_DIR}/python/nanoctrl" "${PROJECT_BINARY_DIR}/python/nanoctrl"
	DEPENDS dlslime-python-core)

# What runs the package of this build tree: cmake -E env ${python_environment} PROGRAM.
set(python_environment "PYTHONPATH=${PROJECT_BINARY_DIR}/python")
if(DLSLIME_SANITIZE MATCHES "address")
	# Python is not built with ASan, so its runtime has to be there before Python is. Python's own
	# allocator would hide what it gives out, and it leaks at its end by design.
	set(runtime "libclang_rt.asan-${CMAKE_SYSTEM_PROCESSOR}.so")
	if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
		set(runtime "libasan.so")
	endif()
	execute_process(COMMAND "${CMAKE_C_COMPILER}" "-print-file-name=${runtime}"
		OUTPUT_VARIABLE runtime OUTPUT_STRIP_TRAILING_WHITESPACE)
	list(APPEND python_environment "LD_PRELOAD=${runtime}" PYTHONMALLOC=malloc
		ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:abort_on_error=1)
endif()

if(SKBUILD)
	include(PythonWheel)
endif()
