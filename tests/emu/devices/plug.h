// SPDX-License-Identifier: GPL-2.0-or-later
//
// Devices under test, at the places that they have in the PC.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "emu/machine/board.h"

namespace nestor::emu::test {

// Claims the regions of `device` where the row of the board has them, as long as the result lives.
[[nodiscard]] inline std::vector<Claim> plug(Bus& bus, Device& device, std::string_view row) {
  const auto rows = pc_board();
  const auto found = std::ranges::find(rows, row, &BoardRow::name);
  if (found == rows.end()) {
    ADD_FAILURE() << "no row " << row;
    return {};
  }
  std::vector<Claim> claims = claim_all(bus, device, found->bases);
  EXPECT_FALSE(claims.empty()) << row;
  return claims;
}

}  // namespace nestor::emu::test
