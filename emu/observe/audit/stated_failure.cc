// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/stated_failure.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <string>

#include "emu/observe/audit/vmcs_formats.h"
#include "vmx/exit_reasons.h"
#include "vmx/instruction_errors.h"

namespace nestor::emu {
namespace {

using vmx::ExitReason;
using vmx::Field;

constexpr uint32_t failed_entry_reason(ExitReason basic) {
  return vmx::kExitReasonEntryFailure | static_cast<uint32_t>(basic);
}

// Words in lower case, with blanks for underscores.
struct Phrase {
  std::string_view words;
  StatedFailure failure;
};
constexpr StatedFailure kGuestStateFailed{Field::kExitReason,
                                          failed_entry_reason(ExitReason::kEntryFailureGuestState)};
constexpr StatedFailure kControlsFailed{
    Field::kVmInstructionError,
    static_cast<uint32_t>(vmx::InstructionError::kEntryInvalidControls)};
constexpr StatedFailure kHostStateFailed{
    Field::kVmInstructionError,
    static_cast<uint32_t>(vmx::InstructionError::kEntryInvalidHostState)};
constexpr StatedFailure kNoReason{};
// The first one that is there counts.
constexpr std::array kPhrases = {
    Phrase{"exit invalid guest state(", kGuestStateFailed},
    Phrase{"invalid guest state", kGuestStateFailed},
    Phrase{"invalid control field", kControlsFailed},
    Phrase{"invalid host-state field", kHostStateFailed},
    Phrase{"invalid host state field", kHostStateFailed},
    Phrase{"vm entry failed", kNoReason},
    Phrase{"vm-entry failed", kNoReason},
    Phrase{"vmentry failed", kNoReason},
    Phrase{"vm-entry failure", kNoReason},
    Phrase{"vmentry failure", kNoReason},
    Phrase{"vmlaunch failed", kNoReason},
    Phrase{"vmresume failed", kNoReason},
    Phrase{"vmlaunch error", kNoReason},
    Phrase{"vmresume error", kNoReason},
    Phrase{"kvm: entry failed", kNoReason},
    Phrase{"kvm exit fail entry", kNoReason},
};

// What a number follows.
enum class NumberKind : uint8_t { kReason, kError, kEither };
struct NumberLabel {
  std::string_view words;
  NumberKind number;
};
constexpr std::array kNumberLabels = {
    NumberLabel{"exit reason", NumberKind::kReason},
    NumberLabel{"instruction error", NumberKind::kError},
    NumberLabel{"hardware entry failure reason", NumberKind::kEither},
    NumberLabel{"entry failed, hardware error", NumberKind::kEither},
};

std::string in_plain_words(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    c = c == '_' || c == '\t' ? ' '
                              : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// The number after "=", ":", "is" or blanks; empty: something else is there.
std::string_view number_after(std::string_view text) {
  const auto skip_blanks = [&] {
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  };
  skip_blanks();
  for (const std::string_view between : {"=", ":", "is "})
    if (text.starts_with(between)) {
      text.remove_prefix(between.size());
      break;
    }
  skip_blanks();
  size_t end = 0;
  while (end < text.size() && std::isalnum(static_cast<unsigned char>(text[end])) != 0) ++end;
  return text.substr(0, end);
}

std::optional<StatedFailure> number_failure(std::string_view text, NumberKind kind) {
  const std::string_view number = number_after(text);
  if (kind != NumberKind::kReason) {
    for (const StatedFailure& error : {kControlsFailed, kHostStateFailed})
      if (number.size() < 4 && parse_hexadecimal(number) == error.value) return error;
  }
  if (kind == NumberKind::kError) return std::nullopt;
  const auto reason = exit_reason_number(number);
  if (!reason || !means_failed_entry(*reason)) return std::nullopt;
  return StatedFailure{Field::kExitReason, *reason | vmx::kExitReasonEntryFailure};
}

// Are the low 32 bits an exit reason, and the others nothing or its sign?
std::optional<uint32_t> as_exit_reason(uint64_t value) {
  constexpr uint32_t kUnused = 0x47ff0000, kBasic = 0xffff, kLastKnown = 0x7f;
  const auto low = static_cast<uint32_t>(value);
  const uint64_t high = value >> 32;
  if ((high != 0 && high != 0xffffffff) || (low & kUnused) != 0 || (low & kBasic) > kLastKnown)
    return std::nullopt;
  return low;
}

}  // namespace

bool means_failed_entry(uint32_t exit_reason) {
  constexpr std::array kFailures = {ExitReason::kEntryFailureGuestState,
                                    ExitReason::kEntryFailureMsrLoading,
                                    ExitReason::kEntryFailureMachineCheck};
  constexpr uint32_t kBasic = 0xffff;
  return (exit_reason & vmx::kExitReasonEntryFailure) != 0 ||
         std::ranges::find(kFailures, static_cast<ExitReason>(exit_reason & kBasic)) !=
             kFailures.end();
}

std::optional<uint32_t> exit_reason_number(std::string_view text) {
  while (text.ends_with('L') || text.ends_with('U') || text.ends_with('u')) text.remove_suffix(1);
  bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
  if (text.ends_with('h') || text.ends_with('H')) {
    text.remove_suffix(1);
    hexadecimal = true;
  }
  // Two digits are a basic exit reason, which everybody writes in decimal.
  constexpr size_t kBasicDigits = 2;
  if (!hexadecimal && !text.starts_with('0')) {
    uint64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (!text.empty() && error == std::errc{} && stop == end)
      if (const auto reason = as_exit_reason(value)) return reason;
    if (text.size() <= kBasicDigits) return std::nullopt;
  }
  const auto value = parse_hexadecimal(text);
  return value ? as_exit_reason(*value) : std::nullopt;
}

std::optional<StatedFailure> stated_failure(std::string_view line, FailureWords words) {
  const std::string text = in_plain_words(line);
  for (const NumberLabel& label : kNumberLabels) {
    const size_t at = text.find(label.words);
    if (at == std::string::npos) continue;
    const std::string_view rest = std::string_view(text).substr(at + label.words.size());
    if (const auto failure = number_failure(rest, label.number)) return failure;
  }
  if (words == FailureWords::kNumbers) return std::nullopt;
  for (const Phrase& phrase : kPhrases)
    if (text.find(phrase.words) != std::string::npos) return phrase.failure;
  return std::nullopt;
}

}  // namespace nestor::emu
