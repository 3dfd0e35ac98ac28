// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/qemu/log_items.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace nestor::emu::qemu {
namespace {

using enum Treatment;

// Of a row that is kTaken the text is the kinds of events.
constexpr const char *kNoInstructions =
                         "the trace has no single instructions; GDB steps, --profile has functions",
                     *kNoBlocks = "how the engine works inside is not shown",
                     *kUser = "it is of QEMU for single programs";
constexpr Row<Wanted> kItems[] = {
    {"int", "", kTaken, "exception,interrupt,vm-entry,vm-exit"},
    {"cpu_reset", "", kTaken, "triple-fault,run-end"},
    {"guest_errors", "", kTaken, "unclaimed-access,zero-code,outside-ram,vm-instruction-error"},
    {"unimp", "", kTaken, "unclaimed-access"},
    {"mmu", "", kTaken, "walk,stale-translation"},
    {"in_asm", "", kIgnored, kNoInstructions},
    {"exec", "", kIgnored, kNoInstructions},
    {"cpu", "", kIgnored, kNoInstructions},
    {"fpu", "", kIgnored, kNoInstructions},
    {"pcall", "", kIgnored, kNoInstructions},
    {"vpu", "", kIgnored, kNoInstructions},
    {"out_asm", "", kIgnored, kNoBlocks},
    {"op", "", kIgnored, kNoBlocks},
    {"op_opt", "", kIgnored, kNoBlocks},
    {"op_ind", "", kIgnored, kNoBlocks},
    {"op_plugin", "", kIgnored, kNoBlocks},
    {"plugin", "", kIgnored, kNoBlocks},
    {"nochain", "", kMet, kNoBlocks},
    {"page", "", kIgnored, kUser},
    {"strace", "", kIgnored, kUser},
    {"tid", "", kIgnored, "there is one file"},
    {"trace:*", "", kIgnored, "it is an event of QEMU's own"},
};

std::string log_help() {
  std::string text = "Log items (comma separated), and the events of the trace that they become:\n";
  for (const Row<Wanted>& row : kItems)
    if (row.treatment == kTaken) text += fmt::format("{:<15} {}\n", row.name, row.text);
  return text;
}

}  // namespace

Complaint read_log_items(const std::string& text, Wanted& wanted) {
  for (const std::string& name : split_items(text)) {
    if (is_one_of(name, "help|?")) return {log_help(), ExitStatus::kSuccess};
    const auto* const row =
        std::ranges::find_if(kItems, [&](const Row<Wanted>& each) { return each.is_named(name); });
    if (row == std::end(kItems))
      return fmt::format("there is no item '{}'; -d help lists them", name);
    if (row->treatment == kTaken) {
      wanted.event_kinds.emplace_back(row->text);
    } else if (Complaint bad = apply(*row, {"-d " + name, name}, name, wanted, wanted.report);
               !bad.empty()) {
      return bad;
    }
  }
  return {};
}

}  // namespace nestor::emu::qemu
