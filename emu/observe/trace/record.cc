// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/record.h"

#include <spdlog/fmt/fmt.h>

#include <iterator>

#include "emu/events/kinds.h"
#include "emu/observe/trace/walk_step.h"

namespace nestor::emu {
namespace {

using Buffer = fmt::memory_buffer;

template <class... Args>
void append(Buffer& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

// --- JSON. Keys and strings come from static tables of printable ASCII; what JSON reserves is
// escaped.

struct JsonValue {
  Buffer& out;

  void operator()(std::monostate) const {}
  void operator()(uint64_t value) const { append(out, "{}", value); }
  void operator()(bool value) const { append(out, "{}", value); }
  void operator()(Hex value) const { append(out, "\"{:#x}\"", value.value); }
  void operator()(std::string_view value) const {
    out.push_back('"');
    for (const char c : value) {
      if (c == '"' || c == '\\') out.push_back('\\');
      if (static_cast<unsigned char>(c) < 0x20) {
        append(out, "\\u{:04x}", static_cast<unsigned>(c));
      } else {
        out.push_back(c);
      }
    }
    out.push_back('"');
  }
  void operator()(const std::string& value) const { (*this)(std::string_view(value)); }
  void operator()(const Parts& parts) const {
    out.push_back('{');
    for (size_t i = 0; i < parts.size(); ++i) {
      if (i != 0) out.push_back(',');
      append(out, "\"{}\":", parts[i].key);
      std::visit(*this, parts[i].value);
    }
    out.push_back('}');
  }
  void operator()(Steps steps) const {
    out.push_back('[');
    for (size_t i = 0; i < steps.size(); ++i) {
      if (i != 0) out.push_back(',');
      char before = '{';
      for (const StepField& field : kStepFields) {
        append(out, "{}\"{}\":", before, field.name);
        std::visit(*this, field.value(steps[i]));
        before = ',';
      }
      out.push_back('}');
    }
    out.push_back(']');
  }
};

// --- text

struct TextValue {
  Buffer& out;

  void operator()(std::monostate) const {}
  void operator()(uint64_t value) const { append(out, "{}", value); }
  void operator()(bool value) const { append(out, "{}", value ? "yes" : "no"); }
  void operator()(Hex value) const { append(out, "{:#x}", value.value); }
  void operator()(std::string_view value) const {
    const bool quoted = value.empty() || value.find(' ') != std::string_view::npos;
    if (!quoted) {
      out.append(value);
      return;
    }
    out.push_back('"');
    for (const char c : value) out.push_back(c == '"' ? '\'' : c);  // names inside stay readable
    out.push_back('"');
  }
  void operator()(const std::string& value) const { (*this)(std::string_view(value)); }
  void operator()(const Parts& parts) const {
    out.push_back('(');
    for (size_t i = 0; i < parts.size(); ++i) {
      if (i != 0) out.push_back(' ');
      append(out, "{}", parts[i].key);
      if (std::holds_alternative<bool>(parts[i].value)) continue;
      out.push_back('=');
      std::visit(*this, parts[i].value);
    }
    out.push_back(')');
  }
  void operator()(Steps steps) const {
    append(out, "{}", steps.size());
    for (const ept::Step& step : steps) {
      out.push_back('\n');
      append_step_line(out, step);
    }
  }
};

}  // namespace

Record to_record(const MachineEvent& event, std::optional<unsigned> processor, TraceFormat format) {
  const bool json = format == TraceFormat::kJsonLines;
  const std::string_view kind = event_kinds()[event.index()].name;
  Record record;
  if (json) {
    record.kind = fmt::format("\"event\":\"{}\"", kind);
    if (processor) record.kind += fmt::format(",\"cpu\":{}", *processor);
  } else {
    record.kind = kind;
    if (processor) record.kind += fmt::format(" cpu={}", *processor);
  }
  Buffer out;
  for (const auto& [name, value] : values_of(event)) {
    if (json) {
      append(out, ",\"{}\":", name);
      std::visit(JsonValue{out}, value);
    } else {
      append(out, " {}=", name);
      std::visit(TextValue{out}, value);
    }
  }
  record.fields = fmt::to_string(out);
  return record;
}

std::string to_line(const Record& record, const Occasion& occasion, TraceFormat format) {
  const bool json = format == TraceFormat::kJsonLines;
  std::string count;
  if (occasion.count != 1)
    count = fmt::format("{}{}", json ? ",\"count\":" : " count=", occasion.count);
  if (json) {
    return fmt::format("{{\"cycle\":{},\"instructions\":{},\"sequence\":{},{}{}{}}}\n",
                       occasion.cycle, occasion.instructions, occasion.sequence, record.kind, count,
                       record.fields);
  }
  return fmt::format("{:>12} {}{}{}\n", occasion.cycle, record.kind, count, record.fields);
}

}  // namespace nestor::emu
