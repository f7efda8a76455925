# SPDX-License-Identifier: BSD-3-Clause
# Compiler flags: the lists of CONTRIBUTING.md, in one place. Use with slime_flags(TARGET).

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)

set(warnings -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wcast-qual -Wvla -Wundef
    -Wwrite-strings -Wpointer-arith -Wformat=2 -Wcast-function-type -Wnull-dereference
    -Wdouble-promotion -Wimplicit-fallthrough)
set(warnings_c -Wmissing-prototypes -Wstrict-prototypes -Wold-style-definition)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
	list(APPEND warnings -Wduplicated-cond -Wduplicated-branches -Wlogical-op)
elseif(CMAKE_C_COMPILER_ID MATCHES "Clang")
	list(APPEND warnings -Wthread-safety -Wmissing-variable-declarations
	     -Wunreachable-code-aggressive -Wcomma)
endif()

add_library(slime_flags INTERFACE)
target_compile_definitions(slime_flags INTERFACE _GNU_SOURCE)
target_compile_options(slime_flags INTERFACE
	${warnings}
	"$<$<COMPILE_LANGUAGE:C>:${warnings_c}>"
	"$<$<BOOL:${DLSLIME_WERROR}>:-Werror>"
	-fvisibility=hidden
	"$<$<CONFIG:Release>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2;-fstack-protector-strong>")
target_link_options(slime_flags INTERFACE "$<$<CONFIG:Release>:-Wl,-z,relro,-z,now>")

if(DLSLIME_SANITIZE)
	# The flags reach everything in the build, so that no part is left unchecked.
	add_compile_options(-fsanitize=${DLSLIME_SANITIZE} -fno-sanitize-recover=all
	                    -fno-omit-frame-pointer)
	add_link_options(-fsanitize=${DLSLIME_SANITIZE})
else()
	# A sanitized library leaves its runtime's symbols to the program.
	target_link_options(slime_flags INTERFACE -Wl,-z,defs)
endif()

if(DLSLIME_FUZZ)
	if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
		message(FATAL_ERROR "DLSLIME_FUZZ needs clang: configure with --preset fuzz")
	endif()
	add_compile_options(-fsanitize=fuzzer-no-link)
endif()

function(slime_flags target)
	target_link_libraries(${target} PRIVATE "$<BUILD_INTERFACE:slime_flags>")
endfunction()
