// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/trace_reader.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

namespace nestor::emu {
namespace {

using Json = nlohmann::ordered_json;

// Far more than a walk has: 5 levels, each entry of them translated by 5 more, twice.
constexpr uint64_t kMostSteps = 1000;

constexpr std::string_view kTruncated = "the trace is truncated: its last line has no end";

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

// Takes from the front of `rest`. Each returns false, and takes nothing, when the front is another
// thing.
struct Text {
  std::string_view rest;

  void blanks() { rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size())); }
  bool literal(std::string_view text) {
    if (!rest.starts_with(text)) return false;
    rest.remove_prefix(text.size());
    return true;
  }
  bool word(std::string& out) {
    const auto end = std::find_if_not(rest.begin(), rest.end(), is_word);
    if (end == rest.begin()) return false;
    out.assign(rest.begin(), end);
    rest.remove_prefix(out.size());
    return true;
  }
  bool decimal(uint64_t& out) {
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), out);
    if (error != std::errc{}) return false;
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    return true;
  }
  bool hexadecimal(std::string& out) {
    if (!rest.starts_with("0x")) return false;
    const size_t end = std::min(rest.find_first_not_of("0123456789abcdef", 2), rest.size());
    if (end == 2) return false;
    out = rest.substr(0, end);
    rest.remove_prefix(end);
    return true;
  }
  // Quoted, or up to a blank or a closing parenthesis.
  bool value(std::string& out) {
    if (literal("\"")) {
      const size_t end = rest.find('"');
      if (end == rest.npos) return false;
      out = rest.substr(0, end);
      rest.remove_prefix(end + 1);
      return true;
    }
    const size_t end = std::min(rest.find_first_of(" )"), rest.size());
    if (end == 0) return false;
    out = rest.substr(0, end);
    rest.remove_prefix(end);
    return true;
  }
};

// "(size=2 direction=out string)"
bool parse_parts(Text& text, const std::string& key, std::vector<TraceField>& fields) {
  std::string part;
  while (!text.literal(")")) {
    text.blanks();
    if (!text.word(part)) return false;
    fields.push_back({dotted(key, part), "yes"});
    if (text.literal("=") && !text.value(fields.back().value)) return false;
  }
  return true;
}

struct Step {
  std::string dimension, address, machine_address, entry, written_back;
  uint64_t level = 0;
};

void add_step(std::vector<TraceField>& fields, uint64_t index, const Step& step) {
  const auto add = [&](std::string_view name, std::string value) {
    fields.push_back({fmt::format("steps[{}].{}", index, name), std::move(value)});
  };
  add("dimension", step.dimension);
  add("level", std::to_string(step.level));
  add("address", step.address);
  add("machine_address", step.machine_address);
  add("entry", step.entry);
  add("written_back", step.written_back);
}

// "guest level 4 entry at 0x105000 (machine 0x5000): 0x106003, written back 0x106023"
bool parse_step(Text text, Step& step) {
  text.blanks();
  for (const std::string_view dimension : {"guest", "EPT"}) {
    if (text.literal(dimension)) step.dimension = dimension;
  }
  text.blanks();
  if (step.dimension.empty() || !text.literal("level ") || !text.decimal(step.level) ||
      !text.literal(" entry at ") || !text.hexadecimal(step.address)) {
    return false;
  }
  step.machine_address = step.address;
  if (text.literal(" (machine ") &&
      !(text.hexadecimal(step.machine_address) && text.literal(")"))) {
    return false;
  }
  if (!text.literal(": ") || !text.hexadecimal(step.entry)) return false;
  step.written_back = step.entry;
  if (text.literal(", written back ") && !text.hexadecimal(step.written_back)) return false;
  return text.rest.empty();
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
  const bool truncated = !lines_.complete();
  if (truncated && number_ != 0) return fail(kTruncated);
  event.number = number_++;
  event.line = lines_.line();
  event.fields.clear();
  event.text = line_;
  const bool good = line_.starts_with('{') ? parse_json(event) : parse_text(event);
  return good && truncated ? fail(kTruncated) : good;
}

bool TraceReader::parse_text(TraceEvent& event) {
  Text text{line_};
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
    Step step;
    if (!lines_.next(line_)) {
      if (!(error_ = lines_.error())) fail("the file ends within the steps of a walk");
      return false;
    }
    if (!parse_step({line_}, step)) return fail("not a step of a walk");
    add_step(event.fields, i, step);
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
