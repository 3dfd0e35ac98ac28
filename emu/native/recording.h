// SPDX-License-Identifier: GPL-2.0-or-later
//
// Walks as KVM did them, written down so that the walker can be held to them without KVM.
// tests/golden/README.md describes the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "emu/native/shrink.h"

namespace nestor::emu::native {

/// What KVM answered.
struct RecordedResult {
  enum class Kind : std::uint8_t {
    kTranslated,         ///< KVM_TRANSLATE found `address`.
    kNotTranslated,      ///< KVM_TRANSLATE found none.
    kCompleted,          ///< The access was made, in memory.
    kOutside,            ///< The access was made, outside memory at `address`.
    kPageFault,          ///< #PF with `error_code`.
    kGeneralProtection,  ///< #GP, as the address is not canonical.
  };
  Kind kind = Kind::kNotTranslated;
  std::uint64_t address = 0;
  std::uint32_t error_code = 0;
  bool operator==(const RecordedResult&) const = default;
};

struct RecordedWalk {
  Case asked;
  RecordedResult result;
  /// The entries that the walk changed, as it left them.
  std::vector<Case::Entry> left{};
};

/// Several lines, the last one empty.
[[nodiscard]] std::string to_text(const RecordedWalk& walk, unsigned number);

/// The walks of a file; a string says what is wrong with it, and in which line.
[[nodiscard]] std::variant<std::vector<RecordedWalk>, std::string> parse_recording(
    std::string_view text);

/// Does the walk with the walker of ept/, on memory that holds what was recorded: `bytes`, of
/// Layout::kMemorySize, whatever is in them. Nothing: the same result, and the same entries left.
/// Otherwise what differs, on one line. After a fault, accessed flags may differ: "Accessed and
/// Dirty Flags" leaves open when they are set.
[[nodiscard]] std::optional<std::string> replay(const RecordedWalk& walk,
                                                std::span<std::byte> bytes);

}  // namespace nestor::emu::native
