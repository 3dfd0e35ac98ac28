// SPDX-License-Identifier: GPL-2.0-or-later
//
// A VM entry as the image vmx-case understands it: what differs from a base that is valid. The
// base's guest memory, page tables, EPT and bitmaps lie in the image's arena.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "guest-images/vmx-case/case_abi.h"
#include "vmx/checks/entry_checks.h"
#include "vmx/vmcs.h"

namespace nestor::fuzz {

// The pages of the arena.
inline constexpr uint64_t kArena = NESTOR_CASE_ARENA, kPage = 0x1000;
inline constexpr uint64_t kCode = kArena, kData = kArena + 0x1000, kStack = kArena + 0x2000,
                          kGdt = kArena + 0x3000, kTss = kArena + 0x3800, kIdt = kArena + 0x4000,
                          kHandlers = kArena + 0x5000, kPml4 = kArena + 0x6000,
                          kPdpt = kArena + 0x7000, kDirectory = kArena + 0x8000,
                          kTable = kArena + 0x9000, kTable32 = kArena + 0xa000,
                          kDirectory32 = kArena + 0xb000, kPdptPae = kArena + 0xc000,
                          kEptPml4 = kArena + 0xd000, kEptPdpt = kArena + 0xe000,
                          kEptDirectory = kArena + 0xf000, kEptTable = kArena + 0x10000,
                          kIoBitmaps = kArena + 0x11000, kMsrBitmap = kArena + 0x13000,
                          kVirtualApic = kArena + 0x14000, kMsrList = kArena + 0x15000,
                          kLinked = kArena + 0x16000, kLog = kArena + 0x17000,
                          kShadowBitmaps = kArena + 0x18000, kEptpList = kArena + 0x1a000,
                          kApicAccess = kArena + 0x1b000, kDescriptor = kArena + 0x1c000,
                          kFirstSpare = kArena + 0x1d000, kArenaEnd = kArena + 0x20000;
static_assert(kArenaEnd - kArena == NESTOR_CASE_ARENA_SIZE);

inline constexpr uint16_t kCode64 = 0x08, kDataSegment = 0x10, kCode32 = 0x18, kTssSelector = 0x20,
                          kUserCode = 0x33, kUserData = 0x3b, kCode16 = 0x40;

struct Patch {
  uint64_t address = 0;
  std::vector<uint8_t> bytes;
};

// What an instruction of L2 does with memory, aside from its own bytes and the paging structures.
enum class AccessKind : uint8_t {
  kReads,        // reads operands
  kWrites,       // writes an operand, which it may read before
  kDescriptors,  // reads descriptors, and sets their accessed and busy flags
};

// What must come of a case.
struct Expectation {
  // Paging and EPT map the arena to itself, and only what is supervisor there is so.
  bool identity = false;
  bool descriptors = false;  // what segment registers hold comes from descriptors
  // L2 begins at CPL 3, the page of the GDT is a supervisor page, and where L2 gets to at CPL 0 it
  // reads no data.
  bool secret = false;
  std::map<uint64_t, AccessKind> accesses;  // by linear address
  std::optional<uint64_t> nmi_sent;         // linear address before which an NMI to itself comes
};
// In the page of the GDT.
inline constexpr uint64_t kSecret = kGdt + 0x740;
inline constexpr uint32_t kSecretWord = 0x5ec2e75e;

struct Case {
  uint64_t seed = 0;
  std::map<vmx::Field, uint64_t> fields;  // all but host state
  std::map<vmx::Field, uint64_t> flips;   // of host state, which L1 writes: bits to invert
  std::vector<Patch> memory;
  std::map<unsigned, uint64_t> registers;  // RAX, RCX, RDX, RBX, RBP, RSI, RDI, R8 ...
  std::map<unsigned, uint64_t> debug;      // DR0 to DR3
  Expectation expectation;
};

// The base: fields, memory and registers; no flips. `capabilities`: whose default controls it has.
Case base_case(const vmx::Capabilities& capabilities);

// The base and then, one after another, the cases.
std::string to_text(const Case& base, const std::vector<Case>& cases);

// What the VMCS holds at VM entry. Host fields that only L1 knows have values like them.
vmx::Vmcs vmcs_of(const Case& base, const Case& change);

// The arena at VM entry. What is outside was not foreseen: `strayed` tells.
class ArenaMemory final : public vmx::MemoryReader {
 public:
  ArenaMemory(const Case& base, const Case& change);
  bool read(ept::PhysicalAddress address, std::span<uint8_t> out) const override;
  bool strayed() const { return strayed_; }

 private:
  void apply(const Case& part);

  std::vector<uint8_t> bytes_;
  mutable bool strayed_ = false;
};

}  // namespace nestor::fuzz
