// SPDX-License-Identifier: GPL-2.0-or-later
//
// The registers of a guest, as programs print what KVM_GET_SREGS and KVM_GET_REGS give them and as
// DBVM prints the state in which it found the system. No VMCS, but what goes into one.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <map>
#include <set>

#include "emu/observe/audit/stated_failure.h"
#include "emu/observe/audit/vmcs_formats.h"
#include "vmx/cpu_state.h"

namespace nestor::emu {
namespace {

using vmx::Field;

// "CS base: 0x0 limit: 0xfff selector: 0x8 type: 0xb present: 0x1 dpl:0x0 db:0x0 ...": by the names
// of struct kvm_segment, which programs print with their own punctuation.
struct SegmentPart {
  std::string_view name;
  uint64_t largest;
  unsigned shift;  // in the access rights; of other parts it is of no use
};
constexpr std::array kRights = {
    SegmentPart{"type", 0xf, 0},  SegmentPart{"s", 1, 4},    SegmentPart{"dpl", 3, 5},
    SegmentPart{"present", 1, 7}, SegmentPart{"avl", 1, 12}, SegmentPart{"l", 1, 13},
    SegmentPart{"db", 1, 14},     SegmentPart{"g", 1, 15},
};
constexpr std::array<std::string_view, vmx::kSegmentCount> kSegmentNames = {
    "es", "cs", "ss", "ds", "fs", "gs", "ldt", "tr"};

struct RegisterName {
  std::string_view name;
  Field field;
};
constexpr std::array kTables = {RegisterName{"gdt", Field::kGuestGdtrBase},
                                RegisterName{"idt", Field::kGuestIdtrBase}};
constexpr std::array kOthers = {
    RegisterName{"cr0", Field::kGuestCr0},       RegisterName{"cr3", Field::kGuestCr3},
    RegisterName{"cr4", Field::kGuestCr4},       RegisterName{"efer", Field::kGuestIa32Efer},
    RegisterName{"rip", Field::kGuestRip},       RegisterName{"rsp", Field::kGuestRsp},
    RegisterName{"rflags", Field::kGuestRflags},
};
// After "originalstate->", beside those.
constexpr std::array kFound = {
    RegisterName{"dr7", Field::kGuestDr7},
    RegisterName{"gdtbase", Field::kGuestGdtrBase},
    RegisterName{"gdtlimit", Field::kGuestGdtrLimit},
    RegisterName{"idtbase", Field::kGuestIdtrBase},
    RegisterName{"idtlimit", Field::kGuestIdtrLimit},
};
constexpr std::string_view kFoundState = "originalstate->";

template <class Table>
std::optional<Field> find_register(const Table& table, std::string_view name) {
  const auto found = std::ranges::find(table, name, &RegisterName::name);
  return found != std::end(table) ? std::optional(found->field) : std::nullopt;
}

bool is_of_identifier(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

// 0x1f, or decimal without leading zeros.
std::optional<uint64_t> register_number(std::string_view text) {
  if (text.starts_with("0x")) return parse_hexadecimal(text);
  if (text.size() > 1 && text.starts_with('0')) return std::nullopt;
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc{} && stop == end && !text.empty() ? std::optional(value) : std::nullopt;
}

class RegisterReader {
 public:
  VmcsDocument document;
  bool has_segment = false;  // with base, limit, selector and more
  std::string error;

  // Words and, after '=' or ':', their numbers.
  void read(std::string_view text) {
    while (!text.empty()) {
      if (!is_of_identifier(text.front())) {
        line_ += text.front() == '\n' ? 1 : 0;
        text.remove_prefix(1);
        continue;
      }
      std::string word = take_word(text);
      std::string_view rest = text;
      skip_blanks(rest);
      if (rest.starts_with('=') || rest.starts_with(':')) {
        rest.remove_prefix(1);
        skip_blanks(rest);
        if (const auto value = register_number(take_word(rest))) {
          text = rest;
          pair(std::move(word), *value);
          continue;
        }
      }
      begin(word);
    }
    finish();
  }

  void set(Field field, uint64_t value) {
    if (document.given.contains(field)) return;
    // What KVM and DBVM add, as no guest could be entered without.
    if (field == Field::kGuestCr0) value |= vmx::cr0::kNe;
    if (field == Field::kGuestCr4) value |= vmx::cr4::kVmxe;
    const std::string bad = document.set({field, false}, value);
    if (!bad.empty() && error.empty())
      error = fmt::format("line {}: {}: {}", line_, vmx::info_of(field).name, bad);
  }

 private:
  static std::string take_word(std::string_view& text) {
    size_t end = 0;
    while (end < text.size() && is_of_identifier(text[end])) ++end;
    std::string word(text.substr(0, end));
    for (char& c : word) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    text.remove_prefix(end);
    return word;
  }
  static void skip_blanks(std::string_view& text) {
    text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  }

  void begin(std::string word) {
    if (word == "ldtr") word = "ldt";
    const bool table = find_register(kTables, word).has_value();
    if (!table && std::ranges::find(kSegmentNames, word) == kSegmentNames.end()) return;
    finish();
    subject_ = word;
  }

  void pair(std::string word, uint64_t value) {
    while (word.ends_with('_')) word.pop_back();  // type_ of Rust
    if (word == "typ") word = "type";
    if (!subject_.empty()) parts_.emplace(word, value);
    if (const auto field = find_register(kOthers, word)) set(*field, value);
  }

  // What has been said of `subject_`.
  void finish() {
    const auto part = [&](std::string_view name) {
      const auto found = parts_.find(name);
      return found != parts_.end() ? std::optional(found->second) : std::nullopt;
    };
    const auto segment = std::ranges::find(kSegmentNames, subject_);
    if (const auto base = find_register(kTables, subject_); base && part("base") && part("limit")) {
      set(*base, *part("base"));
      set(*base == Field::kGuestGdtrBase ? Field::kGuestGdtrLimit : Field::kGuestIdtrLimit,
          *part("limit"));
    } else if (segment != kSegmentNames.end() && part("base") && part("limit") &&
               part("selector") && part("type")) {
      has_segment = true;
      const auto index = static_cast<uint8_t>(segment - kSegmentNames.begin());
      set(vmx::guest_base(index), *part("base"));
      set(vmx::guest_limit(index), *part("limit"));
      set(vmx::guest_selector(index), *part("selector"));
      set_rights(index);
    }
    subject_.clear();
    parts_.clear();
  }

  // As KVM makes them of the parts; unknown where one is not there.
  void set_rights(uint8_t index) {
    uint64_t rights = 0;
    for (const SegmentPart& part : kRights) {
      const auto found = parts_.find(part.name);
      if (found == parts_.end() || found->second > part.largest) return;
      rights |= found->second << part.shift;
    }
    const auto unusable = parts_.find("unusable");
    if (parts_.find("present")->second == 0 || (unusable != parts_.end() && unusable->second != 0))
      rights |= vmx::AccessRights::kUnusable;
    set(vmx::guest_access_rights(index), rights);
  }

  std::string subject_;  // the segment or table to which the parts belong
  std::map<std::string, uint64_t, std::less<>> parts_;
  size_t line_ = 1;
};

// originalstate->cr0=80050033: all numbers hexadecimal.
void read_found_state(std::string_view text, RegisterReader& reader) {
  while (!text.empty()) {
    std::string_view line = take_line(text);
    const size_t at = line.find(kFoundState), equals = line.find('=');
    if (at == std::string_view::npos || equals == std::string_view::npos) continue;
    const size_t start = at + kFoundState.size();
    const std::string_view name = line.substr(start, std::max(equals, start) - start);
    const auto value = parse_hexadecimal(line.substr(equals + 1));
    if (!value) continue;
    auto field = find_register(kOthers, name);
    if (!field) field = find_register(kFound, name);
    if (const auto segment = std::ranges::find(kSegmentNames, name); segment != kSegmentNames.end())
      field = vmx::guest_selector(static_cast<uint8_t>(segment - kSegmentNames.begin()));
    if (field) reader.set(*field, *value);
  }
}

// The fields that such a text may state.
std::set<Field> fields_of_registers() {
  std::set<Field> fields;
  for (const RegisterName& name : kOthers) fields.insert(name.field);
  for (const RegisterName& name : kFound) fields.insert(name.field);
  for (uint8_t i = 0; i < vmx::kSegmentCount; ++i)
    fields.insert({vmx::guest_base(i), vmx::guest_limit(i), vmx::guest_selector(i),
                   vmx::guest_access_rights(i)});
  return fields;
}

bool is_found_state(std::string_view text) {
  return text.find(kFoundState) != std::string_view::npos;
}

}  // namespace

bool is_guest_registers(std::string_view text) {
  if (is_found_state(text)) return true;
  if (text.find("selector") == std::string_view::npos) return false;
  RegisterReader reader;
  reader.read(text);
  return reader.has_segment;
}

VmcsDocuments read_guest_registers(std::string_view text) {
  RegisterReader reader;
  if (is_found_state(text)) {
    read_found_state(text, reader);
  } else {
    reader.read(text);
  }
  if (!reader.error.empty()) return reader.error;
  VmcsDocument& document = reader.document;
  document.partial = document.registers = true;
  const std::set<Field> fields = fields_of_registers();
  for (const vmx::FieldInfo& info : vmx::kFields)
    if (!fields.contains(info.field)) document.never.insert(info.field);
  while (!text.empty())
    if (const auto failure = stated_failure(take_line(text), FailureWords::kAll))
      document.state(*failure);
  return std::vector<VmcsDocument>{std::move(document)};
}

}  // namespace nestor::emu
