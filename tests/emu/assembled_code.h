// SPDX-License-Identifier: GPL-2.0-or-later
//
// Guest code that the system's assembler makes when the tests are built. NAME_test.S, beside
// NAME_test.cc, includes assembled_code.inc and holds it:
//     code set_to_one
//       movl $1, %eax
//     end_code
// The test says NESTOR_ASSEMBLED(set_to_one); once, outside namespaces, and gets the bytes from
// assembled::set_to_one(). Code is 64-bit unless it says .code16 or .code32. It must not refer to
// symbols outside itself, as it is copied to where the test wants it.
#pragma once

#include <cstdint>
#include <vector>

#define NESTOR_ASSEMBLED(name)                                                                \
  extern "C" const uint8_t nestor_code_##name[], nestor_code_end_##name[];                    \
  namespace nestor::emu::assembled {                                                          \
  inline std::vector<uint8_t> name() { return {nestor_code_##name, nestor_code_end_##name}; } \
  }                                                                                           \
  static_assert(true)
