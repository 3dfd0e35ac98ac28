# SPDX-License-Identifier: GPL-2.0-or-later
# What every host target has in common. The guest images are freestanding and take none of it.

# A compiler newer than the one that the tree is held to may warn of more; that stops nobody.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  set(nestor_known_compiler ON)
else()
  set(nestor_known_compiler OFF)
endif()
option(NESTOR_WERROR "Treat warnings as errors" ${nestor_known_compiler})

set(nestor_warnings -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion)
if(NESTOR_WERROR)
  list(APPEND nestor_warnings -Werror)
endif()

add_library(nestor_host_options INTERFACE)
target_compile_features(nestor_host_options INTERFACE cxx_std_20)
target_compile_options(nestor_host_options INTERFACE ${nestor_warnings})
if(NESTOR_SANITIZE)
  set(nestor_sanitize_flags
      -fsanitize=${NESTOR_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(nestor_host_options INTERFACE ${nestor_sanitize_flags})
  target_link_options(nestor_host_options INTERFACE ${nestor_sanitize_flags})
endif()

# nestor_add_room(TARGET SOURCE...): the library of one room. A room of headers alone is an
# interface library, so that it links the same way whether it has sources or not.
function(nestor_add_room target)
  if(ARGN)
    add_library(${target} STATIC ${ARGN})
    target_include_directories(${target} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>")
    target_link_libraries(${target} PRIVATE "$<BUILD_INTERFACE:nestor_host_options>")
  else()
    add_library(${target} INTERFACE)
    target_include_directories(${target} INTERFACE "${PROJECT_SOURCE_DIR}")
  endif()
endfunction()

# nestor_link_room(TARGET LIBRARY...): what the room's users get along with it.
function(nestor_link_room target)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "INTERFACE_LIBRARY")
    target_link_libraries(${target} INTERFACE ${ARGN})
  else()
    target_link_libraries(${target} PUBLIC ${ARGN})
  endif()
endfunction()

option(NESTOR_UNITY "Compile the sources of some folders together" ON)

# nestor_compile_together(TARGET PATTERN...): compiles all sources of TARGET that match a pattern as
# one, as most of their time goes into headers. What is in their unnamed namespaces must not clash.
function(nestor_compile_together target)
  set_target_properties(${target} PROPERTIES
    UNITY_BUILD ${NESTOR_UNITY} UNITY_BUILD_MODE GROUP)
  foreach(pattern IN LISTS ARGN)
    file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${pattern}.cc")
    string(MAKE_C_IDENTIFIER "${pattern}" group)
    set_source_files_properties(${sources} PROPERTIES UNITY_GROUP "${group}")
  endforeach()
endfunction()
