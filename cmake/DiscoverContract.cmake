# SPDX-License-Identifier: BSD-3-Clause
# Ask a contract suite for its cases and write one ctest test for each case and subject.
# In: PROGRAM NAME SUBJECTS PREFIX OUT ENVIRONMENT LAUNCHER (lists with commas).

foreach(list SUBJECTS ENVIRONMENT LAUNCHER)
	string(REPLACE "," ";" ${list} "${${list}}")
endforeach()

# The cases of one subject, or of the suite.
function(list_cases out)
	execute_process(COMMAND ${LAUNCHER} "${PROGRAM}" --list ${ARGN}
		OUTPUT_VARIABLE output ERROR_VARIABLE output_err RESULT_VARIABLE status)
	string(REGEX MATCHALL "[^\n]+" cases "${output}")
	if(NOT status EQUAL 0 OR NOT cases)
		message(FATAL_ERROR
			"'${PROGRAM} --list ${ARGN}' named no cases (status ${status}): ${output_err}")
	endif()
	set(${out} "${cases}" PARENT_SCOPE)
endfunction()

set(script "")
function(add_case name)
	set(name "${PREFIX}contract.${name}")
	set(command "")
	foreach(word ${LAUNCHER} "${PROGRAM}" ${ARGN})
		string(APPEND command " [==[${word}]==]")
	endforeach()
	string(APPEND script "add_test([==[${name}]==]${command})\n"
		"set_tests_properties([==[${name}]==] PROPERTIES LABELS contract TIMEOUT 60"
		" SKIP_RETURN_CODE 77 ENVIRONMENT [==[${ENVIRONMENT}]==])\n")
	if(name MATCHES "serial|deadline|killed|frozen|too_late|a_broken_off_write_ends") # they measure time
		string(APPEND script "set_tests_properties([==[${name}]==] PROPERTIES RUN_SERIAL ON)\n")
	endif()
	set(script "${script}" PARENT_SCOPE)
endfunction()

foreach(subject ${SUBJECTS})
	list_cases(cases ${subject})
	foreach(case ${cases})
		add_case(${subject}.${case} ${subject} ${case})
	endforeach()
endforeach()
if(NOT SUBJECTS)
	list_cases(cases)
	foreach(case ${cases})
		add_case(${NAME}.${case} ${case})
	endforeach()
endif()
file(WRITE "${OUT}" "${script}")
