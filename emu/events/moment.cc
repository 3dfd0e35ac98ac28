// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/events/moment.h"

#include <charconv>

namespace nestor::emu {
namespace {

constexpr std::string_view kExit = "exit:", kMark = "mark:";

bool parse_number(std::string_view text, uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

std::string quoted(std::string_view text) { return "'" + std::string(text) + "'"; }

}  // namespace

std::variant<Moment, std::string> parse_moment(std::string_view text) {
  Moment moment;
  if (text.starts_with(kMark)) {
    moment.kind = Moment::Kind::kMark;
    moment.text = text.substr(kMark.size());
    if (moment.text.empty()) return "the text after mark: is empty";
    return moment;
  }
  if (text.starts_with(kExit)) {
    moment.kind = Moment::Kind::kExit;
    if (!parse_number(text.substr(kExit.size()), moment.number) || moment.number == 0)
      return quoted(text) + " names no VM exit; write exit: and a decimal number of at least 1";
    return moment;
  }
  if (!parse_number(text, moment.number)) {
    return quoted(text) +
           " is no moment; write a decimal number of instructions, exit:N or mark:TEXT";
  }
  return moment;
}

void MomentWatch::event(const MachineEvent& event) {
  if (std::holds_alternative<vmx::VmExitEvent>(event)) ++exits_;
  if (const auto* workload = std::get_if<WorkloadEvent>(&event)) {
    const std::string line = "workload number=" + std::to_string(workload->number) + "\n";
    for (const char c : line) output(Stream::kWorkload, static_cast<uint8_t>(c));
  }
}

void MomentWatch::output(Stream stream, uint8_t byte) {
  if (moment_.kind != Moment::Kind::kMark || marked_) return;
  std::string& latest = latest_[static_cast<size_t>(stream)];
  latest += static_cast<char>(byte);
  if (latest.size() > moment_.text.size()) latest.erase(0, 1);
  marked_ = latest == moment_.text;
}

bool MomentWatch::reached() const {
  switch (moment_.kind) {
    case Moment::Kind::kInstructions:
      return moment_.number == 0 || (instructions_ != nullptr && *instructions_ >= moment_.number);
    case Moment::Kind::kExit:
      return exits_ >= moment_.number;
    case Moment::Kind::kMark:
      return marked_;
  }
  return true;
}

}  // namespace nestor::emu
