# SPDX-License-Identifier: BSD-3-Clause
# What to build. Each switch is a CMake option and may also come from the environment, where the
# reference's packaging scripts put it; -D on the first configure wins over the environment.

function(slime_to_bool name value out)
	string(TOUPPER "${value}" upper)
	if(upper MATCHES "^(ON|1|TRUE|YES)$")
		set(${out} ON PARENT_SCOPE)
	elseif(upper MATCHES "^(OFF|0|FALSE|NO|)$")
		set(${out} OFF PARENT_SCOPE)
	else()
		message(FATAL_ERROR "${name}: '${value}' is neither ON nor OFF")
	endif()
endfunction()

# Remember what the environment said last, so that a change there is taken up by the next
# configure, and its absence (ninja reconfigures by itself) changes nothing.
function(slime_switch name default help)
	set(given "${default}")
	if(DEFINED CACHE{${name}})
		set(given "$CACHE{${name}}")
	endif()
	if(DEFINED ENV{${name}})
		if(NOT DEFINED CACHE{${name}})
			set(given "$ENV{${name}}")
		elseif(DEFINED CACHE{SLIME_SEEN_${name}} AND
		       NOT "$ENV{${name}}" STREQUAL "$CACHE{SLIME_SEEN_${name}}")
			set(given "$ENV{${name}}")
		endif()
		set(SLIME_SEEN_${name} "$ENV{${name}}" CACHE INTERNAL "")
	elseif(NOT DEFINED CACHE{SLIME_SEEN_${name}})
		set(SLIME_SEEN_${name} "" CACHE INTERNAL "")
	endif()
	slime_to_bool(${name} "${given}" value)
	set(${name} ${value} CACHE BOOL "${help}" FORCE)
endfunction()

# A switch of the reference whose part is still to come: accepted, named, and without effect.
function(slime_switch_to_come name help)
	slime_switch(${name} OFF "${help}")
	if(${name})
		message(STATUS "${name}: not part of this version yet, ignored")
	endif()
endfunction()

slime_switch(BUILD_TCP   ON  "the tcp transport")
slime_switch(BUILD_RDMA  ON  "the verbs transport")
slime_switch(BUILD_CTRL  ON  "nanoctrl, the daemon of the control plane")
slime_switch(BUILD_PYTHON OFF "the Python package; pip turns it on")
slime_switch(BUILD_TEST  OFF "the tests, run by ctest")
slime_switch(BUILD_BENCH OFF "the benchmark programs")

slime_switch_to_come(BUILD_NVLINK        "the cuda_ipc transport")
slime_switch_to_come(BUILD_ASCEND_DIRECT "the ascend transport")
slime_switch_to_come(BUILD_TORCH_PLUGIN  "the torch plug-in")
slime_switch_to_come(BUILD_TOPO_SYSFS    "topology from sysfs")
slime_switch_to_come(BUILD_TOPO_CUDA     "topology from CUDA")
slime_switch_to_come(USE_MACA            "MetaX devices in place of CUDA")

# Verbs are opened at run time; only their header is needed here.
if(BUILD_RDMA)
	find_path(VERBS_INCLUDE_DIR infiniband/verbs.h)
	mark_as_advanced(VERBS_INCLUDE_DIR)
	if(NOT VERBS_INCLUDE_DIR)
		message(WARNING "BUILD_RDMA: infiniband/verbs.h is missing (package libibverbs-dev): "
			"this build is without rdma")
		set(BUILD_RDMA OFF)
	endif()
endif()

option(DLSLIME_WERROR "treat warnings as errors; off for packagers, on in every preset" OFF)
set(DLSLIME_SANITIZE "" CACHE STRING "sanitizers, as in -fsanitize=")
option(DLSLIME_FUZZ "build the fuzz targets for libFuzzer (clang)" OFF)
set(DLSLIME_TESTS "check;unit;contract;torture;fuzz;integration;cpp;install;softroce;python" CACHE STRING
    "the groups of tests to build and register")
set(DLSLIME_TEST_PREFIX "" CACHE STRING "put before each test's name, to tell builds apart")
