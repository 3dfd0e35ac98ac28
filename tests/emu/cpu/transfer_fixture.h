// SPDX-License-Identifier: GPL-2.0-or-later
//
// What touches descriptors, in every mode that has them: a descriptor table that tests add to,
// stacks for each privilege level, and far pointers in all widths.
#pragma once

#include <array>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "emu/cpu/instruction_step.h"
#include "emu/cpu/segments.h"
#include "emu/cpu/stack.h"
#include "tests/emu/cpu/instruction_fixture.h"

namespace nestor::emu::test {

// The code that executes, by its code segment.
enum class Mode : uint8_t { k16, k32, kCompatibility, k64 };
inline constexpr Mode kModes[] = {Mode::k16, Mode::k32, Mode::kCompatibility, Mode::k64};
constexpr bool is_long(Mode mode) { return mode == Mode::kCompatibility || mode == Mode::k64; }
constexpr const char* name_of(Mode mode) {
  constexpr const char* kNames[] = {"16-bit", "32-bit", "compatibility", "64-bit"};
  return kNames[static_cast<unsigned>(mode)];
}

inline Bytes operator+(Bytes bytes, const Bytes& more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
  return bytes;
}

class TransferTest : public InstructionTest {
 protected:
  // A selector with this RPL, of a segment like that, at this CPL. std::nullopt: nothing is wrong.
  struct SelectorCase {
    uint8_t type;
    unsigned dpl, rpl, cpl;
    bool present;
    std::optional<uint8_t> vector;
  };

  //   2000 a far pointer   3000 LDT   4000 TSS   8000, 9000, a000, b000 stacks of levels 0 to 3
  //   10000 GDT
  static constexpr uint64_t kTable = 0x10000, kPointer = 0x2000, kLdt = 0x3000, kTask = 0x4000;
  static constexpr uint32_t kTarget = 0x1234;
  static constexpr uint64_t stack_of(unsigned level) { return 0x8000 + 0x1000 * level; }

  // Types and flags of descriptors; none has been accessed.
  static constexpr uint8_t kReadOnlyData = 0, kReadWrite = 2, kExpandDown = 6, kExecuteOnly = 8,
                           kExecuteRead = 0xa, kConformingCode = 0xe;
  static constexpr uint8_t kFlags16 = 0, kFlags32 = 0xc, kFlags64 = 0xa, kFlagsBoth = 0xe;

  // A code or data segment of 4 GBytes, or of 64 KBytes in the 16-bit kind.
  static constexpr uint64_t segment(uint8_t type, unsigned dpl, uint8_t flags = kFlags32,
                                    bool present = true, uint32_t base = 0) {
    const uint32_t limit = flags == kFlags16 ? 0xffff : 0xfffff;
    const auto access = static_cast<uint8_t>((present ? 0x90 : 0x10) | dpl << 5 | type);
    return descriptor(base, limit, access, flags);
  }
  static constexpr uint64_t system(uint8_t type, unsigned dpl, bool present = true) {
    return descriptor(0x5000, 0x67, static_cast<uint8_t>((present ? 0x80 : 0) | dpl << 5 | type),
                      0);
  }
  static constexpr uint64_t call_gate(uint16_t selector, uint32_t offset, uint8_t type,
                                      unsigned dpl, unsigned parameters = 0, bool present = true) {
    return (offset & 0xffff) | uint64_t{selector} << 16 | uint64_t{parameters} << 32 |
           uint64_t{(present ? 0x80u : 0u) | dpl << 5 | type} << 40 | uint64_t{offset >> 16} << 48;
  }

  // A new entry of the GDT, of 16 bytes if `high` is given: its selector, with RPL 0.
  uint16_t add(uint64_t low, std::optional<uint64_t> high = std::nullopt) {
    const auto selector = static_cast<uint16_t>(cpu.gdtr.limit + 1);
    core.poke(kTable + selector, low);
    if (high) core.poke(kTable + selector + 8, *high);
    cpu.gdtr.limit = static_cast<uint16_t>(cpu.gdtr.limit + (high ? 16 : 8));
    return selector;
  }
  uint64_t entry(uint16_t selector) const {
    return core.peek<uint64_t>(kTable + (selector & 0xfff8u));
  }
  bool accessed(uint16_t selector) const { return entry(selector) >> 40 & 1; }

  static uint8_t flags_of(Mode mode) {
    return mode == Mode::k64 ? kFlags64 : mode == Mode::k16 ? kFlags16 : kFlags32;
  }
  // Executes in `mode` at privilege level `cpl`, with an empty GDT.
  void enter(Mode at, unsigned cpl) {
    mode = at;
    std::memset(core.memory.data(), 0, core.memory.size());
    core.accesses.clear();
    core.privileges.clear();
    enter_protected_mode(core);
    cpu.gdtr = {kTable, 7};
    if (is_long(mode)) {
      cpu.cr0 |= vmx::cr0::kPg;
      cpu.cr4 = vmx::cr4::kPae;
      cpu.efer = vmx::efer::kLme | vmx::efer::kLma;
    }
    const auto level = static_cast<uint16_t>(cpl);
    const uint16_t code = add(segment(kExecuteRead | 1, cpl, flags_of(mode))) | level;
    const uint16_t data = add(segment(kReadWrite | 1, cpl)) | level;
    for (uint8_t i = vmx::kEs; i <= vmx::kGs; ++i) load(i, data);
    load(vmx::kCs, code);
    cpu.segment[vmx::kTr] = {0xf8, {0x8b}, 0x67, kTask};
    cpu.segment[vmx::kLdtr] = {0, {vmx::AccessRights::kUnusable}, 0, 0};
    cpu.gpr[vmx::kRsp] = stack_of(cpl);
    cpu.rip = 0x700;
  }
  // The register as its descriptor says, with the RPL of the selector.
  void load(uint8_t register_, uint16_t selector) {
    const Descriptor found{.low = entry(selector)};
    cpu.segment[register_] = to_segment(selector, found);
  }

