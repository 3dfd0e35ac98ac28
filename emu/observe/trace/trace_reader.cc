// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/trace_reader.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "emu/observe/trace/text_scanner.h"
#include "emu/observe/trace/walk_step.h"

namespace nestor::emu {
namespace {

using Json = nlohmann::ordered_json;

// Far more than a walk has: 5 levels, each entry of them translated by 5 more, twice.
constexpr uint64_t kMostSteps = 1000;

// Of equal events in a row.
constexpr std::string_view kCount = "count";

constexpr std::string_view kTruncated = "the trace is truncated: its last line has no end";

// The value of a field of a step, which has no parts.
struct StepSpelling {
  std::string operator()(Hex value) const { return fmt::format("{:#x}", value.value); }
  std::string operator()(uint64_t value) const { return std::to_string(value); }
  std::string operator()(std::string_view value) const { return std::string(value); }
  template <class Other>
  std::string operator()(const Other& /*value*/) const {
    return {};
  }
};

// "(size=2 direction=out string)"
bool parse_parts(TextScanner& text, const std::string& key, std::vector<TraceField>& fields) {
  std::string part;
  while (!text.literal(")")) {
    text.blanks();
    if (!text.word(part)) return false;
    fields.push_back({dotted(key, part), "yes"});
    if (text.literal("=") && !text.value(fields.back().value)) return false;
  }
  return true;
}

void add_step(std::vector<TraceField>& fields, uint64_t index, const ept::Step& step) {
  for (const StepField& field : kStepFields) {
    fields.push_back({fmt::format("steps[{}].{}", index, field.name),
                      std::visit(StepSpelling{}, field.value(step))});
  }
}

// A value that has no parts, as the text spells it. nullopt: it has parts.
std::optional<std::string> spelling(const Json& value) {
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number()) return value.dump();
  if (!value.is_string()) return std::nullopt;
  auto text = value.get<std::string>();
  std::ranges::replace(text, '"', '\'');
  return text;
}

bool json_parts(const std::string& key, const Json& parts, std::vector<TraceField>& fields) {
  for (const auto& [name, value] : parts.items()) {
    auto text = spelling(value);
    if (!text) return false;
    fields.push_back({dotted(key, name), std::move(*text)});
  }
  return true;
}

bool json_steps(const Json& steps, std::vector<TraceField>& fields) {
  if (steps.size() > kMostSteps) return false;
  fields.push_back({"steps", std::to_string(steps.size())});
  for (size_t i = 0; i < steps.size(); ++i) {
    if (!steps[i].is_object() || !json_parts(fmt::format("steps[{}]", i), steps[i], fields)) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::variant<std::unique_ptr<TraceReader>, std::string> TraceReader::open(const std::string& path) {
  auto lines = LineReader::open(path);
  if (auto* bad = std::get_if<std::string>(&lines)) return std::move(*bad);
  return std::unique_ptr<TraceReader>(new TraceReader(std::get<LineReader>(std::move(lines))));
}

bool TraceReader::fail(std::string_view what) {
  error_ = fmt::format("{}:{}: {}; give a trace that nestor run --trace wrote", path(),
                       lines_.line(), what);
  return false;
}

bool TraceReader::next(TraceEvent& event) {
  if (error_) return false;
  if (!lines_.next(line_)) {
    error_ = lines_.error();
    return false;
  }
  // A file without any line is no trace at all; then what its start lacks tells more.
  const bool json = line_.starts_with('{');
  // A JSON object says by itself that it is whole.
  const bool truncated = !lines_.complete() && !(json && Json::accept(line_));
  if (truncated && number_ != 0) return fail(kTruncated);
  event.number = number_;
  event.count = 1;
  event.line = lines_.line();
  event.fields.clear();
  event.text = line_;
  const bool good = json ? parse_json(event) : parse_text(event);
  number_ += event.count;
  return good && truncated ? fail(kTruncated) : good;
}

bool TraceReader::parse_text(TraceEvent& event) {
  TextScanner text{line_};
  text.blanks();
  if (!text.decimal(event.cycle) || !text.literal(" ") || !text.word(event.kind)) {
    return fail("not an event, which starts with its time and its kind");
  }
  event.fields.push_back({"cycle", std::to_string(event.cycle)});
  uint64_t steps = 0;
  while (!text.rest.empty()) {
    std::string key;
    if (!text.literal(" ") || !text.word(key) || !text.literal("=")) {
      return fail("a malformed field");
    }
    if (key == "steps") {
      if (!text.decimal(steps) || steps > kMostSteps) return fail("a malformed number of steps");
      event.fields.push_back({key, std::to_string(steps)});
    } else if (key == kCount) {
      if (!text.decimal(event.count) || event.count == 0) return fail("a malformed count");
    } else if (text.literal("(")) {
      if (!parse_parts(text, key, event.fields)) return fail("malformed field '" + key + "'");
    } else {
      TraceField& field = *event.fields.insert(event.fields.end(), TraceField{key, {}});
      if (!text.value(field.value)) return fail("malformed field '" + key + "'");
    }
  }
  return read_steps(event, steps);
}

bool TraceReader::read_steps(TraceEvent& event, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    if (!lines_.next(line_)) {
      if (!(error_ = lines_.error())) fail("the file ends within the steps of a walk");
      return false;
    }
    if (!lines_.complete()) return fail(kTruncated);
    const auto step = parse_step_line(line_);
    if (!step) return fail("not a step of a walk");
    add_step(event.fields, i, *step);
  }
  return true;
}

bool TraceReader::parse_json(TraceEvent& event) {
  const Json json = Json::parse(line_, nullptr, false);
  if (!json.is_object()) return fail("not a JSON object");
  const auto cycle = json.find("cycle"), kind = json.find("event");
  if (cycle == json.end() || !cycle->is_number_unsigned()) return fail("no 'cycle'");
  if (kind == json.end() || !kind->is_string()) return fail("no 'event'");
  event.cycle = cycle->get<uint64_t>();
  event.kind = kind->get<std::string>();
  for (const auto& [key, value] : json.items()) {
    if (key == "event") continue;
    if (key == kCount) {
      event.count = value.is_number_unsigned() ? value.get<uint64_t>() : 0;
      if (event.count == 0) return fail("a malformed count");
      continue;
    }
    bool good = true;
    if (auto text = spelling(value)) {
      event.fields.push_back({key, std::move(*text)});
    } else if (value.is_object()) {
      good = json_parts(key, value, event.fields);
    } else {
      good = key == "steps" && value.is_array() && json_steps(value, event.fields);
    }
    if (!good) return fail("malformed field '" + key + "'");
  }
  return true;
}

}  // namespace nestor::emu
