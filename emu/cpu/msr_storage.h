// SPDX-License-Identifier: GPL-2.0-or-later
//
// MSRs that neither VM entries and exits nor the local APIC have a part in.
#pragma once

#include <array>
#include <cstdint>

#include "emu/cpu/last_branches.h"

namespace nestor::emu {

inline constexpr unsigned kVariableMtrrs = 8;
inline constexpr unsigned kFixedMtrrs = 11;

struct MsrStorage {
  uint64_t tsc_adjust = 0;
  uint64_t mtrr_def_type = 0;
  std::array<uint64_t, kFixedMtrrs> mtrr_fixed{};            // in the order of their indices
  std::array<uint64_t, 2 * kVariableMtrrs> mtrr_variable{};  // base and mask by turns
  uint64_t mcg_status = 0;
  static constexpr uint64_t kCpuidFaulting = 1;  // of misc_feature_enables
  uint64_t misc_feature_enables = 0;
  uint64_t pkg_cst_config = 0, perf_ctl = 0, misc_feature_control = 0, misc_pwr_mgmt = 0,
           power_ctl = 0;
  LastBranches last_branches;
  // XCR0, which is no MSR; XSETBV writes it.
  uint64_t xcr0 = 1;

  template <class Archive>
  void fields(Archive& archive) {
    archive(tsc_adjust, mtrr_def_type, mtrr_fixed, mtrr_variable, mcg_status, misc_feature_enables,
            pkg_cst_config, perf_ctl, misc_feature_control, misc_pwr_mgmt, power_ctl, last_branches,
            xcr0);
  }
};

}  // namespace nestor::emu
