// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a text says in words of a VM entry that failed, beside the fields of the VMCS.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "vmx/fields.h"

namespace nestor::emu {

struct StatedFailure {
  // Exit reason or VM-instruction error, and its value; std::nullopt: the text does not say why.
  std::optional<vmx::Field> field;
  uint32_t value = 0;
};

enum class FailureWords : uint8_t {
  kAll,
  kNumbers,  // only an exit reason or an error with its number: source text has the other words
};
// What a line says; std::nullopt: nothing of a failed VM entry.
std::optional<StatedFailure> stated_failure(std::string_view line, FailureWords words);

// Does the exit reason mean a failed VM entry? Hypervisors show some of them without bit 31.
bool means_failed_entry(uint32_t exit_reason);

// A number as texts write exit reasons: 33, 0x80000021, 80000021, ffffffff80000021, of which the
// low 32 bits count. std::nullopt: none that could be an exit reason.
std::optional<uint32_t> exit_reason_number(std::string_view text);

}  // namespace nestor::emu
