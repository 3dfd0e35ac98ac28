// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/record.h"

#include <spdlog/fmt/fmt.h>

#include <iterator>

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
  void operator()(const Parts& parts) const {
    out.push_back('{');
    for (size_t i = 0; i < parts.size(); ++i) {
      if (i != 0) out.push_back(',');
      (*this)(parts[i].key);
      out.push_back(':');
      std::visit(*this, parts[i].value);
    }
    out.push_back('}');
  }
  void operator()(const WalkSteps& steps) const {
    out.push_back('[');
    for (size_t i = 0; i < steps.size(); ++i) {
      const WalkStep& step = steps[i];
      if (i != 0) out.push_back(',');
      append(out, R"({{"dimension":"{}","level":{},"address":"{:#x}","machine_address":"{:#x}",)",
             step.dimension, step.level, step.address, step.machine_address);
      append(out, R"("entry":"{:#x}","written_back":"{:#x}"}})", step.entry, step.written_back);
    }
    out.push_back(']');
  }
};

// --- text

struct TextValue {
  Buffer& out;

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
  void operator()(const WalkSteps& steps) const {
    append(out, "{}", steps.size());
    for (const WalkStep& step : steps) {
      append(out, "\n{:>14}{:<5} level {} entry at {:#x}", "", step.dimension, step.level,
             step.address);
      if (step.machine_address != step.address)
        append(out, " (machine {:#x})", step.machine_address);
      append(out, ": {:#x}", step.entry);
      if (step.written_back != step.entry) append(out, ", written back {:#x}", step.written_back);
    }
  }
};

}  // namespace

std::string to_json_line(const Record& record) {
  Buffer out;
  append(out, R"({{"cycle":{},"sequence":{},"event":"{}")", record.cycle, record.sequence,
         record.kind);
  if (record.processor) append(out, R"(,"cpu":{})", *record.processor);
  for (const auto& [key, value] : record.fields) {
    append(out, ",\"{}\":", key);
    std::visit(JsonValue{out}, value);
  }
  out.push_back('}');
  return fmt::to_string(out);
}

std::string to_text(const Record& record) {
  Buffer out;
  append(out, "{:>12} {}", record.cycle, record.kind);
  if (record.processor) append(out, " cpu={}", *record.processor);
  for (const auto& [key, value] : record.fields) {
    append(out, " {}=", key);
    std::visit(TextValue{out}, value);
  }
  return fmt::to_string(out);
}

}  // namespace nestor::emu
