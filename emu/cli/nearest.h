// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string_view>
#include <vector>

namespace nestor::emu {

// The one of `names` that `name` may have been meant to be: it begins so, or a few letters are
// others; upper or lower case does not matter. Empty: none is close.
std::string_view nearest(std::string_view name, const std::vector<std::string_view>& names);

}  // namespace nestor::emu
