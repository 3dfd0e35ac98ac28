// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/loaders/initial_state.h"

#include <array>

#include "emu/loaders/byte_view.h"
#include "ept/address.h"

namespace nestor::emu {
namespace {

using vmx::AccessRights;
using vmx::CpuState;
using vmx::Segment;

// Access rights: present, accessed, flat to 4 GiB.
constexpr uint32_t kCode32Rights = 0xc09b, kDataRights = 0xc093, kCode64Rights = 0xa09b;
// What a reset leaves: a busy TSS and an LDT at 0 with a limit of 64 KiB.
constexpr uint32_t kTssRights = 0x8b, kLdtRights = 0x82;

using ept::kPageSize;
constexpr uint64_t kPresentWritable = 0x3, kLargePage = 0x80;

struct FlatSegment {
  uint16_t selector;
  uint32_t rights;
};
constexpr FlatSegment kCode32 = {0x08, kCode32Rights};
constexpr FlatSegment kData = {0x10, kDataRights};
constexpr FlatSegment kCode64 = {0x18, kCode64Rights};

// SDM, "Segment Descriptors": a flat segment of 4 GiB with these access rights.
constexpr uint64_t flat_descriptor(uint32_t rights) {
  const uint64_t type = rights & 0xff, flags = rights >> 12 & 0xf;
  return 0xffffu | type << 40 | 0xfull << 48 | flags << 52;
}
static_assert(flat_descriptor(kCode32Rights) == 0x00cf'9b00'0000'ffff);
static_assert(flat_descriptor(kCode64Rights) == 0x00af'9b00'0000'ffff);

constexpr std::array<uint64_t, 4> kGdt = {0, flat_descriptor(kCode32.rights),
                                          flat_descriptor(kData.rights),
                                          flat_descriptor(kCode64.rights)};

// Linux's own selectors.
constexpr FlatSegment kLinuxCode32 = {0x10, kCode32Rights};
constexpr FlatSegment kLinuxCode64 = {0x10, kCode64Rights};
constexpr FlatSegment kLinuxData = {0x18, kDataRights};

Segment flat(FlatSegment segment) {
  return Segment{segment.selector, AccessRights{segment.rights}, 0xffffffff, 0};
}

CpuState flat_state(FlatSegment code, FlatSegment data, uint64_t gdt) {
  CpuState cpu;
  for (const auto segment : {vmx::kEs, vmx::kSs, vmx::kDs, vmx::kFs, vmx::kGs}) {
    cpu.segment[segment] = flat(data);
  }
  cpu.segment[vmx::kCs] = flat(code);
  cpu.segment[vmx::kLdtr] = Segment{0, AccessRights{kLdtRights}, 0xffff, 0};
  cpu.segment[vmx::kTr] = Segment{0, AccessRights{kTssRights}, 0xffff, 0};
  cpu.gdtr = {gdt, sizeof(kGdt) - 1};
  cpu.cr0 = vmx::cr0::kPe | vmx::cr0::kEt;
  return cpu;
}

void enter_long_mode(CpuState& cpu, uint64_t page_tables) {
  cpu.cr0 |= vmx::cr0::kPg | vmx::cr0::kWp;
  cpu.cr3 = page_tables;
  cpu.cr4 = vmx::cr4::kPae;
  cpu.efer = vmx::efer::kLme | vmx::efer::kLma;
}

}  // namespace

std::vector<uint8_t> boot_gdt() {
  std::vector<uint8_t> out;
  for (const uint64_t descriptor : kGdt) append_number(out, descriptor, 8);
  return out;
}

std::vector<uint8_t> identity_map(uint64_t address) {
  constexpr uint64_t kDirectories = 4, kEntries = 512, kLargePageBytes = 2 << 20;
  const uint64_t directories = address + 2 * kPageSize;
  std::vector<uint8_t> out(kIdentityMapBytes);
  store_number(out, 0, (address + kPageSize) | kPresentWritable, 8);
  for (uint64_t i = 0; i < kDirectories; ++i) {
    store_number(out, kPageSize + 8 * i, (directories + i * kPageSize) | kPresentWritable, 8);
  }
  for (uint64_t i = 0; i < kDirectories * kEntries; ++i) {
    store_number(out, 2 * kPageSize + 8 * i, i * kLargePageBytes | kPresentWritable | kLargePage,
                 8);
  }
  return out;
}

CpuState protected_mode_state(uint64_t entry, uint32_t magic, uint64_t information, uint64_t gdt,
                              uint64_t stack) {
  CpuState cpu = flat_state(kCode32, kData, gdt);
  cpu.rip = entry;
  cpu.gpr[vmx::kRax] = magic;
  cpu.gpr[vmx::kRbx] = information;
  cpu.gpr[vmx::kRsp] = stack;
  return cpu;
}

CpuState long_mode_state(uint64_t entry, uint32_t magic, uint64_t information, uint64_t gdt,
                         uint64_t page_tables, uint64_t stack) {
  CpuState cpu = flat_state(kCode64, kData, gdt);
  enter_long_mode(cpu, page_tables);
  cpu.rip = entry;
  cpu.gpr[vmx::kRax] = magic;
  cpu.gpr[vmx::kRbx] = information;
  cpu.gpr[vmx::kRdi] = information;
  cpu.gpr[vmx::kRsp] = stack;
  return cpu;
}

std::vector<uint8_t> linux_gdt(bool code_64bit) {
  std::vector<uint8_t> out;
  const uint32_t code = (code_64bit ? kLinuxCode64 : kLinuxCode32).rights;
  for (const uint64_t descriptor :
       {uint64_t{0}, uint64_t{0}, flat_descriptor(code), flat_descriptor(kLinuxData.rights)})
    append_number(out, descriptor, 8);
  return out;
}

CpuState linux_state(uint64_t entry, uint64_t boot_params, uint64_t gdt,
                     std::optional<uint64_t> page_tables, uint64_t stack) {
  CpuState cpu = flat_state(page_tables ? kLinuxCode64 : kLinuxCode32, kLinuxData, gdt);
  if (page_tables) enter_long_mode(cpu, *page_tables);
  cpu.rip = entry;
  cpu.gpr[vmx::kRsi] = boot_params;
  cpu.gpr[vmx::kRsp] = stack;
  return cpu;
}

}  // namespace nestor::emu
