# SPDX-License-Identifier: BSD-3-Clause
# What is installed, and how other projects find it: pkg-config and find_package(dlslime).

include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/dlslime")

install(TARGETS dlslime dlslime-static EXPORT dlslimeTargets
	LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
	ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
if(TARGET dlslime-agent)
	set_target_properties(dlslime-agent PROPERTIES EXPORT_NAME agent)
	install(TARGETS dlslime-agent EXPORT dlslimeTargets
		LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
endif()
if(installed_programs)
	install(TARGETS ${installed_programs} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
install(DIRECTORY include/slime DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
	FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")

install(EXPORT dlslimeTargets NAMESPACE dlslime:: DESTINATION "${package_dir}")
configure_package_config_file(cmake/dlslimeConfig.cmake.in dlslimeConfig.cmake
	INSTALL_DESTINATION "${package_dir}")
# Before 1.0 a minor version may break; the soname says the same.
write_basic_package_version_file(dlslimeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/dlslimeConfig.cmake"
	"${PROJECT_BINARY_DIR}/dlslimeConfigVersion.cmake" DESTINATION "${package_dir}")

# Relative to the file itself, so that an installed tree may be moved (and --prefix works).
set(pkgconfig_dir "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig")
file(RELATIVE_PATH prefix_from_pkgconfig "${pkgconfig_dir}" "${CMAKE_INSTALL_PREFIX}")
string(REGEX REPLACE "/$" "" prefix_from_pkgconfig "${prefix_from_pkgconfig}")
foreach(library dlslime dlslime-agent)
	if(TARGET ${library})
		configure_file(cmake/${library}.pc.in ${library}.pc @ONLY)
		install(FILES "${PROJECT_BINARY_DIR}/${library}.pc"
			DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
	endif()
endforeach()

file(GLOB man_pages CONFIGURE_DEPENDS docs/man/*.1)
if(man_pages)
	install(FILES ${man_pages} DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
endif()
file(GLOB completions CONFIGURE_DEPENDS cmd/*/completion.bash)
foreach(completion ${completions})
	get_filename_component(dir ${completion} DIRECTORY)
	get_filename_component(name ${dir} NAME)
	install(FILES ${completion} RENAME ${name}
		DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")
endforeach()
