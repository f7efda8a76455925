# SPDX-License-Identifier: BSD-3-Clause
# libdlslime.so and libdlslime.a, from the same objects. libc and pthread, nothing else.

file(GLOB library_sources CONFIGURE_DEPENDS
     src/base/*.c src/device/*.c src/transport/*.c src/transport/*/*.c src/endpoint/*.c)

# A transport that is switched off is not compiled; transports.c alone is told.
if(NOT BUILD_TCP)
	list(FILTER library_sources EXCLUDE REGEX "/src/transport/tcp/")
endif()
if(NOT BUILD_RDMA)
	list(FILTER library_sources EXCLUDE REGEX "/src/transport/rdma/")
endif()
set_source_files_properties(src/transport/transports.c PROPERTIES
	COMPILE_DEFINITIONS
	"SLIME_WITH_TCP=$<BOOL:${BUILD_TCP}>;SLIME_WITH_RDMA=$<BOOL:${BUILD_RDMA}>")

add_library(dlslime-objects OBJECT ${library_sources})
slime_flags(dlslime-objects)
target_include_directories(dlslime-objects PRIVATE include src)
set_target_properties(dlslime-objects PROPERTIES POSITION_INDEPENDENT_CODE ON)

add_library(dlslime SHARED $<TARGET_OBJECTS:dlslime-objects>)
add_library(dlslime-static STATIC $<TARGET_OBJECTS:dlslime-objects>)
set_target_properties(dlslime PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0 LINKER_LANGUAGE C)
set_target_properties(dlslime-static PROPERTIES
	OUTPUT_NAME dlslime EXPORT_NAME static LINKER_LANGUAGE C)
slime_flags(dlslime)

foreach(lib dlslime dlslime-static)
	target_include_directories(${lib} INTERFACE
		"$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:include>")
endforeach()
# A program that links the archive needs pthread too; the shared library brings its own.
target_link_libraries(dlslime PRIVATE Threads::Threads)
target_link_libraries(dlslime-static PUBLIC Threads::Threads)

add_library(dlslime::dlslime ALIAS dlslime)
add_library(dlslime::static ALIAS dlslime-static)
