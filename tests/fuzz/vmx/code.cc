// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/vmx/code.h"

#include <array>

#include "tests/fuzz/vmx/descriptors.h"
#include "vmx/cpu_state.h"

namespace nestor::fuzz {
namespace {

using vmx::Field;

unsigned code_bits(const Draft& draft) {
  const vmx::AccessRights rights{static_cast<uint32_t>(draft.get(Field::kGuestCsAccessRights))};
  const bool long_mode = draft.vmcs().has(vmx::VmEntryControl::kIa32eModeGuest);
  if (long_mode && rights.long_mode()) return 64;
  return rights.default_big() ? 32 : 16;
}

constexpr auto kReads = AccessKind::kReads, kWrites = AccessKind::kWrites;

// With an operand in memory: opcode, then ModR/M.
struct WithOperand {
  std::array<uint8_t, 3> opcode;  // zeros in front do not count
  uint8_t reg;                    // of ModR/M; 0xff: any
  uint8_t immediate;              // bytes
  std::optional<AccessKind> kind;
  bool not_64_bit = false;
};
constexpr uint8_t kAny = 0xff;
constexpr std::array kWithOperand = {
    WithOperand{{0x8b}, kAny, 0, kReads},               // MOV register, memory
    WithOperand{{0x89}, kAny, 0, kWrites},              // MOV memory, register
    WithOperand{{0x88}, kAny, 0, kWrites},              // of 1 byte
    WithOperand{{0x01}, kAny, 0, kWrites},              // ADD memory, register
    WithOperand{{0x03}, kAny, 0, kReads},               // ADD register, memory
    WithOperand{{0x39}, kAny, 0, kReads},               // CMP
    WithOperand{{0xff}, 0, 0, kWrites},                 // INC
    WithOperand{{0xff}, 2, 0, {}},                      // CALL
    WithOperand{{0xff}, 4, 0, {}},                      // JMP
    WithOperand{{0xff}, 6, 0, {}},                      // PUSH
    WithOperand{{0x8f}, 0, 0, {}},                      // POP
    WithOperand{{0xf7}, 3, 0, kWrites},                 // NEG
    WithOperand{{0xf6}, 4, 0, kReads},                  // MUL
    WithOperand{{0xc6}, 0, 1, kWrites},                 // MOV memory, immediate
    WithOperand{{0x8c}, 3, 0, kWrites},                 // MOV memory, DS
    WithOperand{{0x8d}, kAny, 0, {}},                   // LEA
    WithOperand{{0x62}, kAny, 0, kReads, true},         // BOUND
    WithOperand{{0x0f, 0xb6}, kAny, 0, kReads},         // MOVZX
    WithOperand{{0x0f, 0xb1}, kAny, 0, kWrites},        // CMPXCHG
    WithOperand{{0xf0, 0x0f, 0xc1}, kAny, 0, kWrites},  // LOCK XADD
    WithOperand{{0x0f, 0xc7}, 1, 0, kWrites},           // CMPXCHG8B
    WithOperand{{0x0f, 0xa3}, kAny, 0, kReads},         // BT
    WithOperand{{0x0f, 0xab}, kAny, 0, kWrites},        // BTS
    WithOperand{{0x0f, 0xba}, 6, 1, kWrites},           // BTR memory, immediate
    WithOperand{{0x0f, 0x10}, kAny, 0, kReads},         // MOVUPS
    WithOperand{{0x0f, 0x28}, kAny, 0, kReads},         // MOVAPS
    WithOperand{{0x0f, 0x29}, kAny, 0, kWrites},        // MOVAPS to memory
    WithOperand{{0x0f, 0x58}, kAny, 0, kReads},         // ADDPS
};

// Without; zeros behind do not count.
struct Without {
  std::array<uint8_t, 4> code;
  uint8_t size;
  std::optional<AccessKind> kind;
  bool not_64_bit = false;
};
constexpr std::array kWithout = {
    Without{{0x50}, 1, kWrites},                    // PUSH RAX
    Without{{0x56}, 1, kWrites},                    // PUSH RSI
    Without{{0x59}, 1, kReads},                     // POP RCX
    Without{{0x5a}, 1, kReads},                     // POP RDX
    Without{{0x60}, 1, kWrites, true},              // PUSHA
    Without{{0x61}, 1, kReads, true},               // POPA
    Without{{0x9c}, 1, kWrites},                    // PUSHF
    Without{{0xc8, 0x10, 0x00, 0x00}, 4, kWrites},  // ENTER 16, 0
    Without{{0xc8, 0x08, 0x00, 0x02}, 4, {}},       // ENTER 8, 2
    Without{{0xc9}, 1, kReads},                     // LEAVE
    Without{{0x83, 0xc4, 0x08}, 3, {}},             // ADD ESP, 8
    Without{{0x83, 0xec, 0x0c}, 3, {}},             // SUB ESP, 12
    Without{{0x83, 0xc3, 0x04}, 3, {}},             // ADD EBX, 4
    Without{{0x83, 0xe6, 0xf0}, 3, {}},             // AND ESI, -16
    Without{{0x89, 0xde}, 2, {}},                   // MOV ESI, EBX
    Without{{0x89, 0xe5}, 2, {}},                   // MOV EBP, ESP
    Without{{0x87, 0xe5}, 2, {}},                   // XCHG EBP, ESP
    Without{{0xff, 0xc7}, 2, {}},                   // INC EDI
    Without{{0xd7}, 1, kReads},                     // XLAT
    Without{{0xac}, 1, kReads},                     // LODSB
    Without{{0xab}, 1, kWrites},                    // STOSD
    Without{{0xa5}, 1, {}},                         // MOVSD
    Without{{0xa6}, 1, kReads},                     // CMPSB
    Without{{0xaf}, 1, kReads},                     // SCASD
    Without{{0xf3, 0xab}, 2, {}},                   // REP STOSD
    Without{{0xf3, 0xa4}, 2, {}},                   // REP MOVSB
    Without{{0xfd}, 1, {}},                         // STD
    Without{{0xfc}, 1, {}},                         // CLD
    Without{{0xeb, 0x00}, 2, {}},                   // JMP
    Without{{0x75, 0x00}, 2, {}},                   // JNE
    Without{{0xe2, 0x00}, 2, {}},                   // LOOP
    Without{{0x90}, 1, {}},                         // NOP
};

}  // namespace

Code::Code(const Draft& draft)
    : bits_(code_bits(draft)), base_(kCode - draft.get(Field::kGuestRip)) {}

void Code::add(std::span<const uint8_t> code, std::optional<AccessKind> kind) {
  starts_.push_back(here());
  if (kind) accesses_[here()] = *kind;
  bytes_.insert(bytes_.end(), code.begin(), code.end());
}

void Code::add(std::initializer_list<unsigned> code, uint64_t immediate, unsigned size,
               std::optional<AccessKind> kind) {
  std::vector<uint8_t> bytes;
  for (const unsigned byte : code) bytes.push_back(static_cast<uint8_t>(byte));
  for (unsigned i = 0; i < size; ++i) bytes.push_back(static_cast<uint8_t>(immediate >> (8 * i)));
  add(bytes, kind);
}

void Code::move_to_ax(uint16_t value) {
  if (bits_ == 16) return add({0xb8}, value, 2);
  add({0x66, 0xb8}, value, 2);
}

void Code::push(uint64_t value) { add({0x68}, value, bits_ == 16 ? 2 : 4, AccessKind::kWrites); }

unsigned Code::operand(Base base, unsigned reg) const {
  constexpr std::array<uint8_t, 4> kWide = {3, 6, 7, 5}, kNarrow = {7, 4, 5, 6};
  return 0x40u | reg << 3 | (bits_ == 16 ? kNarrow : kWide)[base];
}

void add_plain(Draft& draft, Code& code) {
  Random& random = draft.random;
  if (random.one_in(2)) {
    const Without& chosen = random.of(kWithout);
    if (chosen.not_64_bit && code.bits() == 64) return;
    code.add(std::span(chosen.code).first(chosen.size), chosen.kind);
    return;
  }
  const WithOperand& chosen = random.of(kWithOperand);
  if (chosen.not_64_bit && code.bits() == 64) return;
  std::vector<uint8_t> bytes;
  constexpr std::array<uint8_t, 7> kPrefixes = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66};
  if (random.one_in(4)) bytes.push_back(random.of(kPrefixes));
  for (const uint8_t byte : chosen.opcode)
    if (byte != 0) bytes.push_back(byte);
  constexpr std::array kBases = {Code::kRbx, Code::kRbx, Code::kRsi, Code::kRdi, Code::kRbp};
  const unsigned reg = chosen.reg == kAny ? static_cast<unsigned>(random.below(3)) : chosen.reg;
  bytes.push_back(static_cast<uint8_t>(code.operand(random.of(kBases), reg)));
  bytes.push_back(static_cast<uint8_t>(random.one_in(4) ? random.bits() : 4 * random.below(5)));
  for (unsigned i = 0; i < chosen.immediate; ++i)
    bytes.push_back(static_cast<uint8_t>(random.below(40)));
  code.add(bytes, chosen.kind);
  // Of the flags that BT and its kin leave undefined the engine makes one thing or another.
  const bool tests_bits = chosen.opcode[0] == 0x0f && (chosen.opcode[1] & 0xe0) == 0xa0;
  if (tests_bits) code.add({0x85, 0xc0});  // TEST EAX, EAX
}

