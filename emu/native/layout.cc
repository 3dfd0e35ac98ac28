// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/layout.h"

#include <array>
#include <initializer_list>

#include "ept/bits.h"
#include "ept/ordinary_entry.h"
#include "ept/pae.h"
#include "vmx/exceptions.h"

namespace nestor::emu::native {
namespace {

using ept::bit;
using ept::bits;
using ept::PagingMode;
using ept::PagingState;

constexpr std::uint64_t kGdt = 0x1000;
constexpr std::uint64_t kTss = 0x1800;
constexpr std::uint64_t kIdt = 0x2000;
constexpr std::uint64_t kSupervisorCode = 0x3000;
constexpr std::uint64_t kUserCode = 0x5000;
/// In both code pages: the accesses. Below them, in the supervisor's, a handler for each vector.
constexpr std::uint64_t kAccesses = 0x800;
constexpr std::uint64_t kPkruLoad = 0x900;
constexpr std::uint64_t kHandlerSize = 16;
constexpr unsigned kVectors = 32;
constexpr std::uint16_t kCode0 = 0x08;
constexpr std::uint16_t kData0 = 0x10;
constexpr std::uint16_t kCode3 = 0x18 | 3;
constexpr std::uint16_t kData3 = 0x20 | 3;
constexpr std::uint16_t kTask = 0x28;
constexpr std::uint16_t kLocalTable = 0x38;

/// Each ends in HLT; a fetch in the HLT that lies at its target.
constexpr std::array<std::array<std::uint8_t, 4>, 4> kAccessCode{{
    {0x8b, 0x03, kHalt},        // kRead:  mov (%rbx), %eax
    {0x89, 0x03, kHalt},        // kWrite: mov %eax, (%rbx)
    {0xff, 0xe3, kHalt},        // kFetch: jmp *%rbx
    {0x0f, 0x00, 0xe0, kHalt},  // implicit: verr %ax, which reads the first descriptor of the LDT
}};
constexpr std::size_t kImplicitCode = 3;
/// In the LDT, descriptor 0, RPL 3.
constexpr std::uint16_t kLocalSelector = 7;
constexpr std::uint64_t kAccessCodeSize = 16;
static_assert(ept::Access::kRead == 0 && ept::Access::kWrite == 1 && ept::Access::kFetch == 2);

bool is_long(PagingMode mode) { return mode == PagingMode::k4Level || mode == PagingMode::k5Level; }

void store_bytes(GuestMemory& memory, std::uint64_t at, std::span<const std::uint8_t> code) {
  for (const std::uint8_t byte : code) memory.store(at++, byte);
}

void write_descriptors(GuestMemory& memory, bool long_mode, std::uint64_t base) {
  // Flat segments, accessed; code is 64-bit in long mode, else 32-bit.
  const std::uint64_t code = long_mode ? 0x00af'9b00'0000'ffff : 0x00cf'9b00'0000'ffff;
  const std::uint64_t data = 0x00cf'9300'0000'ffff;
  constexpr std::uint64_t kUser = std::uint64_t{3} << 45;
  const std::uint64_t tss = base + kTss;
  const std::uint64_t task =
      0x0000'8b00'0000'0067 | (tss & 0xff'ffff) << 16 | (tss >> 24 & 0xff) << 56;
  std::uint64_t at = kGdt;
  for (const std::uint64_t descriptor :
       {std::uint64_t{0}, code, data, code | kUser, data | kUser, task, tss >> 32}) {
    memory.store(at, descriptor);
    at += 8;
  }
  // The stack of CPL 0, and an I/O permission map that lies beyond the segment.
  if (long_mode) {
    memory.store(kTss + 4, base + Layout::kStackTop);
  } else {
    memory.store(kTss + 4, static_cast<std::uint32_t>(base + Layout::kStackTop));
    memory.store(kTss + 8, std::uint32_t{kData0});
  }
  memory.store(kTss + 102, std::uint16_t{0x68});
}

void write_handlers(GuestMemory& memory, bool long_mode, std::uint64_t base) {
  for (unsigned vector = 0; vector != kVectors; ++vector) {
    const std::uint64_t handler = kSupervisorCode + vector * kHandlerSize;
    memory.store(handler, kHalt);
    // A present 32-bit or 64-bit interrupt gate.
    const std::uint64_t target = base + handler;
    const std::uint64_t gate = (target & 0xffff) | std::uint64_t{kCode0} << 16 |
                               std::uint64_t{0x8e00} << 32 | (target >> 16 & 0xffff) << 48;
    memory.store(kIdt + vector * (long_mode ? 16 : 8), gate);
    if (long_mode) memory.store(kIdt + vector * 16 + 8, target >> 32);
  }
}

void store_entry(GuestMemory& memory, PagingMode mode, std::uint64_t at, std::uint64_t entry) {
  if (mode == PagingMode::k32Bit) {
    memory.store(at, static_cast<std::uint32_t>(entry));
  } else {
    memory.store(at, entry);
  }
}

constexpr std::uint64_t kUsedTable = ept::OrdinaryEntry::kPresent | ept::OrdinaryEntry::kWritable |
                                     ept::OrdinaryEntry::kUser |
                                     ept::OrdinaryEntry::Flags::kAccessed;
constexpr std::uint64_t kUsedPage = ept::OrdinaryEntry::kPresent | ept::OrdinaryEntry::kWritable |
                                    ept::OrdinaryEntry::Flags::kAccessed |
                                    ept::OrdinaryEntry::Flags::kDirty;

kvm_segment segment(std::uint16_t selector, std::uint8_t type, bool long_code) {
  kvm_segment result{};
  result.limit = 0xffff'ffff;
  result.selector = selector;
  result.type = type;
  result.present = 1;
  result.dpl = selector & 3;
  result.s = 1;
  result.g = 1;
  result.l = long_code;
  result.db = !long_code;
  return result;
}

void set_privilege(kvm_sregs& sregs, PagingMode mode, bool user) {
  constexpr std::uint8_t kCodeType = 11;
  constexpr std::uint8_t kDataType = 3;
  sregs.cs = segment(user ? kCode3 : kCode0, kCodeType, is_long(mode));
  sregs.ss = segment(user ? kData3 : kData0, kDataType, false);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = segment(kData3, kDataType, false);
}

void set_task(VirtualMachine& machine, PagingMode mode) {
  // VMX enters a guest only with a busy TSS. SVM does not ask, but QEMU's SVM takes no other than
  // an available one, and KVM_GET_SREGS on AMD always says busy.
  constexpr std::uint8_t kAvailable = 9;
  constexpr std::uint8_t kBusy = 11;
  kvm_segment& task = machine.sregs().tr;
  task = {};
  task.base = shape_of(mode).scaffold_base + kTss;
  task.limit = 0x67;
  task.selector = kTask;
  task.type = machine.features().amd ? kAvailable : kBusy;
  task.present = 1;
}

}  // namespace

