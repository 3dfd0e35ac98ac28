// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/events/filter.h"

namespace nestor::emu {
namespace {

constexpr std::string_view kAll = "all", kNone = "none";

std::optional<size_t> find_kind(std::string_view name) {
  for (size_t i = 0; i < kEventKindCount; ++i) {
    if (event_kinds()[i].name == name) return i;
  }
  return std::nullopt;
}

std::string unknown(std::string_view name) {
  std::string text = "'" + std::string(name) + "' is no kind of event; choose from all, none";
  for (const EventKind& kind : event_kinds()) text.append(", ").append(kind.name);
  return text;
}

constexpr size_t kWalks = MachineEvent(WalkEvent{}).index();

}  // namespace

std::variant<EventKinds, std::string> parse_event_kinds(std::string_view text) {
  EventKinds kinds;
  if (text.starts_with('-')) kinds.set();
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const bool without = item.starts_with('-');
    const std::string_view name = item.substr(without ? 1 : 0);
    const auto kind = find_kind(name);
    if (kind) {
      kinds.set(*kind, !without);
    } else if (item == kAll) {
      kinds.set();
    } else if (item == kNone) {
      kinds.reset();
    } else {
      return unknown(name);
    }
    if (comma == text.npos) return kinds;
    text.remove_prefix(comma + 1);
  }
}

void FilteredEvents::attach(const Clock& clock, const uint64_t& instructions) {
  if (from_) from_->attach(instructions);
  next_.attach(clock, instructions);
}

void FilteredEvents::resumed(uint64_t exits, const std::vector<bool>& in_l2) {
  if (from_) from_->resumed(exits);
  in_l2_ = in_l2;
  next_.resumed(exits, in_l2);
}

void FilteredEvents::processor(unsigned number) {
  processor_ = number;
  if (in_l2_.size() <= number) in_l2_.resize(number + 1);
  next_.processor(number);
}

bool FilteredEvents::wants_walks() const {
  return kinds_[kWalks] && at_level() && started() && next_.wants_walks();
}

void FilteredEvents::on(const MachineEvent& event) {
  const bool entry = std::holds_alternative<vmx::VmEntryEvent>(event);
  const bool exit = std::holds_alternative<vmx::VmExitEvent>(event);
  if (from_) from_->event(event);
  if (kinds_[event.index()] && (entry || exit || at_level()) && started()) next_.on(event);
  if (entry || exit) in_l2_[processor_] = entry;
}

}  // namespace nestor::emu
