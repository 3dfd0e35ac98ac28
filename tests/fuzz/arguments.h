// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <charconv>
#include <cstdint>
#include <string_view>
#include <system_error>

namespace nestor::emu::testing {

// A decimal number, an argument of a fuzzer. false: it is none.
inline bool parse_number(std::string_view text, uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace nestor::emu::testing
