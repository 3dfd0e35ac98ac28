// SPDX-License-Identifier: GPL-2.0-or-later
//
// The MSR areas of VM entries and VM exits ("VM-Exit Controls for MSRs", "VM-Entry Controls for
// MSRs"): lists of 16-byte entries with an MSR index and its value.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "ept/address.h"
#include "vmx/events.h"
#include "vmx/processor.h"

namespace nestor::vmx {

// The first entry that could not be processed.
struct MsrListFailure {
  uint32_t entry = 0;            // 1 for the first, as the exit qualification counts
  uint64_t header = 0;           // bits 63:0 of the entry: the MSR index and the reserved bits
  std::string_view requirement;  // what was violated
};

struct MsrList {
  ept::PhysicalAddress area;
  uint32_t count = 0;
  // The most entries that the processor handles ("Miscellaneous Data"). Beyond it the architecture
  // leaves the behaviour open; here the entry after the last allowed one fails.
  uint32_t limit = 512;
};

// Processes the entries in order; those before a failing one stay done.
std::optional<MsrListFailure> load_msrs(Processor& cpu, const MsrList& list);
std::optional<MsrListFailure> store_msrs(Processor& cpu, const MsrList& list);

// The failure as a failed check of that name, of the area as the SDM calls it.
CheckFailure failed_check(std::string_view id, std::string_view area, std::string_view section,
                          const MsrList& list, const MsrListFailure& failure);

}  // namespace nestor::vmx
