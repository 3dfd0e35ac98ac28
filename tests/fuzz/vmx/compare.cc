// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/vmx/compare.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "emu/audit/vmcs_document.h"
#include "emu/cpu/cpuid.h"
#include "vmx/exit_reasons.h"

namespace nestor::fuzz {
namespace {

using Values = std::map<uint64_t, uint64_t>;

struct Exit {
  Values information, guest, registers;
};
struct Result {
  std::string failure;  // the line of a VMfail; empty: none
  std::vector<Exit> exits;
  bool missing_field = false;
};
using Results = std::map<uint64_t, Result>;

uint64_t number(std::string_view text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return value;
}

template <class Visit>
void for_each_part(std::string_view text, char separator, const Visit& visit) {
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (end != 0) visit(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

Values pairs(std::string_view text) {
  Values values;
  for_each_part(text, ' ', [&](std::string_view part) {
    const size_t equals = part.find('=');
    if (equals != part.npos)
      values[number(part.substr(0, equals))] = number(part.substr(equals + 1));
  });
  return values;
}

Results parse(std::string_view output) {
  Results results;
  Result* current = nullptr;
  for_each_part(output, '\n', [&](std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with("case ")) {
      current = &results[number(line.substr(5))];
      return;
    }
    if (current == nullptr) return;
    if (line.starts_with("VMfail")) current->failure = line;
    if (line.starts_with("no field")) current->missing_field = true;
    if (line.starts_with("exit ")) current->exits.push_back({pairs(line), {}, {}});
    if (current->exits.empty()) return;
    if (line.starts_with("guest ")) current->exits.back().guest = pairs(line);
    if (line.starts_with("registers ")) current->exits.back().registers = pairs(line);
  });
  return results;
}

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "%#llx", static_cast<unsigned long long>(value));
  return text;
}

// A difference in words: its kind, by which differences are counted, and the values.
struct Difference {
  std::string kind, values;
};

std::optional<Difference> differ(const std::string& kind, const Values& left, const Values& right,
                                 uint64_t key, uint64_t mask) {
  const auto value = [key](const Values& values) {
    const auto found = values.find(key);
    return found == values.end() ? 0 : found->second;
  };
  const uint64_t a = value(left) & mask, b = value(right) & mask;
  if (a == b) return std::nullopt;
  return Difference{kind, hex(a) + " " + hex(b)};
}

constexpr uint64_t kReason = 0x4402, kQualification = 0x6400, kInterruption = 0x4404,
                   kInterruptionError = 0x4406, kVectoring = 0x4408, kVectoringError = 0x440a,
                   kLength = 0x440c, kInformation = 0x440e, kGuestPhysical = 0x2400,
                   kGuestLinear = 0x640a, kEntryControls = 0x4012;

// The bits of the exit qualification that both define.
uint64_t qualification_mask(const vmx::ExitReasonInfo& info, uint64_t interruption) {
  using vmx::QualificationFormat;
  switch (info.qualification) {
    case QualificationFormat::kNone:
      return 0;
    case QualificationFormat::kDebugOrPageFault:
      return (interruption & 0xff) == 14 || (interruption & 0xff) == 1 ? ~0ull : 0;
    case QualificationFormat::kEptViolation:
      return 0x1bf | 1u << 12;  // without advanced VM-exit information and mode-based control
    default:
      return ~0ull;
  }
}

std::optional<Difference> compare(const Exit& left, const Exit& right) {
  const auto at = [](const Values& values, uint64_t key) {
    const auto found = values.find(key);
    return found == values.end() ? uint64_t{0} : found->second;
  };
  const uint64_t a = at(left.information, kReason), b = at(right.information, kReason);
  const auto name = [&](uint64_t reason, const Exit& exit) {
    std::string text(vmx::exit_reason_name(static_cast<uint32_t>(reason)));
    if ((reason & 0xffff) == 0)
      text += " " + std::to_string(at(exit.information, kInterruption) & 0xff);
    return text;
  };
  const std::string where = name(a, left) + ": ";
  if (name(a, left) != name(b, right) || a != b)
    return Difference{"reason " + name(a, left) + " / " + name(b, right), hex(a) + " " + hex(b)};
  const vmx::ExitReasonInfo* info = vmx::find_exit_reason(a & 0xffff);
  if (info == nullptr) return std::nullopt;
  const uint64_t interruption = at(left.information, kInterruption),
                 vectoring = at(left.information, kVectoring);
  const auto check = [&](const char* what, uint64_t key, uint64_t mask) {
    return differ(where + what, left.information, right.information, key, mask);
  };
  if (auto d = check("qualification", kQualification, qualification_mask(*info, interruption)))
    return d;
  if ((a & vmx::kExitReasonEntryFailure) != 0) return std::nullopt;
  if (info->defines & vmx::kDefinesInterruption) {
    const uint64_t mask = interruption >> 31 != 0 ? ~0ull : 1ull << 31;
    if (auto d = check("interruption information", kInterruption, mask)) return d;
    if (interruption & 0x800)
      if (auto d = check("error code", kInterruptionError, ~0ull)) return d;
  }
  if (auto d = check("IDT-vectoring information", kVectoring,
                     vectoring >> 31 != 0 ? 0xffffefff : 1ull << 31))
    return d;
  if (vectoring & 0x800)
    if (auto d = check("IDT-vectoring error code", kVectoringError, ~0ull)) return d;
  const bool events = info->reason == vmx::ExitReason::kExceptionOrNmi;
  const bool accesses = info->defines & vmx::kDefinesGuestPhysical ||
                        info->reason == vmx::ExitReason::kApicAccess ||
                        info->reason == vmx::ExitReason::kTaskSwitch;
  const uint64_t type = interruption >> 8 & 7;
  if ((info->defines & vmx::kDefinesLength) && !accesses && (!events || (type >= 4 && type <= 6)))
    if (auto d = check("instruction length", kLength, ~0ull)) return d;
  if (info->defines & vmx::kDefinesInformation)
    if (auto d = check("instruction information", kInformation, ~0ull)) return d;
  if (info->defines & vmx::kDefinesGuestPhysical)
    if (auto d = check("guest-physical address", kGuestPhysical, ~0ull)) return d;
  if (info->reason == vmx::ExitReason::kEptViolation &&
      (at(left.information, kQualification) & 0x80) != 0)
    if (auto d = check("guest-linear address", kGuestLinear, ~0ull)) return d;
  if (auto d = check("VM-entry controls", kEntryControls, ~0ull)) return d;

  Values keys = left.guest;
  keys.insert(right.guest.begin(), right.guest.end());
  for (const auto& [key, ignored] : keys) {
    const bool both = left.guest.contains(key) && right.guest.contains(key);
    const auto field = vmx::decode_field(static_cast<uint32_t>(key));
    const std::string what = where + std::string(field ? vmx::info_of(field->field).name : "?");
    if (!both) {
      const bool is_left = left.guest.contains(key);
      const uint64_t value = at(is_left ? left.guest : right.guest, key);
      return Difference{what + (is_left ? " changed on the left" : " changed on the right"),
                        hex(value)};
    }
    if (auto d = differ(what, left.guest, right.guest, key, ~0ull)) return d;
  }
  for (const auto& [key, value] : left.registers)
    if (auto d = differ(where + "register " + std::to_string(key), left.registers, right.registers,
                        key, ~0ull))
      return d;
  return std::nullopt;
}

std::optional<Difference> compare(const Result& left, const Result& right) {
  for (size_t i = 0; i < std::min(left.exits.size(), right.exits.size()); ++i)
    if (auto d = compare(left.exits[i], right.exits[i])) return d;
  if (left.exits.size() != right.exits.size()) {
    const auto end = [](const Result& result, size_t i) {
      if (i < result.exits.size())
        return std::string(
            vmx::exit_reason_name(static_cast<uint32_t>(result.exits[i].information.at(kReason))));
      return result.failure.empty() ? std::string("nothing") : result.failure;
    };
    const size_t i = std::min(left.exits.size(), right.exits.size());
    return Difference{"outcome " + end(left, i) + " / " + end(right, i), ""};
  }
  if (left.failure != right.failure)
    return Difference{"outcome " + left.failure + " / " + right.failure, ""};
  return std::nullopt;
}

}  // namespace

