// SPDX-License-Identifier: GPL-2.0-or-later
//
// HAXM's dump: "4000 VMX_PIN_CONTROLS: 3f", all numbers hexadecimal.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "emu/observe/audit/list_pairs.h"
#include "emu/observe/audit/stated_failure.h"
#include "emu/observe/audit/vmcs_formats.h"
#include "emu/observe/audit/vmcs_names.h"

namespace nestor::emu {
namespace {

using vmx::Field;

struct HaxmLine {
  Field field{};
  std::string_view name, number;
};

bool is_haxm_name(std::string_view name) {
  return !name.empty() && std::isalpha(static_cast<unsigned char>(name.front())) != 0 &&
         std::ranges::all_of(name,
                             [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
}

// Takes the last word off `text`.
std::string_view take_last_word(std::string_view& text) {
  const size_t blank = text.find_last_of(" \t");
  const std::string_view word = text.substr(blank == std::string_view::npos ? 0 : blank + 1);
  text = text.substr(0, blank == std::string_view::npos ? 0 : blank);
  return word;
}

std::optional<HaxmLine> haxm_line(std::string_view line) {
  constexpr size_t kEncodingDigits = 4;
  const size_t colon = line.rfind(": ");
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view number = trimmed(line.substr(colon + 2));
  std::string_view left = line.substr(0, colon);
  const std::string_view name = take_last_word(left);
  const std::string_view encoding = take_last_word(left);
  const auto value = parse_hexadecimal(encoding);
  if (!is_haxm_name(name) || encoding.size() != kEncodingDigits || !value ||
      !parse_hexadecimal(number))
    return std::nullopt;
  const auto access = vmx::decode_field(static_cast<uint32_t>(*value));
  if (!access || access->high) return std::nullopt;
  return HaxmLine{access->field, name, number};
}

// Fields that HAXM does not print.
constexpr std::array kNeverInHaxm = {Field::kHostIa32Pat, Field::kHostIa32Efer,
                                     Field::kHostIa32PerfGlobalCtrl};

}  // namespace

bool is_haxm_dump(std::string_view text) {
  constexpr int kEnough = 3;  // lines of this form that are no accident
  for (int lines = 0; !text.empty();) {
    const auto found = haxm_line(take_line(text));
    if (!found) continue;
    const auto named = find_vmcs_field(found->name);
    if (++lines == kEnough || (named && named->field == found->field)) return true;
  }
  return false;
}

VmcsDocuments read_haxm_dump(std::string_view text) {
  std::vector<VmcsDocument> documents(1);
  std::optional<StatedFailure> next;  // of the dump that follows
  for (size_t line = 1; !text.empty(); ++line) {
    const std::string_view written = take_line(text);
    const auto found = haxm_line(written);
    if (!found) {
      const auto failure = stated_failure(written, FailureWords::kAll);
      if (failure && (!next || failure->field)) next = failure;
      continue;
    }
    // The first field again; where two processors print at once, other fields come twice.
    const bool again = documents.back().given.contains(found->field);
    if (again && found->field != Field::kPinBasedControls) continue;
    if (again) documents.emplace_back();
    if (next) documents.back().state(*std::exchange(next, std::nullopt));
    const std::string bad =
        documents.back().set({found->field, false}, *parse_hexadecimal(found->number));
    if (!bad.empty())
      return fmt::format("line {}: {}: {}", line, vmx::info_of(found->field).name, bad);
  }
  if (next) documents.back().state(*next);
  for (VmcsDocument& document : documents) {
    document.partial = true;
    document.never.insert(kNeverInHaxm.begin(), kNeverInHaxm.end());
  }
  return documents;
}

}  // namespace nestor::emu
