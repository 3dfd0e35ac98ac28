# SPDX-License-Identifier: GPL-2.0-or-later
# The libraries that emu/ is built on; docs/dependencies.md says why each is here.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# nestor_require_library(PREFIX MODULE MINIMUM DEBIAN_PACKAGE) defines PkgConfig::PREFIX.
function(nestor_require_library prefix module minimum package)
  pkg_check_modules(${prefix} QUIET IMPORTED_TARGET GLOBAL ${module})
  if(NOT ${prefix}_FOUND)
    message(FATAL_ERROR
      "${module} is missing: ${module} >= ${minimum} is needed, install ${package} or run scripts/setup")
  elseif(${prefix}_VERSION VERSION_LESS minimum)
    message(FATAL_ERROR
      "${module} ${${prefix}_VERSION} is too old: >= ${minimum} is needed, run scripts/setup")
  endif()
  message(STATUS "Found ${module} ${${prefix}_VERSION}")
endfunction()

nestor_require_library(UNICORN unicorn 2.1.4 libunicorn-dev)
nestor_require_library(CAPSTONE capstone 5.0 libcapstone-dev)
nestor_require_library(ZSTD libzstd 1.4.0 libzstd-dev)
nestor_require_library(ZLIB zlib 1.2.11 zlib1g-dev)
nestor_require_library(SLIRP slirp 4.7.0 libslirp-dev)
nestor_require_library(PNG libpng 1.6.37 libpng-dev)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)

# For a package that is installed where these are older, newer or not to be had.
option(NESTOR_SELF_CONTAINED
       "Link Unicorn, Capstone, spdlog and fmt into the programs instead of needing them there" OFF)
add_library(nestor_log INTERFACE)
if(NESTOR_SELF_CONTAINED)
  target_link_libraries(nestor_log INTERFACE fmt::fmt-header-only Threads::Threads)
  target_compile_definitions(nestor_log INTERFACE SPDLOG_FMT_EXTERNAL)
  foreach(library UNICORN CAPSTONE)
    find_library(NESTOR_${library}_ARCHIVE NAMES lib${${library}_MODULE_NAME}.a
                 HINTS ${${library}_LIBRARY_DIRS} ${${library}_LIBDIR} REQUIRED)
    set_property(TARGET PkgConfig::${library} PROPERTY
                 INTERFACE_LINK_LIBRARIES "${NESTOR_${library}_ARCHIVE}" Threads::Threads m)
  endforeach()
  # The archive may come from a newer assembler, which marks PUSH of a GOT entry as relaxable;
  # binutils 2.40's linker makes a CALL of that (R_X86_64_GOTPCRELX).
  set_property(TARGET PkgConfig::UNICORN APPEND PROPERTY INTERFACE_LINK_OPTIONS -Wl,--no-relax)
else()
  target_link_libraries(nestor_log INTERFACE spdlog::spdlog)
endif()

find_program(NESTOR_IASL iasl)
if(NOT NESTOR_IASL)
  message(FATAL_ERROR "iasl is missing: install acpica-tools or run scripts/setup")
endif()

# Of the page of nestor view; without them nestor has none.
find_program(NESTOR_NODE node)
find_program(NESTOR_NPM npm)
