// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/vmx/instructions.h"

#include <string_view>
#include <vector>

namespace nestor::fuzz {
namespace {

struct Entry {
  std::string_view code;
  bool depends_on_model = false;
};

#define CODE(bytes) std::string_view(bytes, sizeof(bytes) - 1)

const Entry kEntries[] = {
    {CODE("\x90")},      // NOP
    {CODE("\x0f\xa2")},  // CPUID
    {CODE("\xf4")},      // HLT
    {CODE("\xfb\xf4")},  // STI, HLT
    {CODE("\xf3\x90")},  // PAUSE
    // RDTSC, with nothing left of the value in any mode
    {CODE("\x0f\x31\x66\x31\xc0\x31\xc0\x66\x31\xd2\x31\xd2")},
    {CODE("\x0f\x01\xf9\x31\xc0\x31\xd2\x31\xc9"), true},  // RDTSCP
    {CODE("\x0f\x33"), true},                              // RDPMC
    {CODE("\x0f\x08")},                                    // INVD
    {CODE("\x0f\x09")},                                    // WBINVD
    {CODE("\x0f\x32")},                                    // RDMSR
    {CODE("\x0f\x30")},                                    // WRMSR
    {CODE("\x0f\x01\x3b")},                                // INVLPG [RBX]
    {CODE("\x0f\x20\xc0")},                                // MOV RAX, CR0
    {CODE("\x0f\x20\xd0")},                                // MOV RAX, CR2
    {CODE("\x0f\x20\xda")},                                // MOV RDX, CR3
    {CODE("\x0f\x20\xe6")},                                // MOV RSI, CR4
    {CODE("\x0f\x22\xc0")},                                // MOV CR0, RAX
    {CODE("\x0f\x22\xd8")},                                // MOV CR3, RAX
    {CODE("\x0f\x22\xe0")},                                // MOV CR4, RAX
    {CODE("\x0f\x20\xc0\x0f\x22\xc0")},                    // CR0 as it is
    {CODE("\x0f\x20\xd8\x0f\x22\xd8")},                    // CR3 as it is
    {CODE("\x0f\x20\xe0\x0f\x22\xe0")},                    // CR4 as it is
    {CODE("\x0f\x20\xc0\x34\x0a\x0f\x22\xc0")},            // CR0 with MP and TS inverted
    {CODE("\x44\x0f\x20\xc0")},                            // MOV RAX, CR8
    {CODE("\x44\x0f\x22\xc0")},                            // MOV CR8, RAX
    {CODE("\x0f\x21\xf8")},                                // MOV RAX, DR7
    {CODE("\x0f\x21\xc2")},                                // MOV RDX, DR0
    {CODE("\x0f\x23\xc3")},                                // MOV DR0, RBX
    {CODE("\x0f\x23\xe3")},                                // MOV DR4, RBX
    {CODE("\xec")},                                        // IN AL, DX
    {CODE("\xed")},                                        // IN EAX, DX
    {CODE("\x66\xed")},                                    // IN AX, DX
    {CODE("\xee")},                                        // OUT DX, AL
    {CODE("\xe6\x80")},                                    // OUT 80H, AL
    {CODE("\xe5\x80")},                                    // IN EAX, 80H
    {CODE("\x6c")},                                        // INSB
    {CODE("\x6f")},                                        // OUTSD
    {CODE("\xf3\x6e")},                                    // REP OUTSB
    {CODE("\x0f\x06")},                                    // CLTS
    {CODE("\x0f\x01\xf0")},                                // LMSW AX
    {CODE("\x0f\x01\x33")},                                // LMSW [RBX]
    {CODE("\x0f\x01\xe0")},                                // SMSW EAX
    {CODE("\x0f\x01\x23")},                                // SMSW [RBX]
    {CODE("\x0f\x01\x03")},                                // SGDT [RBX]
    {CODE("\x0f\x01\x4b\x10")},                            // SIDT [RBX + 16]
    {CODE("\x0f\x01\x53\x30")},                            // LGDT [RBX + 48]
    {CODE("\x0f\x00\xc0")},                                // SLDT EAX
    {CODE("\x0f\x00\x0b")},                                // STR [RBX]
    {CODE("\x31\xc0\x0f\x00\xd0")},                        // LLDT of a null selector
    {CODE("\x0f\x00\xd8")},                                // LTR AX
    {CODE("\x0f\x00\xe0")},                                // VERR AX
    {CODE("\x0f\x02\xc2")},                                // LAR EAX, EDX
    {CODE("\xcc")},                                        // INT3
    {CODE("\xcd\x03")},                                    // INT 3
    {CODE("\xcd\x80")},                                    // INT 80H
    {CODE("\xf1")},                                        // INT1
    {CODE("\xce")},                                        // INTO
    {CODE("\x0f\x0b")},                                    // UD2
    {CODE("\xcf")},                                        // IRET
    {CODE("\x48\xcf")},                                    // IRETQ
    {CODE("\x50")},                                        // PUSH RAX
    {CODE("\x58")},                                        // POP RAX
    {CODE("\x9c\x9d")},                                    // PUSHF, POPF
    {CODE("\x6a\x01\x9d")},                                // PUSH 1, POPF
    {CODE("\xff\x1b")},                                    // CALL FAR [RBX]
    {CODE("\xcb")},                                        // RETF
    {CODE("\xc3")},                                        // RET
    {CODE("\x0f\x05")},                                    // SYSCALL
    {CODE("\x0f\x07")},                                    // SYSRET
    {CODE("\x0f\x34")},                                    // SYSENTER
    {CODE("\x0f\x01\xc1")},                                // VMCALL
    {CODE("\x0f\x01\xc2")},                                // VMLAUNCH
    {CODE("\x0f\x01\xc3")},                                // VMRESUME
    {CODE("\x0f\x01\xc4")},                                // VMXOFF
    {CODE("\x0f\x01\xd4")},                                // VMFUNC
    {CODE("\x31\xc0\x31\xc9\x0f\x01\xd4")},                // VMFUNC 0, entry 0
    {CODE("\x31\xc0\x31\xc9\xff\xc1\x0f\x01\xd4")},
    {CODE("\x0f\x78\xc8")},                // VMREAD RAX, RCX
    {CODE("\x0f\x78\x0b")},                // VMREAD [RBX], RCX
    {CODE("\x0f\x79\xc8")},                // VMWRITE RCX, RAX
    {CODE("\x0f\xc7\x33")},                // VMPTRLD [RBX]
    {CODE("\x66\x0f\xc7\x33")},            // VMCLEAR [RBX]
    {CODE("\xf3\x0f\xc7\x33")},            // VMXON [RBX]
    {CODE("\x0f\xc7\x7b\x08")},            // VMPTRST [RBX + 8]
    {CODE("\x66\x0f\x38\x80\x03")},        // INVEPT RAX, [RBX]
    {CODE("\x66\x0f\x38\x81\x03")},        // INVVPID RAX, [RBX]
    {CODE("\x66\x0f\x38\x82\x03"), true},  // INVPCID RAX, [RBX]
    {CODE("\x8b\x03")},                    // MOV EAX, [RBX]
    {CODE("\x89\x03")},                    // MOV [RBX], EAX
    {CODE("\x8b\x07")},                    // MOV EAX, [RDI]
    {CODE("\x89\x07")},                    // MOV [RDI], EAX
    {CODE("\x01\x45\x00")},                // ADD [RBP], EAX
    {CODE("\xf0\xff\x07")},                // LOCK INC [RDI]
    {CODE("\x0f\xb0\x17")},                // CMPXCHG [RDI], DL
    {CODE("\xff\xe7")},                    // JMP RDI
    {CODE("\xff\xd5")},                    // CALL RBP
    {CODE("\xf3\xa4")},                    // REP MOVSB, RCX times
    {CODE("\xaa")},                        // STOSB
    {CODE("\x66\x8c\xd0\x8e\xd0")},        // SS as it is
    {CODE("\x8e\xd8")},                    // MOV DS, AX
    {CODE("\x31\xc9\xf7\xf1")},            // division by zero
    {CODE("\x0f\x01\xd1"), true},          // XSETBV
    {CODE("\x0f\x01\xc8"), true},          // MONITOR
    {CODE("\x0f\x01\xc9"), true},          // MWAIT
    {CODE("\x0f\xc7\xf0"), true},          // RDRAND EAX
    {CODE("\x0f\xc7\xf8"), true},          // RDSEED EAX
    {CODE("\x0f\x01\xf8")},                // SWAPGS
    {CODE("\x0f\x01\xca"), true},          // CLAC
    {CODE("\xfa")},                        // CLI
    {CODE("\xfb")},                        // STI
    {CODE("\xeb\x00")},                    // a jump
};

std::vector<std::span<const uint8_t>> list(bool all) {
  std::vector<std::span<const uint8_t>> codes;
  for (const Entry& entry : kEntries)
    if (all || !entry.depends_on_model)
      codes.emplace_back(reinterpret_cast<const uint8_t*>(entry.code.data()), entry.code.size());
  return codes;
}

}  // namespace

std::span<const std::span<const uint8_t>> instructions(bool all) {
  static const auto kAll = list(true), kSame = list(false);
  return all ? kAll : kSame;
}

}  // namespace nestor::fuzz
