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
//
// A few instructions stand in the test: ASM64("mov eax, 1; out 0xf4, eax") is a vector of their
// bytes, and ASM32 and ASM16 are for the other modes. The syntax is Intel's; labels are numbers
// from 2 on, as in ASM64("2: dec ecx; jne 2b"); %, {, | and } are to be written %%, %{, %| and %}.
// What the assembler would encode otherwise stays bytes.
#pragma once

#include <cstdint>
#include <vector>

#define NESTOR_ASSEMBLED(name)                                                                \
  extern "C" const uint8_t nestor_code_##name[], nestor_code_end_##name[];                    \
  namespace nestor::emu::assembled {                                                          \
  inline std::vector<uint8_t> name() { return {nestor_code_##name, nestor_code_end_##name}; } \
  }                                                                                           \
  static_assert(true)

#define ASM64(text) NESTOR_ASSEMBLE(".code64", text)
#define ASM32(text) NESTOR_ASSEMBLE(".code32", text)
#define ASM16(text) NESTOR_ASSEMBLE(".code16", text)

// The bytes are read-only data; each place that this is inlined into has its own.
#define NESTOR_ASSEMBLE(mode, text)                                          \
  [] {                                                                       \
    const uint8_t *assembled_begin, *assembled_end;                          \
    __asm__(                                                                 \
        "lea 771f(%%rip), %0\n\tlea 772f(%%rip), %1\n"                       \
        ".pushsection .rodata\n.intel_syntax noprefix\n" mode "\n771: " text \
        "\n772:\n.att_syntax prefix\n.code64\n.popsection"                   \
        : "=r"(assembled_begin), "=r"(assembled_end));                       \
    return std::vector<uint8_t>(assembled_begin, assembled_end);             \
  }()
