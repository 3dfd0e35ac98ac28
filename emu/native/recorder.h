// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>

#include "ept/paging_mode.h"

namespace nestor::emu::native {

struct RecorderOptions {
  std::string device = "/dev/kvm";
  std::uint64_t seed = 1;
  unsigned walks = 1000;
  ept::PagingMode mode = ept::PagingMode::k4Level;
};

/// Asks KVM until so many walks are found that differ in what they are about, or until nothing new
/// comes: the text of a file, with a head that says where it was recorded. Walks on which the
/// walker and KVM differ, or that a known divergence explains, are left out. Throws `Unavailable`.
[[nodiscard]] std::string record_walks(const RecorderOptions& options);

}  // namespace nestor::emu::native
