# SPDX-License-Identifier: BSD-3-Clause
# What a wheel has besides the package: the programs, with their libraries inside, and the C library.
# docs/decisions/0008 says why so.

# python_program(NAME SOURCES...): the command NAME of the wheel.
function(python_program name)
	set(target dlslime-python-${name})
	add_executable(${target} ${ARGN})
	slime_flags(${target})
	target_link_options(${target} PRIVATE -s)
	set_target_properties(${target} PROPERTIES
		OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/python/bin")
	add_dependencies(dlslime-python ${target})
	install(TARGETS ${target} RUNTIME DESTINATION "${SKBUILD_SCRIPTS_DIR}" COMPONENT python)
endfunction()

file(GLOB program_sources CONFIGURE_DEPENDS cmd/dlslime/*.c)
agent_filter_verbs(program_sources)
python_program(dlslime ${program_sources})
target_include_directories(dlslime-python-dlslime PRIVATE cmd/dlslime)
target_link_libraries(dlslime-python-dlslime PRIVATE dlslime-static Threads::Threads m)
link_agent(dlslime-python-dlslime)

if(TARGET nanoctrl-parts)
	python_program(nanoctrl cmd/nanoctrl/main.c)
	target_include_directories(dlslime-python-nanoctrl PRIVATE include src cmd/nanoctrl)
	# Its own libraries come behind the archives, and --as-needed leaves them out.
	target_link_libraries(dlslime-python-nanoctrl PRIVATE nanoctrl-parts)
	link_whole(dlslime-python-nanoctrl event_core CTRL_libevent_core)
	link_whole(dlslime-python-nanoctrl jansson CTRL_jansson)
	link_whole(dlslime-python-nanoctrl sqlite3 CTRL_sqlite3)
	link_whole(dlslime-python-nanoctrl hiredis CTRL_hiredis)
	python_program(dlslime-ctrl python/programs/dlslime_ctrl.c)
else()
	set(why "it was made with BUILD_CTRL=OFF")
	if(BUILD_CTRL)
		string(REPLACE ";" " " names "${nanoctrl_missing}")
		set(why "packages were missing where it was made: install them (Debian: apt-get install ${names}) and dlslime again")
	endif()
	foreach(name nanoctrl dlslime-ctrl)
		python_program(${name} python/programs/without_nanoctrl.c)
		target_compile_definitions(dlslime-python-${name} PRIVATE "WHY=\"${why}\"")
	endforeach()
endif()

install_agent_libraries()
install(TARGETS dlslime-python-core LIBRARY DESTINATION dlslime COMPONENT python)
# What get_cmake_dir() names: the library for programs in C and C++.
install(FILES "$<TARGET_FILE:dlslime-static>" DESTINATION dlslime/lib COMPONENT python)
install(CODE "execute_process(COMMAND \"${CMAKE_STRIP}\" --strip-debug
	\"\${CMAKE_INSTALL_PREFIX}/dlslime/lib/libdlslime.a\")" COMPONENT python)
install(DIRECTORY include/slime DESTINATION dlslime/include COMPONENT python)
install(FILES cmake/python/dlslimeConfig.cmake
	DESTINATION dlslime/share/cmake/dlslime COMPONENT python)
