// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace nestor::ept {

/// Memory types as PAT, MTRRs and EPT encode them.
enum class MemoryType : std::uint8_t {
  kUncacheable = 0,     ///< UC
  kWriteCombining = 1,  ///< WC
  kWriteThrough = 4,    ///< WT
  kWriteProtected = 5,  ///< WP
  kWriteBack = 6,       ///< WB
  kUncachedMinus = 7,   ///< UC-: a PAT entry only
};

/// The abbreviation the SDM uses: "UC", "WC", ...; "reserved" for an encoding that has none.
[[nodiscard]] std::string_view memory_type_name(MemoryType type);

/// The type that entry `index` (0..7) of IA32_PAT selects.
[[nodiscard]] constexpr MemoryType pat_type(std::uint64_t ia32_pat, unsigned index) {
  return static_cast<MemoryType>(ia32_pat >> (8 * index) & 7);
}

/// The type of an access to a page whose EPT memory type is `ept` and whose PAT memory type is
/// `pat`, with CR0.CD = 0. Source: SDM, "Memory Type Used for Translated Guest-Physical Addresses",
/// and volume 3A, "Effective Page-Level Memory Types". Reserved combinations give UC.
[[nodiscard]] MemoryType effective_memory_type(MemoryType ept, bool ignore_pat, MemoryType pat);

}  // namespace nestor::ept
