// SPDX-License-Identifier: GPL-2.0-or-later
//
// The processor as an image finds it, and the tables that this state refers to.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "vmx/cpu_state.h"

namespace nestor::emu {

// Null, 32-bit code, data, 64-bit code; selectors 0x08, 0x10, 0x18.
std::vector<uint8_t> boot_gdt();

// 4-level tables that map the first 4 GiB of linear addresses to themselves with 2-MByte pages,
// writable and executable, supervisor only. To be placed at `address`, page-aligned; the first page
// is the PML4 table.
inline constexpr uint64_t kIdentityMapBytes = 6 * 0x1000;
std::vector<uint8_t> identity_map(uint64_t address);

// 32-bit protected mode without paging, flat segments, EAX = `magic`, EBX = `information`, ESP =
// `stack`.
vmx::CpuState protected_mode_state(uint64_t entry, uint32_t magic, uint64_t information,
                                   uint64_t gdt, uint64_t stack);

// 64-bit mode at CPL 0, the identity map in CR3; RAX = `magic`, RBX = RDI = `information`, RSP =
// `stack`.
vmx::CpuState long_mode_state(uint64_t entry, uint32_t magic, uint64_t information, uint64_t gdt,
                              uint64_t page_tables, uint64_t stack);

// What the Linux kernel wants: null, null, code, data; selectors 0x10 and 0x18 ("The Linux/x86 Boot
// Protocol", "32-bit Boot Protocol" and "64-bit Boot Protocol").
std::vector<uint8_t> linux_gdt(bool code_64bit);

// 32-bit protected mode without paging, or with `page_tables` 64-bit mode on the identity map
// there; RSI = `boot_params`, RSP = `stack`.
vmx::CpuState linux_state(uint64_t entry, uint64_t boot_params, uint64_t gdt,
                          std::optional<uint64_t> page_tables, uint64_t stack);

}  // namespace nestor::emu