vmx::Capabilities capabilities_of_output(std::string_view output, std::string& error) {
  constexpr std::string_view kMachine = "machine ";
  const size_t start = output.find(kMachine);
  if (start == output.npos) {
    error = "no line that begins with 'machine'";
    return {};
  }
  std::string_view line = output.substr(start + kMachine.size());
  line = line.substr(0, line.find_first_of("\r\n"));
  const auto read = emu::read_vmcs_documents(line);
  if (const auto* bad = std::get_if<std::string>(&read)) {
    error = *bad;
    return {};
  }
  const auto& documents = std::get<std::vector<emu::VmcsDocument>>(read);
  if (!documents.front().capabilities) {
    error = "the line says nothing of capabilities";
    return {};
  }
  return emu::capabilities_from(*documents.front().capabilities, emu::offered_capabilities())
      .capabilities;
}

Comparison compare_outputs(std::string_view left, std::string_view right) {
  const Results a = parse(left), b = parse(right);
  struct Kind {
    size_t count = 0;
    std::vector<std::string> samples;
  };
  std::map<std::string, Kind> kinds;
  Comparison comparison;
  for (const auto& [seed, result] : a) {
    const auto found = b.find(seed);
    if (found == b.end()) continue;
    ++comparison.compared;
    const auto difference = compare(result, found->second);
    if (!difference) continue;
    ++comparison.different;
    Kind& kind = kinds[difference->kind];
    ++kind.count;
    if (kind.samples.size() < 4)
      kind.samples.push_back(std::to_string(seed) + ": " + difference->values);
  }
  std::vector<std::pair<std::string, Kind>> sorted(kinds.begin(), kinds.end());
  std::ranges::stable_sort(sorted, {},
                           [](const auto& kind) { return -int64_t(kind.second.count); });
  for (const auto& [name, kind] : sorted) {
    comparison.report += std::to_string(kind.count) + "  " + name + "\n";
    for (const std::string& sample : kind.samples) comparison.report += "        " + sample + "\n";
  }
  return comparison;
}

}  // namespace nestor::fuzz
