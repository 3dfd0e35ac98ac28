# SPDX-License-Identifier: GPL-2.0-or-later
# The page of `nestor view`, whose sources are in view/.

# nestor_make_page(OUTPUT): the rule that makes the page. view/build explains what happens where it
# cannot be made.
function(nestor_make_page output)
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/view/src/*")
  cmake_path(GET output PARENT_PATH folder)
  add_custom_command(
    OUTPUT "${output}"
    COMMAND "${PROJECT_SOURCE_DIR}/view/build" "${NESTOR_NODE}" "${NESTOR_NPM}" "${folder}"
    DEPENDS ${sources} "${PROJECT_SOURCE_DIR}/view/build" "${PROJECT_SOURCE_DIR}/view/bundle.mjs"
            "${PROJECT_SOURCE_DIR}/view/package-lock.json"
            "${PROJECT_SOURCE_DIR}/view/tsconfig.json"
    COMMENT "Making the page of nestor view"
    VERBATIM)
endfunction()
