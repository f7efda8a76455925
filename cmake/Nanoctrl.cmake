# SPDX-License-Identifier: BSD-3-Clause
# The control plane's daemon, cmd/nanoctrl. It alone needs these libraries; without them everything
# else is built. nanoctrl-parts is all of it but main(), for the program and for its tests.

set(nanoctrl_missing)
if(BUILD_CTRL)
	find_package(PkgConfig QUIET)
	foreach(pair libevent_core:libevent-dev jansson:libjansson-dev sqlite3:libsqlite3-dev
	        hiredis:libhiredis-dev)
		string(REPLACE ":" ";" pair ${pair})
		list(GET pair 0 module)
		list(GET pair 1 package)
		if(PKG_CONFIG_FOUND)
			pkg_check_modules(CTRL_${module} QUIET IMPORTED_TARGET ${module})
		endif()
		if(NOT CTRL_${module}_FOUND)
			list(APPEND nanoctrl_missing ${package})
		endif()
	endforeach()
	# http_parser: Agent.cmake has looked for it.
	if(NOT HTTP_PARSER_INCLUDE_DIR OR NOT HTTP_PARSER_LIBRARY)
		list(APPEND nanoctrl_missing libhttp-parser-dev)
	endif()
	if(nanoctrl_missing)
		string(REPLACE ";" " " names "${nanoctrl_missing}")
		message(WARNING "BUILD_CTRL: these packages are missing, so nanoctrl is left out: ${names}")
	endif()
endif()

function(nanoctrl_flags target)
	slime_flags(${target})
	target_include_directories(${target} PRIVATE include src cmd/nanoctrl)
	target_include_directories(${target} SYSTEM PRIVATE "${HTTP_PARSER_INCLUDE_DIR}")
	target_link_libraries(${target} PRIVATE PkgConfig::CTRL_libevent_core PkgConfig::CTRL_jansson
		PkgConfig::CTRL_sqlite3 PkgConfig::CTRL_hiredis)
endfunction()

if(BUILD_CTRL AND NOT nanoctrl_missing)
	file(GLOB nanoctrl_sources CONFIGURE_DEPENDS cmd/nanoctrl/*.c)
	list(FILTER nanoctrl_sources EXCLUDE REGEX "/main\\.c$")
	# The script that Redis runs, as text in the program.
	set(redis_script "${PROJECT_BINARY_DIR}/redis_script.c")
	set(script_bytes)
	foreach(part script records verbs)
		set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
			cmd/nanoctrl/redis_${part}.lua)
		file(READ cmd/nanoctrl/redis_${part}.lua bytes HEX)
		string(APPEND script_bytes "${bytes}")
	endforeach()
	string(REGEX REPLACE "(..)" "0x\\1," bytes "${script_bytes}")
	file(CONFIGURE OUTPUT "${redis_script}" @ONLY CONTENT
		"#include \"redis_library.h\"\nconst char redis_script[] = {${bytes}0};\n")
	# TLS and lookups are the agents' as well; what they need below has no state.
	add_library(nanoctrl-parts STATIC ${nanoctrl_sources} "${redis_script}"
		src/ctrl/ctrl_lookup.c src/ctrl/ctrl_tls.c src/ctrl/openssl_table.c
		src/base/error.c)
	nanoctrl_flags(nanoctrl-parts)
	# Its name in a Redis that other versions use, too.
	string(SHA1 digest "${script_bytes}")
	string(SUBSTRING "${digest}" 0 12 digest)
	set_source_files_properties(cmd/nanoctrl/redis_library.c PROPERTIES
		COMPILE_DEFINITIONS "REDIS_LIBRARY=\"nanoctrl_${digest}\"")
	target_link_libraries(nanoctrl-parts PRIVATE "${HTTP_PARSER_LIBRARY}" Threads::Threads
		${CMAKE_DL_LIBS} m)

	add_executable(nanoctrl-program cmd/nanoctrl/main.c)
	nanoctrl_flags(nanoctrl-program)
	target_link_libraries(nanoctrl-program PRIVATE nanoctrl-parts)
	set_target_properties(nanoctrl-program PROPERTIES OUTPUT_NAME nanoctrl)
	list(APPEND installed_programs nanoctrl-program)

	# One program, two names.
	add_custom_command(TARGET nanoctrl-program POST_BUILD VERBATIM
		COMMAND "${CMAKE_COMMAND}" -E create_symlink nanoctrl
			"${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/dlslime-ctrl")
	install(FILES "${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/dlslime-ctrl"
		DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()

# What a test program of the daemon links besides; a fake goes before what it stands for.
function(nanoctrl_test_links target)
	if(NOT "${ARGN}" MATCHES "/nanoctrl/|/fuzz_ctrl_|/test_store\\.c")
		return()
	endif()
	file(GLOB fakes CONFIGURE_DEPENDS tests/fakes/nanoctrl/*.c)
	if(fakes AND NOT TARGET nanoctrl-fakes)
		add_library(nanoctrl-fakes STATIC ${fakes})
		nanoctrl_flags(nanoctrl-fakes)
		target_include_directories(nanoctrl-fakes PRIVATE tests ${CMOCKA_INCLUDE_DIR})
	endif()
	nanoctrl_flags(${target})
	list(GET ARGN 0 source)
	file(STRINGS "${source}" uses_fakes REGEX "^#include \"fakes/nanoctrl/")
	if(uses_fakes)
		target_link_libraries(${target} PRIVATE nanoctrl-fakes)
	endif()
	target_link_libraries(${target} PRIVATE nanoctrl-parts)
endfunction()

# Leave the daemon's tests out of a list of sources where there is no daemon.
macro(nanoctrl_filter_tests list)
	if(NOT TARGET nanoctrl-parts)
		list(FILTER ${list} EXCLUDE REGEX "/nanoctrl/|/fuzz_ctrl_|/test_store\\.c|/test_nanoctrl_")
	endif()
endmacro()
