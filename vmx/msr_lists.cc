// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/msr_lists.h"

#include <array>
#include <cstring>
#include <span>

#include "vmx/msr_index.h"

namespace nestor::vmx {
namespace {

struct Entry {
  uint64_t header = 0;
  uint64_t data = 0;
};
static_assert(sizeof(Entry) == 16);
constexpr uint64_t kEntrySize = sizeof(Entry);
constexpr uint64_t kDataOffset = offsetof(Entry, data);

// MSRs that a list must not name, whatever RDMSR and WRMSR would do ("Loading MSRs", "Saving
// MSRs").
struct Restriction {
  uint32_t first, last;
  bool on_load, on_store;
  std::string_view requirement;
};
constexpr std::string_view kNotX2apic = "must not be an MSR of the local APIC in x2APIC mode";
constexpr std::string_view kNotSmm = "must not be an MSR that is accessible in SMM only";
constexpr std::string_view kNotMicrocode = "must not be an MSR of the microcode update facility";
constexpr auto kRestrictions = std::to_array<Restriction>({
    {kIa32FsBase, kIa32GsBase, true, false, "must not be IA32_FS_BASE or IA32_GS_BASE"},
    {kFirstX2apicMsr, kLastX2apicMsr, true, true, kNotX2apic},
    {kIa32SmmMonitorCtl, kIa32SmmMonitorCtl, true, false, kNotSmm},
    {kIa32Smbase, kIa32Smbase, false, true, kNotSmm},
    {kIa32BiosUpdtTrig, kIa32BiosUpdtTrig, true, false, kNotMicrocode},
    {kIa32BiosSignId, kIa32BiosSignId, true, false, kNotMicrocode},
});

enum class Direction { kLoad, kStore };

// What forbids to name the MSR; empty: nothing does.
std::string_view violated(uint64_t header, Direction direction) {
  if (header >> 32) return "bits 63:32 of the entry must be 0";
  const auto index = static_cast<uint32_t>(header);
  for (const Restriction& r : kRestrictions) {
    const bool applies = direction == Direction::kLoad ? r.on_load : r.on_store;
    if (applies && index >= r.first && index <= r.last) return r.requirement;
  }
  return {};
}

template <typename T>
std::span<uint8_t, sizeof(T)> bytes_of(T& value) {
  return std::span<uint8_t, sizeof(T)>(reinterpret_cast<uint8_t*>(&value), sizeof(T));
}

}  // namespace

std::optional<MsrListFailure> load_msrs(Processor& cpu, const MsrList& list) {
  for (uint32_t i = 0; i < list.count; ++i) {
    if (i >= list.limit)
      return MsrListFailure{i + 1, 0, "the list must not exceed its maximum size"};
    Entry entry;
    if (!cpu.read_physical({list.area.value + i * kEntrySize}, bytes_of(entry)))
      return MsrListFailure{i + 1, entry.header, "the entry must lie in memory"};
    if (const auto why = violated(entry.header, Direction::kLoad); !why.empty())
      return MsrListFailure{i + 1, entry.header, why};
    if (cpu.write_msr(static_cast<uint32_t>(entry.header), entry.data) != MsrStatus::kOk)
      return MsrListFailure{i + 1, entry.header, "WRMSR of the value must not fault"};
  }
  return std::nullopt;
}

std::optional<MsrListFailure> store_msrs(Processor& cpu, const MsrList& list) {
  for (uint32_t i = 0; i < list.count; ++i) {
    if (i >= list.limit)
      return MsrListFailure{i + 1, 0, "the list must not exceed its maximum size"};
    const ept::PhysicalAddress at{list.area.value + i * kEntrySize};
    uint64_t header = 0, value = 0;
    if (!cpu.read_physical(at, bytes_of(header)))
      return MsrListFailure{i + 1, header, "the entry must lie in memory"};
    if (const auto why = violated(header, Direction::kStore); !why.empty())
      return MsrListFailure{i + 1, header, why};
    if (cpu.read_msr(static_cast<uint32_t>(header), value) != MsrStatus::kOk)
      return MsrListFailure{i + 1, header, "RDMSR of the MSR must not fault"};
    if (!cpu.write_physical({at.value + kDataOffset}, bytes_of(value)))
      return MsrListFailure{i + 1, header, "the entry must lie in memory"};
  }
  return std::nullopt;
}

CheckFailure failed_check(std::string_view id, std::string_view area, std::string_view section,
                          const MsrList& list, const MsrListFailure& failure) {
  CheckFailure check{id, area, failure.header, failure.requirement, section};
  check.entry = failure.entry;
  check.entries = list.count;
  return check;
}

}  // namespace nestor::vmx
