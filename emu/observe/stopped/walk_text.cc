// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/stopped/walk_text.h"

#include <spdlog/fmt/fmt.h>

#include <iterator>
#include <span>
#include <string_view>

#include "emu/events/kinds.h"
#include "emu/observe/stopped/entry_bits.h"
#include "ept/ept_format.h"

namespace nestor::emu {
namespace {

void append(std::string& text, std::string_view name) {
  if (!text.empty()) text += ", ";
  text += name;
}

std::string outcome_text(const InspectedWalk& walk) {
  const WalkEvent& event = walk.event;
  if (walk.unreachable) return "the next paging structure lies where there is no memory";
  const std::string_view why = event.rule.empty() ? event.why : event.rule;
  switch (event.outcome) {
    case WalkOutcome::kTranslated: {
      std::string text = fmt::format("physical address {:#x}", event.physical);
      if (event.eptp && event.linear)
        text = fmt::format("guest-physical address {:#x}, {}", event.guest_physical, text);
      return text;
    }
    case WalkOutcome::kPageFault:
      return fmt::format("page fault: {}", why);
    case WalkOutcome::kEptViolation:
      return fmt::format("EPT violation for guest-physical address {:#x}: {}", event.guest_physical,
                         why);
    case WalkOutcome::kEptMisconfiguration:
      return fmt::format("EPT misconfiguration for guest-physical address {:#x}: {}",
                         event.guest_physical, why);
    case WalkOutcome::kSubPageEvent:
      return fmt::format("SPP-related event for guest-physical address {:#x}: {}",
                         event.guest_physical, why);
  }
  return {};
}

}  // namespace

std::string_view name_view(View view) {
  switch (view) {
    case View::kL1Physical:
      return "physical address";
    case View::kL2Physical:
      return "L2's guest-physical address";
    case View::kL1Linear:
      return "L1's linear address";
    case View::kL2Linear:
      return "L2's linear address";
  }
  return {};
}

std::string name_entry_bits(const ept::Step& step) {
  std::string text;
  const bool ept = step.dimension == ept::Dimension::kEpt;
  if (step.dimension == ept::Dimension::kSubPage) return text;
  if (!ept && (step.entry & 1) == 0) return "not present";
  if (ept &&
      (step.entry & (ept::EptEntry::kRead | ept::EptEntry::kWrite | ept::EptEntry::kExecute)) == 0)
    return "not present";
  const bool maps_page = step.level == 1 || (step.entry & 1 << 7) != 0;
  for (const EntryBit& bit : entry_bits(step.dimension)) {
    if ((step.entry >> bit.bit & 1) == 0 || (bit.only_of_pages && !maps_page)) continue;
    append(text, bit.name == "PS" && step.level == 1 ? "PAT" : bit.name);
  }
  if (ept && maps_page) append(text, ept_memory_type(step.entry));
  if (maps_page && step.level == 2) append(text, ept ? "2-MByte page" : "large page");
  if (maps_page && step.level == 3) append(text, "1-GByte page");
  return text;
}

std::string describe_step(const ept::Step& step) {
  std::string text =
      fmt::format("{:<5} level {} entry at {:#x}",
                  kDimensionNames[static_cast<size_t>(step.dimension)], step.level, step.address);
  if (step.machine_address != step.address)
    text += fmt::format(" (physical {:#x})", step.machine_address);
  const std::string names = name_entry_bits(step);
  return text + fmt::format(": {:#x}{}{}\n", step.entry, names.empty() ? "" : "  ", names);
}

std::string describe_end(const InspectedWalk& walk) {
  return fmt::format("{} memory references: {}\n", walk.steps.size(), outcome_text(walk));
}

std::string describe_walk(const InspectedWalk& walk) {
  std::string text;
  for (const ept::Step& step : walk.steps) text += describe_step(step);
  return text + describe_end(walk);
}

}  // namespace nestor::emu
