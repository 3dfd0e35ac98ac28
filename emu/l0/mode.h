// SPDX-License-Identifier: GPL-2.0-or-later
//
// How the machine virtualizes the memory of an L2 guest.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace nestor::emu {

enum class L0Mode : uint8_t {
  kHardware,        // no L0: L1 has the processor, which walks EPT12 itself
  kTwoLevel,        // the processor walks EPT12 and, below it, EPT01; nothing is shadowed
  kNestedEpt,       // L2 runs on EPT02, which L0 fills from EPT12 over EPT01
  kShadowOnEpt,     // L1 has no EPT: L2 runs on L1's shadow page tables, over EPT01
  kShadowOnShadow,  // nobody has EPT: L1 runs on SPT01, L2 on SPT02, both L0's shadow page tables
};

struct L0ModeInfo {
  L0Mode mode{};
  std::string_view name;  // on the command line and in reports
  bool has_l0 = true;
  bool l0_uses_ept = true;
  bool offers_ept = true;     // to L1
  bool fills_tables = false;  // L0 builds tables page by page, as its guests touch memory
};

inline constexpr std::array kL0Modes = {
    L0ModeInfo{L0Mode::kHardware, "hardware", false, false, true},
    L0ModeInfo{L0Mode::kTwoLevel, "two-level", true, true, true},
    L0ModeInfo{L0Mode::kNestedEpt, "nested-ept", true, true, true, true},
    L0ModeInfo{L0Mode::kShadowOnEpt, "shadow-on-ept", true, true, false},
    L0ModeInfo{L0Mode::kShadowOnShadow, "shadow-on-shadow", true, false, false, true},
};

constexpr const L0ModeInfo& info_of(L0Mode mode) { return kL0Modes[static_cast<size_t>(mode)]; }
static_assert([] {
  for (const L0ModeInfo& info : kL0Modes)
    if (info_of(info.mode).name != info.name) return false;
  return true;
}());

// By name; std::nullopt: there is none of this name.
constexpr std::optional<L0Mode> find_l0_mode(std::string_view name) {
  for (const L0ModeInfo& info : kL0Modes)
    if (info.name == name) return info.mode;
  return std::nullopt;
}

// A table of each level: with fewer nothing can be mapped. An instruction that accesses several
// pages needs more; the run ends if it does not get them.
inline constexpr uint64_t kFewestShadowPages = 4;

struct L0Config {
  L0Mode mode = L0Mode::kHardware;
  bool vmcs_shadowing = true;  // L1's VMREAD and VMWRITE reach a shadow VMCS without VM exit
  // Pages that each processor has for L0's tables beyond EPT01; 0: as many as there are.
  uint64_t shadow_page_limit = 0;

  template <class Archive>
  void fields(Archive& archive) {
    archive(mode, vmcs_shadowing, shadow_page_limit);
    archive.require(mode <= L0Mode::kShadowOnShadow);
  }
};

}  // namespace nestor::emu
