// SPDX-License-Identifier: GPL-2.0-or-later
//
// Segmentation: linear addresses of operands, descriptors, and the values that segment registers
// get.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <variant>

#include "emu/cpu/core.h"
#include "emu/cpu/result.h"
#include "emu/decode/instruction.h"
#include "vmx/features.h"

namespace nestor::emu {

using vmx::is_canonical;
// An address that is accessed, or that RIP gets. What registers can hold (bases, MSRs), and
// operands of instructions that invalidate, are as wide as the processor's linear addresses,
// whatever CR4.LA57 is: vmx::RegisterRules. Processors do so; see docs/divergences.md.
constexpr bool is_canonical(uint64_t linear, const vmx::CpuState& state) {
  return is_canonical(linear, state.cr4 & vmx::cr4::kLa57 ? vmx::kLinearAddressBits
                                                          : vmx::kNarrowLinearAddressBits);
}

// Moves RIP over an instruction of `length` bytes, as wide as the code segment is.
void advance_rip(vmx::CpuState& state, unsigned length);
// RIP of the next instruction, without changing it.
uint64_t next_rip(const vmx::CpuState& state, unsigned length);

// --- operands

// Of a value of so many bytes, 1 to 8.
constexpr uint64_t value_mask(unsigned bytes) { return ~0ull >> (64 - 8 * bytes); }

enum class SegmentAccess : uint8_t { kRead, kWrite };

// The offset inside its segment, wrapped at the address size.
uint64_t effective_address(const vmx::CpuState& state, const MemoryOperand& operand);

// Outside 64-bit mode: the offsets at which `size` bytes of the segment may be accessed, the least
// and the most; std::nullopt: none ("Limit Checking", "Type Checking").
struct OffsetRange {
  uint64_t least = 0, most = 0;
};
std::optional<OffsetRange> allowed_offsets(const vmx::CpuState& state, vmx::SegmentRegister segment,
                                           uint64_t size, SegmentAccess access);

// The linear address of `size` bytes at `offset` of a segment. #GP(0), or #SS(0) for SS: outside
// the limit, not canonical, the segment is unusable or its type forbids the access.
std::variant<uint64_t, vmx::Event> linear_address(const vmx::CpuState& state,
                                                  vmx::SegmentRegister segment, uint64_t offset,
                                                  uint64_t size, SegmentAccess access);
std::variant<uint64_t, vmx::Event> linear_address(const vmx::CpuState& state,
                                                  const MemoryOperand& operand, uint64_t size,
                                                  SegmentAccess access);
// The same without any check, as VM exits report it.
uint64_t unchecked_linear_address(const vmx::CpuState& state, vmx::SegmentRegister segment,
                                  uint64_t offset);

// --- descriptors

// "System-Segment and Gate-Descriptor Types".
enum SystemType : uint8_t {
  kTss16Available = 1,
  kLdt = 2,
  kTss16Busy = 3,
  kCallGate16 = 4,
  kTaskGate = 5,
  kInterruptGate16 = 6,
  kTrapGate16 = 7,
  kTss32Available = 9,
  kTss32Busy = 11,
  kCallGate32 = 12,
  kInterruptGate32 = 14,
  kTrapGate32 = 15,
};

// A descriptor as it lies in memory.
struct Descriptor {
  uint64_t low = 0, high = 0;  // high: the upper half of a 16-byte descriptor
  uint64_t address = 0;        // linear

  vmx::AccessRights rights() const;
  uint8_t type() const { return low >> 40 & 0xf; }
  bool code_or_data() const { return low >> 44 & 1; }
  uint8_t dpl() const { return low >> 45 & 3; }
  bool present() const { return low >> 47 & 1; }
  bool is_code() const { return code_or_data() && (type() & 8); }
  bool is_conforming_code() const { return is_code() && (type() & 4); }
  bool is_writable_data() const { return code_or_data() && (type() & 0xa) == 2; }
  bool long_mode() const { return low >> 53 & 1; }
  bool default_big() const { return low >> 54 & 1; }
  uint64_t base() const;   // 32 bits, or 64 when `high` is in use
  uint32_t limit() const;  // in bytes
};

// The register that this descriptor makes.
vmx::Segment to_segment(uint16_t selector, const Descriptor& descriptor);
// A register loaded with a null selector.
vmx::Segment null_segment(uint16_t selector = 0);

constexpr bool is_null(uint16_t selector) { return (selector & ~3) == 0; }
// The error code that names a selector; `ext` is bit 0.
constexpr uint32_t selector_error(uint16_t selector, bool ext = false) {
  return (selector & 0xfffcu) | (ext ? 1u : 0u);
}

// Whether the table that the selector names holds `size` bytes there.
bool is_inside_table(const vmx::CpuState& state, uint16_t selector, unsigned size);
// Reads the descriptor in the GDT or LDT; `size` is 8 or 16. Outside the table (or with an unusable
// LDT): `vector` with the selector as error code. TI is allowed.
Result<Descriptor> read_descriptor(Core& core, uint16_t selector, vmx::Vector vector,
                                   bool ext = false, unsigned size = 8);
// Sets the accessed flag of a code or data descriptor in memory, and in `descriptor`.
std::optional<Fault> mark_accessed(Core& core, Descriptor& descriptor);
// Sets or clears the busy flag of a TSS descriptor in memory, and in `descriptor`.
std::optional<Fault> mark_busy(Core& core, Descriptor& descriptor, bool busy);

// --- little-endian data of the processor itself, with supervisor rights
template <class T>
Result<T> read_value(Core& core, uint64_t linear, Privilege privilege = Privilege::kSupervisor) {
  T value = 0;
  if (auto fault = core.read(linear, std::span(reinterpret_cast<uint8_t*>(&value), sizeof value),
                             privilege)) {
    return *fault;
  }
  return value;
}

}  // namespace nestor::emu