namespace {

// Words of the data page for far pointers and selectors.
constexpr unsigned kSlots = 4, kFirstSlot = 0x40;

// A far pointer in memory: the displacement of its slot from kData.
unsigned far_pointer(Draft& draft, const Code& code, uint64_t offset, uint16_t selector) {
  const auto slot = static_cast<unsigned>(kFirstSlot + 8 * draft.random.below(kSlots));
  const unsigned width = code.bits() == 16 ? 2 : 4;
  draft.put(kData + slot, offset, width);
  draft.put(kData + slot + width, selector, 2);
  return slot;
}

// Where far transfers lead: on, or to one of the handlers, which executes VMCALL.
uint64_t target(Draft& draft, uint64_t behind) {
  return draft.random.one_in(3) ? kHandlers + 8 * draft.random.below(32) : behind;
}

void add_segment_load(Draft& draft, Code& code) {
  Random& random = draft.random;
  constexpr auto kDescriptors = AccessKind::kDescriptors;
  const bool legacy = code.bits() != 64;
  switch (random.below(4)) {
    case 0:
    case 1: {
      constexpr std::array<uint8_t, 6> kSegments = {0, 2, 2, 3, 4, 5};
      code.move_to_ax(choose_selector(draft));
      code.add({0x8e, 0xc0u | random.of(kSegments) << 3u}, 0, 0, kDescriptors);
      break;
    }
    case 2:
      code.push(choose_selector(draft));
      switch (random.below(5)) {
        case 0:
          return code.add({0x0f, 0xa1});  // POP FS
        case 1:
          return code.add({0x0f, 0xa9});  // POP GS
        case 2:
          return legacy ? code.add({0x17}) : code.add({0x0f, 0xa1});  // POP SS
        case 3:
          return legacy ? code.add({0x07}) : code.add({0x0f, 0xa9});  // POP ES
        default:
          return legacy ? code.add({0x1f}) : code.add({0x0f, 0xa1});  // POP DS
      }
    default: {
      // LSS, LFS, LGS, and LES, LDS.
      const unsigned slot =
          far_pointer(draft, code, kStack + 0xe00 - code.base(), choose_selector(draft));
      constexpr std::array<uint8_t, 3> kOpcodes = {0xb2, 0xb4, 0xb5};
      if (legacy && random.one_in(3))
        return code.add(
            {0xc4u + static_cast<unsigned>(random.below(2)), code.operand(Code::kRbx, 1), slot});
      return code.add(
          {0x0f, random.of(kOpcodes), code.operand(Code::kRbx, random.one_in(2) ? 4 : 1), slot});
    }
  }
}

// The instruction that leads to `selector`, and where it does not return to.
void add_far_transfer(Draft& draft, Code& code) {
  Random& random = draft.random;
  const Choice choice = choose_code_or_gate(draft);
  const bool narrow = code.bits() == 16;
  const unsigned reg = random.one_in(2) ? 3 : 5;  // CALL, JMP
  if (code.bits() != 64 && random.one_in(2)) {
    const unsigned width = narrow ? 2 : 4;
    const uint64_t offset = target(draft, code.here() + 1 + width + 2) - choice.base;
    code.add({reg == 3 ? 0x9au : 0xeau},
             (offset & ((1ull << (8 * width)) - 1)) | uint64_t{choice.selector} << (8 * width),
             width + 2);
    return;
  }
  const bool wide = code.bits() == 64 && random.one_in(3);
  const uint64_t offset = target(draft, code.here() + (wide ? 4 : 3)) - choice.base;
  const unsigned slot = far_pointer(draft, code, offset, choice.selector);
  if (wide) return code.add({0x48, 0xff, code.operand(Code::kRbx, reg), slot});
  code.add({0xff, code.operand(Code::kRbx, reg), slot});
}

// Pushes a frame and returns to it.
void add_far_return(Draft& draft, Code& code) {
  Random& random = draft.random;
  const Choice choice = choose_code_or_gate(draft);
  const bool interrupt = random.one_in(2), wide = code.bits() == 64;
  constexpr std::array<uint64_t, 6> kStacks = {kStack + 0xe00, kStack + 0xe00, kStack + 0xe00,
                                               kStack,         kStack + 4,     kArenaEnd};
  code.push(choose_data_selector(draft));
  code.push(random.of(kStacks) - code.base());
  if (interrupt) {
    constexpr std::array<uint64_t, 8> kFlags = {0x002,  0x202,  0x102, 0x10002,
                                                0x4002, 0x3002, 0x46,  0x20002};
    code.push(random.of(kFlags));
  }
  code.push(choice.selector);
  // PUSH of the offset, and the return.
  const unsigned push = code.bits() == 16 ? 3 : 5;
  const bool prefix = wide && !random.one_in(4);
  const bool pops = !interrupt && random.one_in(3);
  const unsigned size = push + (prefix ? 1 : 0) + (pops ? 3 : 1);
  code.push(target(draft, code.here() + size) - choice.base);
  const unsigned opcode = interrupt ? 0xcf : pops ? 0xca : 0xcb;
  const uint64_t bytes = 4 * random.below(3);
  if (prefix) return code.add({0x48, opcode}, bytes, pops ? 2 : 0);
  code.add({opcode}, bytes, pops ? 2 : 0);
}

}  // namespace

