// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/walk_step.h"

#include <algorithm>
#include <iterator>

#include "emu/observe/trace/text_scanner.h"

namespace nestor::emu {
namespace {

std::string_view name_of(ept::Dimension dimension) {
  return kDimensionNames[static_cast<size_t>(dimension)];
}

constexpr uint64_t kHighestLevel = 255;  // of what a step can hold

}  // namespace

const std::array<StepField, 6> kStepFields = {{
    {"dimension", [](const ept::Step& s) { return Value(name_of(s.dimension)); }},
    {"level", [](const ept::Step& s) { return Value(uint64_t{s.level}); }},
    {"address", [](const ept::Step& s) { return Value(Hex{s.address}); }},
    {"machine_address", [](const ept::Step& s) { return Value(Hex{s.machine_address}); }},
    {"entry", [](const ept::Step& s) { return Value(Hex{s.entry}); }},
    {"written_back", [](const ept::Step& s) { return Value(Hex{s.written_back}); }},
}};

void append_step_line(fmt::memory_buffer& out, const ept::Step& step) {
  const auto print = std::back_inserter(out);
  fmt::format_to(print, "{:>14}{:<5} level {} entry at {:#x}", "", name_of(step.dimension),
                 step.level, step.address);
  if (step.machine_address != step.address)
    fmt::format_to(print, " (machine {:#x})", step.machine_address);
  fmt::format_to(print, ": {:#x}", step.entry);
  if (step.written_back != step.entry)
    fmt::format_to(print, ", written back {:#x}", step.written_back);
}

std::optional<ept::Step> parse_step_line(std::string_view line) {
  TextScanner text{line};
  ept::Step step;
  text.blanks();
  const auto dimension = std::ranges::find_if(
      kDimensionNames, [&](std::string_view name) { return text.literal(name); });
  if (dimension == kDimensionNames.end()) return std::nullopt;
  step.dimension = static_cast<ept::Dimension>(dimension - kDimensionNames.begin());
  text.blanks();
  uint64_t level = 0;
  if (!text.literal("level ") || !text.decimal(level) || level > kHighestLevel ||
      !text.literal(" entry at ") || !text.hexadecimal(step.address)) {
    return std::nullopt;
  }
  step.level = static_cast<uint8_t>(level);
  step.machine_address = step.address;
  if (text.literal(" (machine ") &&
      !(text.hexadecimal(step.machine_address) && text.literal(")"))) {
    return std::nullopt;
  }
  if (!text.literal(": ") || !text.hexadecimal(step.entry)) return std::nullopt;
  step.written_back = step.entry;
  if (text.literal(", written back ") && !text.hexadecimal(step.written_back)) return std::nullopt;
  return text.rest.empty() ? std::optional(step) : std::nullopt;
}

}  // namespace nestor::emu
