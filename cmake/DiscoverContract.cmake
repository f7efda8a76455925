# SPDX-License-Identifier: BSD-3-Clause
# Ask the contract suite for its cases and write one ctest test for each case and transport.
# In: PROGRAM OUT TRANSPORTS PREFIX ENVIRONMENT LAUNCHER (lists with commas).

string(REPLACE "," ";" TRANSPORTS "${TRANSPORTS}")
string(REPLACE "," ";" ENVIRONMENT "${ENVIRONMENT}")
string(REPLACE "," ";" LAUNCHER "${LAUNCHER}")

execute_process(COMMAND ${LAUNCHER} "${PROGRAM}" --list
	OUTPUT_VARIABLE output ERROR_VARIABLE output_err RESULT_VARIABLE status)
string(REGEX MATCHALL "[^\n]+" cases "${output}")
if(NOT status EQUAL 0 OR NOT cases)
	message(FATAL_ERROR "'${PROGRAM} --list' named no cases (status ${status}): ${output_err}")
endif()

set(script "")
foreach(transport ${TRANSPORTS})
	foreach(case ${cases})
		set(name "${PREFIX}contract.${transport}.${case}")
		set(command "")
		foreach(word ${LAUNCHER} "${PROGRAM}" ${transport} ${case})
			string(APPEND command " [==[${word}]==]")
		endforeach()
		string(APPEND script "add_test([==[${name}]==]${command})\n")
		string(APPEND script "set_tests_properties([==[${name}]==] PROPERTIES LABELS contract"
			" TIMEOUT 60 SKIP_RETURN_CODE 77 ENVIRONMENT [==[${ENVIRONMENT}]==])\n")
		if(case MATCHES "serial")
			string(APPEND script "set_tests_properties([==[${name}]==] PROPERTIES RUN_SERIAL ON)\n")
		endif()
	endforeach()
endforeach()
file(WRITE "${OUT}" "${script}")
