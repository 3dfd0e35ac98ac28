// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/view/event_line.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "emu/cpu/processor_config.h"
#include "emu/observe/trace/text_scanner.h"

namespace nestor::emu {
namespace {

constexpr size_t kLongestName = 100;  // of a kind, and of what is said of an event
constexpr size_t kDeepest = 8;        // a trace has 3

struct What {
  std::string_view kind, key;
};
constexpr std::array<What, 14> kWhat = {{{"vm-exit", "reason"},
                                         {"l0-exit", "reason"},
                                         {"walk", "outcome"},
                                         {"vm-entry", "instruction"},
                                         {"check-failed", "check"},
                                         {"vm-instruction-error", "instruction"},
                                         {"exception", "name"},
                                         {"interrupt", "vector"},
                                         {"page-modification", "guest_physical"},
                                         {"stale-translation", "access"},
                                         {"unclaimed-access", "space"},
                                         {"run-end", "by"},
                                         {"vmx-abort", "meaning"},
                                         {"workload", "number"}}};

// Takes the fields of an event as they are parsed, without building what is inside them.
class Fields final : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::optional<uint64_t> cycle;
  std::optional<uint64_t> count = 1, processor = 0;
  std::optional<std::string> kind;
  uint64_t rip = 0;
  bool too_deep = false;
  // Of the keys of kWhat.
  std::array<std::string, kWhat.size()> words;

  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(number_integer_t /*value*/) override { return number({}); }
  bool number_unsigned(number_unsigned_t value) override { return number(value); }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override {
    return number({});
  }
  bool string(string_t& text) override {
    if (depth_ != 1) return true;
    if (key_ == "event") {
      kind = std::move(text);
    } else if (key_ == "rip") {
      rip_from(text);
    } else {
      word(text);
    }
    return true;
  }
  bool binary(binary_t& /*value*/) override { return true; }
  bool start_object(std::size_t /*size*/) override { return enter(); }
  bool end_object() override { return leave(); }
  bool start_array(std::size_t /*size*/) override { return enter(); }
  bool end_array() override { return leave(); }
  bool key(string_t& key) override {
    if (depth_ == 1) key_ = std::move(key);
    return true;
  }
  bool parse_error(std::size_t /*at*/, const std::string& /*token*/,
                   const nlohmann::json::exception& /*error*/) override {
    return false;
  }

 private:
  bool enter() {
    too_deep = ++depth_ > kDeepest;
    return !too_deep;
  }
  bool leave() {
    --depth_;
    return true;
  }
  bool number(std::optional<uint64_t> value) {
    if (depth_ != 1) return true;
    if (key_ == "cycle") cycle = value;
    if (key_ == "count") count = value;
    if (key_ == "cpu") processor = value;
    if (value) word(std::to_string(*value));
    return true;
  }
  void rip_from(const std::string& text) {
    TextScanner scanner{text};
    if (!scanner.hexadecimal(rip)) rip = 0;
  }
  void word(const std::string& text) {
    for (size_t i = 0; i < kWhat.size(); ++i)
      if (kWhat[i].key == key_) words[i] = text;
  }

  size_t depth_ = 0;
  std::string key_;
};

// At most so many bytes, and no part of a character.
std::string shortened(std::string text) {
  if (text.size() <= kLongestName) return text;
  size_t size = kLongestName;
  while (size > 0 && (static_cast<uint8_t>(text[size]) & 0xc0) == 0x80) --size;
  text.resize(size);
  return text + "...";
}

}  // namespace

std::variant<EventLine, std::string> read_event_line(std::string_view line) {
  Fields fields;
  if (!line.starts_with('{'))
    return "not a JSON object; give a trace that nestor run --trace-format jsonl wrote";
  if (!nlohmann::json::sax_parse(line, &fields)) {
    return fields.too_deep ? "no event has so many brackets in each other"
                           : "not a JSON object; give a trace that nestor run --trace-format jsonl "
                             "wrote";
  }
  if (!fields.cycle) return "no 'cycle'";
  if (!fields.kind) return "no 'event'";
  if (fields.count.value_or(0) == 0) return "a malformed 'count'";
  if (fields.processor.value_or(ProcessorConfig::kMaxCount) >= ProcessorConfig::kMaxCount)
    return "no machine has the processor that 'cpu' names";
  EventLine event;
  event.cycle = *fields.cycle;
  event.count = *fields.count;
  event.rip = fields.rip;
  event.processor = static_cast<unsigned>(*fields.processor);
  event.kind = shortened(std::move(*fields.kind));
  const auto* const what = std::ranges::find(kWhat, event.kind, &What::kind);
  if (what != kWhat.end())
    event.what = shortened(std::move(fields.words[static_cast<size_t>(what - kWhat.begin())]));
  return event;
}

}  // namespace nestor::emu
