// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/vmx/outputs.h"

#include <algorithm>
#include <charconv>
#include <variant>

#include "emu/observe/audit/vmcs_document.h"
#include "vmx/capabilities.h"

namespace nestor::fuzz {
namespace {

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

}  // namespace

uint64_t value_at(const Values& values, uint64_t key) {
  const auto found = values.find(key);
  return found == values.end() ? 0 : found->second;
}

std::map<uint64_t, CaseOutput> parse_output(std::string_view output) {
  std::map<uint64_t, CaseOutput> results;
  CaseOutput* current = nullptr;
  for_each_part(output, '\n', [&](std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with("case ")) {
      current = &results[number(line.substr(5))];
      return;
    }
    if (current == nullptr) return;
    if (line.starts_with("VMfail")) current->failure = line;
    if (line.starts_with("exit ")) current->exits.push_back({pairs(line), {}, {}, {}});
    if (current->exits.empty()) return;
    Exit& exit = current->exits.back();
    if (line.starts_with("guest")) exit.guest = pairs(line);
    if (line.starts_with("registers")) exit.registers = pairs(line);
    if (line.starts_with("memory")) exit.memory = pairs(line);
  });
  return results;
}

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
  return emu::capabilities_from(*documents.front().capabilities, vmx::nestor_capabilities())
      .capabilities;
}

}  // namespace nestor::fuzz
