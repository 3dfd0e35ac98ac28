// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/list_names.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

#include "emu/observe/audit/list_pairs.h"
#include "emu/observe/audit/vmcs_names.h"

namespace nestor::emu {
namespace {

using vmx::Field;
using vmx::FieldAccess;

constexpr std::array<std::string_view, 13> kRegisters = {
    "es", "cs", "ss", "ds", "fs", "gs", "ldt", "ldtr", "tr", "gdt", "gdtr", "idt", "idtr"};
constexpr std::array<std::string_view, 17> kGeneral = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi",
                                                       "rbp", "r8",  "r9",  "r10", "r11", "r12",
                                                       "r13", "r14", "r15", "cr2", "cr8"};

struct NamedField {
  std::string_view name;
  Field field;
};
// Unions of bits of C; the whole is their member "flags".
constexpr std::array kUnions = {
    NamedField{"pinbased_ctls", Field::kPinBasedControls},
    NamedField{"procbased_ctls", Field::kPrimaryProcBasedControls},
    NamedField{"procbased_ctls2", Field::kSecondaryProcBasedControls},
    NamedField{"entry_ctls", Field::kVmEntryControls},
    NamedField{"exit_ctls", Field::kVmExitControls},
};
constexpr std::array kVcpuRegisters = {NamedField{"rip", Field::kGuestRip},
                                       NamedField{"rfl", Field::kGuestRflags},
                                       NamedField{"rsp", Field::kGuestRsp}};

template <class Table>
std::optional<FieldAccess> find_in(const Table& table, std::string_view name) {
  const auto found = std::ranges::find(table, name, &NamedField::name);
  return found != std::end(table) ? std::optional(FieldAccess{found->field, false}) : std::nullopt;
}

bool is_register(std::string_view name) {
  return std::ranges::find(kRegisters, name) != kRegisters.end();
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

}  // namespace

std::optional<FieldAccess> find_field_in(std::string_view name) {
  constexpr size_t kLongest = 400;
  if (name.size() > kLongest) name.remove_prefix(name.size() - kLongest);
  while (!name.empty()) {
    const bool number = !is_prefixed_hexadecimal(name) && parse_number(name);
    if (const auto access = find_vmcs_field(name); access && !number) return access;
    if (name.starts_with("(0x"))
      if (const auto access = find_vmcs_field(name.substr(1, name.find(')') - 1))) return access;
    if (const size_t open = name.find(" ("); open != std::string_view::npos)
      if (const auto head = name.substr(0, open); !parse_number(head))
        if (const auto access = find_vmcs_field(head)) return access;
    name = trimmed(name.substr(std::min(name.find_first_of("]:>|@. "), name.size() - 1) + 1));
  }
  return std::nullopt;
}

std::string_view written_name(std::string_view name) {
  size_t at = name.find_last_of("]:>|");
  if (at == std::string_view::npos) return trimmed(name);
  if (is_in_time(name, at)) at = std::min(name.find(' ', at), name.size() - 1);
  return trimmed(name.substr(at + 1));
}

std::string_view whose(std::string_view name) {
  const std::string words = lower_case(name);
  for (const std::string_view word : {"guest ", "host "}) {
    const size_t at = words.find(word);
    if (at != std::string::npos &&
        (at == 0 || std::isalnum(static_cast<unsigned char>(words[at - 1])) == 0))
      return word;
  }
  return {};
}

std::string_view whose_heading(std::string_view line) {
  constexpr size_t kLongest = 40;
  const size_t first = line.find_first_not_of(" \t#*=-");
  if (first == std::string_view::npos || line.size() - first > kLongest) return {};
  const std::string words = lower_case(line.substr(first));
  for (const std::string_view word : {"guest ", "host "})
    if (words.starts_with(word)) return word;
  return {};
}

std::optional<FieldAccess> find_register_part(std::string_view name, std::string_view whose) {
  const std::string words = lower_case(name);
  const size_t end = words.find(' ');
  if (end == std::string::npos || !is_register(words.substr(0, end))) return std::nullopt;
  std::string part = words.substr(end + 1);
  if (part == "rights") part = "access rights";
  if (part == "base address") part = "base";
  std::string reg = words.substr(0, end);
  if (reg == "gdt" || reg == "idt") reg += 'r';
  return find_vmcs_field(std::string(whose) + reg + " " + part);
}

std::optional<Member> find_member(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || name.find(' ') != std::string_view::npos)
    return std::nullopt;
  const std::string whole = lower_case(name.substr(0, dot));
  if (const auto field = find_in(kUnions, whole))
    return Member{name.substr(dot + 1) == "flags" ? field : std::nullopt};
  if (is_register(whole.substr(0, whole.find('_')))) return Member{};
  return std::nullopt;
}

std::optional<FieldAccess> find_vcpu_register(std::string_view name) {
  return find_in(kVcpuRegisters, name);
}

bool is_beside_the_fields(std::string_view name) {
  const std::string words = lower_case(name);
  return std::ranges::find(kGeneral, words) != kGeneral.end() ||
         (is_register(words.substr(0, words.find(' '))) && words.find('(') != std::string::npos);
}

}  // namespace nestor::emu