Shape shape_of(PagingMode mode) {
  switch (mode) {
    case PagingMode::k32Bit:
      return {4, 2, 10, 32, 0xffc0'0000};
    case PagingMode::kPae:
      return {8, 3, 9, 32, 0xffe0'0000};
    case PagingMode::k5Level:
      return {8, 5, 9, 57, 0xffff'0000'0000'0000};
    case PagingMode::k4Level:
    case PagingMode::kNone:
      break;
  }
  return {8, 4, 9, 48, 0xffff'ff80'0000'0000};
}

bool is_canonical(PagingMode mode, std::uint64_t linear) {
  if (!is_long(mode)) return true;
  const std::uint64_t high = linear >> (shape_of(mode).linear_bits - 1);
  return high == 0 ||
         high == bits(63, shape_of(mode).linear_bits - 1) >> (shape_of(mode).linear_bits - 1);
}

bool is_scaffold(PagingMode mode, std::uint64_t linear) {
  const Shape shape = shape_of(mode);
  // PAE links the scaffold one level below the top one.
  const unsigned linked = mode == PagingMode::kPae ? 2 : shape.top_level;
  const std::uint64_t mask = bits(shape.linear_bits - 1, 12 + shape.index_bits * (linked - 1));
  return ((linear ^ shape.scaffold_base) & mask) == 0;
}

void write_scaffold(GuestMemory& memory, PagingMode mode) {
  for (std::uint64_t at = 0; at != Layout::kTables; at += 8) memory.store(at, std::uint64_t{0});
  for (std::uint64_t at = Layout::kData; at != Layout::kMemorySize; at += 8) {
    memory.store(at, std::uint64_t{0x0101'0101'0101'0101} * kHalt);
  }
  const std::uint64_t base = shape_of(mode).scaffold_base;
  write_descriptors(memory, is_long(mode), base);
  write_handlers(memory, is_long(mode), base);
  for (const std::uint64_t page : {kSupervisorCode, kUserCode}) {
    for (std::size_t kind = 0; kind != kAccessCode.size(); ++kind) {
      store_bytes(memory, page + kAccesses + kind * kAccessCodeSize, kAccessCode[kind]);
    }
  }
  constexpr std::array<std::uint8_t, 4> kLoad{0x0f, 0x01, 0xef, kHalt};  // wrpkru; hlt
  store_bytes(memory, kSupervisorCode + kPkruLoad, kLoad);
}

void link_scaffold(GuestMemory& memory, PagingMode mode) {
  const Shape shape = shape_of(mode);
  const std::uint64_t size = shape.entry_size;
  const std::uint64_t last = 4096 - size;
  std::uint64_t table = Layout::kScaffoldTables;
  if (mode == PagingMode::kPae) {
    // The page directory of the last PDPTE is one of the scaffold's tables, otherwise under test.
    memory.store(Layout::kTables + 3 * 8, table | ept::OrdinaryEntry::kPresent);
    memory.store(table + last, (table + 0x1000) | kUsedTable);
    table += 0x1000;
  } else {
    store_entry(memory, mode, Layout::kTables + last, table | kUsedTable);
    for (unsigned level = shape.top_level - 1; level != 1; --level) {
      store_entry(memory, mode, table, (table + 0x1000) | kUsedTable);
      table += 0x1000;
    }
  }
  for (std::uint64_t page = kGdt; page != Layout::kScaffoldEnd; page += 0x1000) {
    const std::uint64_t user = page == kUserCode ? ept::OrdinaryEntry::kUser : 0;
    store_entry(memory, mode, table + (page >> 12) * size, page | kUsedPage | user);
  }
}

void set_paging(VirtualMachine& machine, const PagingState& state) {
  const bool long_mode = is_long(state.mode);
  const std::uint64_t base = shape_of(state.mode).scaffold_base;
  kvm_sregs& sregs = machine.sregs();
  // PG, NE, ET, PE; WP. CR4: PSE, PAE, LA57, SMEP, SMAP, PKE, PKS. EFER: LME, LMA, NXE.
  sregs.cr0 = bit(31) | bit(5) | bit(4) | bit(0) | (state.wp ? bit(16) : 0);
  sregs.cr2 = 0;
  sregs.cr3 = state.cr3;
  sregs.cr4 = (state.pse ? bit(4) : 0) | (state.mode != PagingMode::k32Bit ? bit(5) : 0) |
              (state.mode == PagingMode::k5Level ? bit(12) : 0) | (state.smep ? bit(20) : 0) |
              (state.smap ? bit(21) : 0) | (state.pke ? bit(22) : 0) | (state.pks ? bit(24) : 0);
  sregs.efer = (long_mode ? bit(8) | bit(10) : 0) | (state.nxe ? bit(11) : 0);
  set_privilege(sregs, state.mode, false);
  set_task(machine, state.mode);
  sregs.ldt = {};
  sregs.ldt.unusable = 1;
  sregs.gdt.base = base + kGdt;
  sregs.gdt.limit = 7 * 8 - 1;
  sregs.idt.base = base + kIdt;
  sregs.idt.limit = static_cast<std::uint16_t>(kVectors * (long_mode ? 16 : 8) - 1);
  kvm_regs& regs = machine.regs();
  regs = {};
  regs.rip = base + kSupervisorCode;
  regs.rsp = base + Layout::kStackTop;
  regs.rflags = bit(1) | (state.ac ? bit(18) : 0);
}

std::uint64_t access_code(const PagingState& state, ept::Access access) {
  const std::uint64_t code = access.implicit_supervisor ? kImplicitCode : std::size_t{access.kind};
  return shape_of(state.mode).scaffold_base + (access.user ? kUserCode : kSupervisorCode) +
         kAccesses + code * kAccessCodeSize;
}

void set_access(VirtualMachine& machine, const PagingState& state, std::uint64_t linear,
                ept::Access access, std::uint32_t value) {
  set_privilege(machine.sregs(), state.mode, access.user);
  set_task(machine, state.mode);
  // A value that no access under test leaves there.
  machine.sregs().cr2 = shape_of(state.mode).scaffold_base;
  kvm_regs& regs = machine.regs();
  regs.rip = access_code(state, access);
  regs.rsp = shape_of(state.mode).scaffold_base + Layout::kStackTop;
  regs.rflags = bit(1) | (state.ac ? bit(18) : 0);
  regs.rax = access.implicit_supervisor ? kLocalSelector : value;
  regs.rbx = linear;
  kvm_segment& ldt = machine.sregs().ldt;
  ldt = {};
  ldt.unusable = !access.implicit_supervisor;
  if (access.implicit_supervisor) {
    constexpr std::uint8_t kLdtType = 2;
    ldt.base = linear;
    ldt.limit = 7;
    ldt.selector = kLocalTable;
    ldt.type = kLdtType;
    ldt.present = 1;
  }
}

void set_pkru_load(VirtualMachine& machine, const PagingState& state) {
  kvm_regs& regs = machine.regs();
  regs.rip = shape_of(state.mode).scaffold_base + kSupervisorCode + kPkruLoad;
  regs.rax = state.pkru;
  regs.rcx = 0;
  regs.rdx = 0;
}

Observation observe(VirtualMachine& machine, const PagingState& state) {
  const std::uint64_t base = shape_of(state.mode).scaffold_base;
  const kvm_regs& regs = machine.regs();
  Observation seen;
  seen.cr2 = machine.sregs().cr2;
  // HLT is one byte long, and RIP is behind it.
  const std::uint64_t handler = regs.rip - 1 - base - kSupervisorCode;
  seen.vector = static_cast<unsigned>(handler / kHandlerSize);
  if (handler % kHandlerSize != 0 || seen.vector >= kVectors) {
    seen.vector = Observation::kHalted;
    seen.saved_pointer = regs.rip - 1;
    return seen;
  }
  const std::size_t slot = is_long(state.mode) ? 8 : 4;
  std::uint64_t at = regs.rsp - base;
  const GuestMemory memory(machine.memory());
  const auto pop = [&] {
    std::uint64_t value = 0;
    std::uint32_t half = 0;
    if (slot == 8) {
      (void)memory.read64({at}, value);
    } else {
      (void)memory.read32({at}, half);
      value = half;
    }
    at += slot;
    return value;
  };
  if (vmx::exception_info(static_cast<std::uint8_t>(seen.vector)).error_code) {
    seen.error_code = static_cast<std::uint32_t>(pop());
  }
  seen.saved_pointer = pop();
  return seen;
}

}  // namespace nestor::emu::native
