// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/debugger/walk_text.h"

#include <spdlog/fmt/fmt.h>

#include <iterator>
#include <span>
#include <string_view>

#include "emu/events/kinds.h"
#include "ept/bits.h"
#include "ept/ept_format.h"

namespace nestor::emu {
namespace {

struct BitName {
  uint64_t mask;
  std::string_view name;
};

// "4-Level Paging", formats of the entries.
constexpr BitName kGuestBits[] = {{1 << 1, "R/W"}, {1 << 2, "U/S"}, {1 << 3, "PWT"},
                                  {1 << 4, "PCD"}, {1 << 5, "A"},   {1 << 6, "D"},
                                  {1 << 7, "PS"},  {1 << 8, "G"},   {1ull << 63, "XD"}};
// "Format of an EPT Page-Table Entry that Maps a 4-KByte Page" and those before it.
constexpr BitName kEptBits[] = {{ept::EptEntry::kRead, "read"},
                                {ept::EptEntry::kWrite, "write"},
                                {ept::EptEntry::kExecute, "execute"},
                                {ept::EptEntry::kExecuteUser, "user execute"},
                                {1 << 8, "accessed"},
                                {1 << 9, "dirty"},
                                {ept::EptEntry::kVerifyGuestPaging, "verify guest paging"},
                                {ept::EptEntry::kPagingWrite, "paging write"},
                                {ept::EptEntry::kSubPageWrite, "sub-page write"},
                                {ept::EptEntry::kSuppressVe, "suppress #VE"}};

void append(std::string& text, std::string_view name) {
  if (!text.empty()) text += ", ";
  text += name;
}

std::string_view memory_type(uint64_t entry) {
  constexpr std::string_view kTypes[] = {"UC", "WC", "type 2", "type 3",
                                         "WT", "WP", "WB",     "type 7"};
  return kTypes[entry >> 3 & 7];
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

std::string name_entry_bits(const ept::Step& step) {
  std::string text;
  const bool ept = step.dimension == ept::Dimension::kEpt;
  if (step.dimension == ept::Dimension::kSubPage) return text;
  if (!ept && (step.entry & 1) == 0) return "not present";
  if (ept &&
      (step.entry & (ept::EptEntry::kRead | ept::EptEntry::kWrite | ept::EptEntry::kExecute)) == 0)
    return "not present";
  if (!ept) append(text, "P");
  const auto bits = ept ? std::span<const BitName>(kEptBits) : std::span<const BitName>(kGuestBits);
  const bool maps_page = step.level == 1 || (step.entry & 1 << 7) != 0;
  for (const auto& [mask, name] : bits) {
    // Of an entry that maps no page these mean nothing; bit 7 is PAT or PS.
    const bool of_pages = name == "D" || name == "G" || name == "dirty";
    if ((step.entry & mask) == 0 || (of_pages && !maps_page)) continue;
    append(text, name == "PS" && step.level == 1 ? "PAT" : name);
  }
  if (ept && maps_page) {
    append(text, memory_type(step.entry));
    if ((step.entry & ept::EptEntry::kIgnorePat) != 0) append(text, "ignore PAT");
  }
  if (maps_page && step.level == 2) append(text, ept ? "2-MByte page" : "large page");
  if (maps_page && step.level == 3) append(text, "1-GByte page");
  return text;
}

std::string describe_walk(const InspectedWalk& walk) {
  std::string text;
  for (const ept::Step& step : walk.steps) {
    text +=
        fmt::format("{:<5} level {} entry at {:#x}",
                    kDimensionNames[static_cast<size_t>(step.dimension)], step.level, step.address);
    if (step.machine_address != step.address)
      text += fmt::format(" (physical {:#x})", step.machine_address);
    const std::string names = name_entry_bits(step);
    text += fmt::format(": {:#x}{}{}\n", step.entry, names.empty() ? "" : "  ", names);
  }
  return text + fmt::format("{} memory references: {}\n", walk.steps.size(), outcome_text(walk));
}

}  // namespace nestor::emu
