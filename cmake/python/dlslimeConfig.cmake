# SPDX-License-Identifier: BSD-3-Clause
# find_package(dlslime) in the Python package: the static library that came with it.

include(CMakeFindDependencyMacro)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_dependency(Threads)

get_filename_component(package "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET dlslime::static)
	add_library(dlslime::static STATIC IMPORTED)
	set_target_properties(dlslime::static PROPERTIES
		IMPORTED_LOCATION "${package}/lib/libdlslime.a"
		INTERFACE_INCLUDE_DIRECTORIES "${package}/include"
		INTERFACE_LINK_LIBRARIES Threads::Threads)
	add_library(dlslime::dlslime INTERFACE IMPORTED)
	set_target_properties(dlslime::dlslime PROPERTIES INTERFACE_LINK_LIBRARIES dlslime::static)
endif()
set(dlslime_INCLUDE_DIR "${package}/include")
set(dlslime_INCLUDE_DIRS "${package}/include")
set(dlslime_LIBRARIES dlslime::dlslime)