void add_descriptor_use(Draft& draft, Code& code) {
  Random& random = draft.random;
  constexpr auto kDescriptors = AccessKind::kDescriptors;
  switch (random.below(12)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return add_segment_load(draft, code);
    case 4:
    case 5:
    case 6:
      return add_far_transfer(draft, code);
    case 7:
    case 8:
      return add_far_return(draft, code);
    case 9: {
      // LAR, LSL; SLDT, STR, LLDT, LTR, VERR, VERW.
      code.move_to_ax(choose_selector(draft));
      const auto reg = static_cast<unsigned>(random.below(6));
      if (random.one_in(2)) return code.add({0x0f, 2u + reg % 2, 0xc8}, 0, 0, kDescriptors);
      return code.add({0x0f, 0x00, 0xc0u | reg << 3}, 0, 0,
                      reg < 2 ? std::nullopt : std::optional(kDescriptors));
    }
    case 10: {
      constexpr std::array<uint8_t, 5> kVectors = {0x80, 0x20, 3, 13, 0x30};
      return code.add({0xcd}, random.of(kVectors), 1);
    }
    default: {
      constexpr std::array<uint64_t, 10> kFlags = {0x002,   0x102,   0x202,   0x3002, 0x4002,
                                                   0x10002, 0x40002, 0x20002, 0x302,  0x100002};
      code.push(random.of(kFlags));
      return code.add({0x9d});  // POPF
    }
  }
}

}  // namespace nestor::fuzz
