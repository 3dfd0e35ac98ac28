# SPDX-License-Identifier: GPL-2.0-or-later
# What `cmake --install` copies; docs/install.md. A program or image that was not built is left out.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

if(TARGET nestor-bin)
  # The man page and the shell completion are made from --help of the program as it was built.
  set(files "${PROJECT_BINARY_DIR}/install")
  set(describe "${PROJECT_SOURCE_DIR}/scripts/describe-program")
  install(TARGETS nestor-bin RUNTIME)
  install(CODE "
    file(MAKE_DIRECTORY \"${files}\")
    foreach(kind man bash fish)
      execute_process(COMMAND \"${describe}\" \${kind} \"${PROJECT_BINARY_DIR}/bin/nestor\"
                      OUTPUT_FILE \"${files}/nestor.\${kind}\" COMMAND_ERROR_IS_FATAL ANY)
    endforeach()")
  install(FILES "${files}/nestor.man" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" RENAME nestor.1)
  install(FILES "${files}/nestor.bash" RENAME nestor
          DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")
  install(FILES "${files}/nestor.fish"
          DESTINATION "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d")
endif()
if(TARGET nestor-qemu)
  install(TARGETS nestor-qemu RUNTIME OPTIONAL)
endif()
if(TARGET nestor-kvm)
  install(TARGETS nestor-kvm RUNTIME OPTIONAL)
  install(CODE "
    if(EXISTS \"${PROJECT_BINARY_DIR}/bin/nestor-kvm\")
      execute_process(COMMAND \"${describe}\" man \"${PROJECT_BINARY_DIR}/bin/nestor-kvm\"
                      OUTPUT_FILE \"${files}/nestor-kvm.man\" COMMAND_ERROR_IS_FATAL ANY)
    endif()")
  install(FILES "${files}/nestor-kvm.man" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1"
          RENAME nestor-kvm.1 OPTIONAL)
endif()
if(TARGET guest-images)
  get_target_property(images guest-images NESTOR_IMAGES)
  install(FILES ${images} DESTINATION "${CMAKE_INSTALL_DATADIR}/nestor/guest-images" OPTIONAL)
endif()

# The documents, as far as users of the programs need them, in the same places as in the tree, for
# they name each other.
install(FILES README.md CHANGELOG.md LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(DIRECTORY docs ept guest-images DESTINATION "${CMAKE_INSTALL_DOCDIR}"
        FILES_MATCHING PATTERN "*.md" PATTERN "docs/images/*" PATTERN "docs/examples/*"
        PATTERN "guest-images/abi" EXCLUDE PATTERN "guest-images/lib" EXCLUDE)

# The page walker as a library of its own: find_package(nestor_ept), target nestor::ept.
set(package "${CMAKE_INSTALL_LIBDIR}/cmake/nestor_ept")
set_target_properties(nestor_ept PROPERTIES EXPORT_NAME ept)
install(TARGETS nestor_ept EXPORT nestor_ept ARCHIVE
        INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/nestor")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/ept" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/nestor"
        FILES_MATCHING PATTERN "*.h")
install(EXPORT nestor_ept NAMESPACE nestor:: FILE nestor_eptConfig.cmake DESTINATION "${package}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/nestor_eptConfigVersion.cmake"
  VERSION "${PROJECT_VERSION}" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/nestor_eptConfigVersion.cmake" DESTINATION "${package}")

# The prefix is that of the file, wherever it is installed.
cmake_path(SET pkgconfig NORMALIZE "/${CMAKE_INSTALL_LIBDIR}/pkgconfig")
file(RELATIVE_PATH to_prefix "${pkgconfig}" "/")
configure_file("${CMAKE_CURRENT_LIST_DIR}/nestor_ept.pc.in" "${PROJECT_BINARY_DIR}/nestor_ept.pc"
               @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/nestor_ept.pc"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