  // The stacks of levels 0 to 2, with segments for them.
  void set_inner_stacks() {
    for (unsigned level = 0; level < 3; ++level) {
      if (is_long(mode)) {
        core.poke<uint64_t>(kTask + 4 + 8 * level, stack_of(level));
        continue;
      }
      core.poke<uint32_t>(kTask + 4 + 8 * level, static_cast<uint32_t>(stack_of(level)));
      core.poke(kTask + 8 + 8 * level,
                static_cast<uint16_t>(add(segment(kReadWrite, level)) | level));
    }
  }
  // The prefix that makes the operand size `width`, where one does.
  std::optional<Bytes> prefix(unsigned width) const {
    const unsigned usual = mode == Mode::k16 ? 2 : 4;
    if (width == usual) return Bytes{};
    if (width == 8) return mode == Mode::k64 ? std::optional(Bytes{0x48}) : std::nullopt;
    return Bytes{0x66};
  }
  // The widths that instructions have in this mode.
  std::vector<unsigned> widths() const {
    return mode == Mode::k64 ? std::vector<unsigned>{2, 4, 8} : std::vector<unsigned>{2, 4};
  }
  unsigned usual_width() const { return mode == Mode::k16 ? 2 : 4; }
  // An instruction with a memory operand at kPointer.
  Bytes with_memory(const Bytes& opcode, unsigned reg) const {
    const auto modrm = static_cast<uint8_t>(reg << 3);
    constexpr uint8_t kLow = kPointer & 0xff, kHigh = kPointer >> 8;
    if (mode == Mode::k16) return opcode + Bytes{static_cast<uint8_t>(modrm | 6), kLow, kHigh};
    if (mode != Mode::k64)
      return opcode + Bytes{static_cast<uint8_t>(modrm | 5), kLow, kHigh, 0, 0};
    return opcode + Bytes{static_cast<uint8_t>(modrm | 4), 0x25, kLow, kHigh, 0, 0};
  }
  void put_pointer(uint16_t selector, uint64_t offset, unsigned width) {
    core.poke(kPointer, offset);
    core.poke(kPointer + width, selector);
  }
  // Far CALL or JMP through memory, with a pointer of this width.
  Bytes far(bool call, uint16_t selector, uint64_t offset, unsigned width) {
    put_pointer(selector, offset, width);
    return *prefix(width) + with_memory({0xff}, call ? 3 : 5);
  }
  Bytes far(bool call, uint16_t selector, uint64_t offset = kTarget) {
    return far(call, selector, offset, usual_width());
  }
  // The same with the pointer in the instruction, which 64-bit code does not have.
  Bytes far_direct(bool call, uint16_t selector, uint32_t offset, unsigned width) const {
    Bytes bytes = *prefix(width) + Bytes{static_cast<uint8_t>(call ? 0x9a : 0xea)};
    for (unsigned i = 0; i < width; ++i) bytes.push_back(static_cast<uint8_t>(offset >> 8 * i));
    return bytes + Bytes{static_cast<uint8_t>(selector), static_cast<uint8_t>(selector >> 8)};
  }
  // IRET and far RET find these values on the stack.
  Bytes returning(uint8_t opcode, std::initializer_list<uint64_t> values, unsigned width) {
    uint64_t address = cpu.gpr[vmx::kRsp];
    for (const uint64_t value : values) {
      std::memcpy(&core.memory[address], &value, width);
      address += width;
    }
    return *prefix(width) + Bytes{opcode};
  }
  static constexpr uint8_t kRetf = 0xcb, kIret = 0xcf;
  uint64_t pushed(unsigned index, unsigned width) const {
    uint64_t value = 0;
    std::memcpy(&value, &core.memory[cpu.gpr[vmx::kRsp] + index * width], width);
    return value;
  }

  // The instruction faults, and neither the state nor memory changes.
  void expect_no_effect(const Bytes& bytes, uint8_t vector, std::optional<uint32_t> error) {
    const vmx::CpuState before = cpu;
    const std::vector<uint8_t> memory = core.memory;
    expect_fault(bytes, vector, error);
    expect_unchanged(before);
    EXPECT_TRUE(core.memory == memory);
  }
  void expect_unchanged(const vmx::CpuState& before) const {
    EXPECT_EQ(cpu.gpr, before.gpr);
    EXPECT_EQ(cpu.rip, before.rip);
    EXPECT_EQ(cpu.rflags, before.rflags);
    EXPECT_TRUE(std::ranges::equal(cpu.segment, before.segment));
    EXPECT_EQ(cpu.blocking_by_sti, before.blocking_by_sti);
    EXPECT_EQ(cpu.blocking_by_mov_ss, before.blocking_by_mov_ss);
  }
  // The accesses to [first, end) that were writes, or reads, were all made with this privilege, and
  // there was one.
  void expect_privilege(uint64_t first, uint64_t end, bool write, Privilege privilege) const {
    bool any = false;
    for (const auto& access : core.accesses) {
      if (access.write != write || access.linear < first || access.linear >= end) continue;
      any = true;
      EXPECT_EQ(access.privilege, privilege) << std::hex << access.linear;
    }
    EXPECT_TRUE(any) << std::hex << first;
  }

  Mode mode = Mode::k32;
};

}  // namespace nestor::emu::test
