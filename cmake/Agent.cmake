# SPDX-License-Identifier: BSD-3-Clause
# libdlslime-agent: names, links, the conversation with nanoctrl. On libdlslime, libevent, jansson, http_parser.

set(agent_missing)
if(BUILD_CTRL)
	find_package(PkgConfig QUIET)
	foreach(pair libevent:libevent-dev jansson:libjansson-dev)
		string(REPLACE ":" ";" pair ${pair})
		list(GET pair 0 module)
		if(PKG_CONFIG_FOUND)
			pkg_check_modules(AGENT_${module} QUIET IMPORTED_TARGET ${module})
		endif()
		if(NOT AGENT_${module}_FOUND)
			list(GET pair 1 package)
			list(APPEND agent_missing ${package})
		endif()
	endforeach()
	# http_parser is one object that fits into a shared library; nobody need install it.
	find_path(HTTP_PARSER_INCLUDE_DIR http_parser.h)
	find_library(HTTP_PARSER_LIBRARY NAMES libhttp_parser.a http_parser)
	mark_as_advanced(HTTP_PARSER_INCLUDE_DIR HTTP_PARSER_LIBRARY)
	if(NOT HTTP_PARSER_INCLUDE_DIR OR NOT HTTP_PARSER_LIBRARY)
		list(APPEND agent_missing libhttp-parser-dev)
	endif()
	if(agent_missing)
		string(REPLACE ";" " " names "${agent_missing}")
		message(WARNING
			"BUILD_CTRL: these packages are missing, so libdlslime-agent is left out: ${names}")
	endif()
endif()

if(BUILD_CTRL AND NOT agent_missing)
	# What it shares with libdlslime below the public headers has no state, so it has its own copy.
	file(GLOB agent_sources CONFIGURE_DEPENDS src/ctrl/*.c src/agent/*.c)
	add_library(dlslime-agent-objects OBJECT ${agent_sources}
		src/base/error.c src/base/random.c src/base/file.c)
	slime_flags(dlslime-agent-objects)
	target_include_directories(dlslime-agent-objects PRIVATE include src)
	target_include_directories(dlslime-agent-objects SYSTEM PRIVATE "${HTTP_PARSER_INCLUDE_DIR}")
	target_link_libraries(dlslime-agent-objects PRIVATE
		PkgConfig::AGENT_libevent PkgConfig::AGENT_jansson)
	set_target_properties(dlslime-agent-objects PROPERTIES POSITION_INDEPENDENT_CODE ON)

	add_library(dlslime-agent SHARED $<TARGET_OBJECTS:dlslime-agent-objects>)
	slime_flags(dlslime-agent)
	set_target_properties(dlslime-agent PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0
		LINKER_LANGUAGE C)
	target_include_directories(dlslime-agent INTERFACE
		"$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:include>")
	target_link_libraries(dlslime-agent PUBLIC dlslime
		PRIVATE PkgConfig::AGENT_libevent PkgConfig::AGENT_jansson "${HTTP_PARSER_LIBRARY}"
			Threads::Threads)
	target_link_options(dlslime-agent PRIVATE "LINKER:--exclude-libs,ALL") # nor export it
	add_library(dlslime::agent ALIAS dlslime-agent)
endif()

# What a test or a tool that looks at agents links besides.
function(agent_test_links target)
	if(TARGET dlslime-agent-objects AND "${ARGN}" MATCHES "/unit/(agent|ctrl)/|/fuzz_agent_")
		target_sources(${target} PRIVATE $<TARGET_OBJECTS:dlslime-agent-objects>)
		target_include_directories(${target} SYSTEM PRIVATE "${HTTP_PARSER_INCLUDE_DIR}")
		target_link_libraries(${target} PRIVATE
			PkgConfig::AGENT_libevent PkgConfig::AGENT_jansson "${HTTP_PARSER_LIBRARY}")
	endif()
endfunction()

# Leave the agents' tests out of a list of sources where there are none.
macro(agent_filter_tests list)
	if(NOT TARGET dlslime-agent)
		list(FILTER ${list} EXCLUDE REGEX "/unit/(agent|ctrl)/|/fuzz_agent_|/agent_|/test_agent_")
	endif()
endmacro()

# Likewise the verbs of 'dlslime' that need names.
macro(agent_filter_verbs list)
	if(NOT TARGET dlslime-agent-objects)
		list(FILTER ${list} EXCLUDE REGEX "/(announce|by_name|links|named_file|peers|ping)\\.c$")
	endif()
endmacro()
