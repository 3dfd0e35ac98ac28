// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/difference.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <charconv>
#include <deque>
#include <iterator>
#include <utility>

#include "emu/events/kinds.h"

namespace nestor::emu {
namespace {

// The value without the bits that do not count; as it is when it is no hexadecimal number.
std::string masked(const std::string& value, uint64_t compared) {
  uint64_t number = 0;
  if (!value.starts_with("0x")) return value;
  const auto [end, error] =
      std::from_chars(value.data() + 2, value.data() + value.size(), number, 16);
  if (error != std::errc{} || end != value.data() + value.size()) return value;
  return fmt::format("{:#x}", number & compared);
}

// One side: its latest event, and how many equal ones of it have not been compared.
struct Side {
  TraceReader& reader;
  TraceEvent event{};
  uint64_t left = 0;

  // The event that is to be compared next.
  TraceEvent current() const {
    TraceEvent result = event;
    result.number += event.count - left;
    return result;
  }
};

class Comparer {
 public:
  explicit Comparer(const DiffRules& rules) : rules_(rules) {
    for (const std::string& kind : rules.only) seen_.emplace_back(kind, false);
  }

  // Reads on where nothing is left to be compared; false at the end.
  bool next(Side& side) {
    if (side.left != 0) return true;
    if (!next(side.reader, side.event)) return false;
    side.left = side.event.count;
    return true;
  }

  bool next(TraceReader& reader, TraceEvent& event) {
    while (reader.next(event)) {
      if (seen_.empty()) return true;
      const auto found = std::ranges::find(seen_, event.kind, &std::pair<std::string, bool>::first);
      if (found == seen_.end()) continue;
      found->second = true;
      return true;
    }
    return false;
  }

  std::vector<FieldDifference> compare(const TraceEvent& left, const TraceEvent& right) const {
    if (left.kind != right.kind) return {{"event", left.kind, right.kind}};
    std::vector<FieldDifference> result;
    for (size_t i = 0; i < left.fields.size(); ++i) {
      const auto& [key, value] = left.fields[i];
      const std::string* const other = find(right, key, i);
      if (other && (*other == value || same(left.kind, key, value, *other))) continue;
      if (!other && compared_bits(left.kind, key) == 0) continue;
      result.push_back({key, value, other ? std::optional(*other) : std::nullopt});
    }
    for (size_t i = 0; i < right.fields.size(); ++i) {
      const auto& [key, value] = right.fields[i];
      if (find(left, key, i) || compared_bits(right.kind, key) == 0) continue;
      result.push_back({key, std::nullopt, value});
    }
    return result;
  }

  std::vector<std::string> never_seen() const {
    std::vector<std::string> result;
    for (const auto& [kind, seen] : seen_) {
      if (!seen) result.push_back(kind);
    }
    return result;
  }

 private:
  static const std::string* find(const TraceEvent& event, const std::string& key, size_t guess) {
    if (guess < event.fields.size() && event.fields[guess].key == key) {
      return &event.fields[guess].value;
    }
    const auto found = std::ranges::find(event.fields, key, &TraceField::key);
    return found == event.fields.end() ? nullptr : &found->value;
  }

  uint64_t compared_bits(const std::string& kind, const std::string& key) const {
    for (const std::string& ignored : rules_.ignore) {
      if (ignored == key || ignored == dotted(kind, key)) return 0;
    }
    for (const IgnoredField& ignored : ignored_fields()) {
      if (ignored.field == key && (ignored.event.empty() || ignored.event == kind)) {
        return ignored.compared;
      }
    }
    return ~uint64_t{0};
  }

  bool same(const std::string& kind, const std::string& key, const std::string& left,
            const std::string& right) const {
    const uint64_t compared = compared_bits(kind, key);
    return compared == 0 || masked(left, compared) == masked(right, compared);
  }

  const DiffRules& rules_;
  std::vector<std::pair<std::string, bool>> seen_;  // the kinds that count, and whether they came
};

void append(std::string& out, std::string_view mark, const TraceEvent& event) {
  out += fmt::format("  {:<5} event {}, line {}: {}\n", mark, event.number, event.line,
                     std::string_view(event.text).substr(event.text.find_first_not_of(' ')));
}

std::string where(const std::optional<TraceEvent>& event) {
  if (!event) return "no more events";
  return fmt::format("event {}, line {}, cycle {}", event->number, event->line, event->cycle);
}

}  // namespace

const std::vector<IgnoredField>& ignored_fields() {
  static const std::vector<IgnoredField> all = [] {
    std::vector<IgnoredField> fields = {
        {"", "cycle", 0, "time: another version or processor charges otherwise"},
        {"", "instructions", 0, "counts time, too; only JSON has it"},
        {"", "sequence", 0, "counts the events that one side alone may have, too"}};
    for (const EventKind& kind : event_kinds()) {
      for (const EventField& field : kind.fields) {
        if (!field.why.empty())
          fields.push_back({kind.name, field.name, field.compared, field.why});
      }
    }
    return fields;
  }();
  return all;
}

std::optional<std::string> unknown_ignored(const std::vector<std::string>& ignore) {
  const auto has = [](const EventKind& kind, std::string_view field) {
    const std::string_view name = field.substr(0, field.find_first_of(".["));
    return name == "cycle" || name == "instructions" || name == "sequence" || name == "count" ||
           std::ranges::find(kind.fields, name, &EventField::name) != kind.fields.end();
  };
  for (const std::string& name : ignore) {
    const bool known = std::ranges::any_of(event_kinds(), [&](const EventKind& kind) {
      const std::string prefix = dotted(std::string(kind.name), "");
      return has(kind, name) ||
             (name.starts_with(prefix) && has(kind, std::string_view(name).substr(prefix.size())));
    });
    if (!known) return fmt::format("no event has a field '{}'; docs/trace.md lists them", name);
  }
  return std::nullopt;
}

DiffResult compare_traces(TraceReader& left, TraceReader& right, const DiffRules& rules) {
  DiffResult result;
  Comparer comparer(rules);
  std::deque<TraceEvent> before;
  Side one{left}, other{right};
  for (;;) {
    const bool has_left = comparer.next(one), has_right = comparer.next(other);
    if (left.error() || right.error()) {
      result.error = left.error() ? left.error() : right.error();
      return result;
    }
    if (!has_left && !has_right) break;
    std::vector<FieldDifference> fields;
    if (has_left && has_right) {
      fields = comparer.compare(one.event, other.event);
      if (fields.empty()) {
        const uint64_t same = std::min(one.left, other.left);
        result.compared += same;
        one.left -= same;
        other.left -= same;
        if (one.left != 0) continue;
        before.push_back(std::exchange(one.event, {}));
        if (before.size() > rules.context) {
          one.event = std::move(before.front());  // for its memory
          before.pop_front();
        }
        continue;
      }
    }
    TraceDifference& difference = result.difference.emplace();
    difference.fields = std::move(fields);
    difference.before = {std::make_move_iterator(before.begin()),
                         std::make_move_iterator(before.end())};
    if (has_left) difference.left = one.current();
    if (has_right) difference.right = other.current();
    // A file that is damaged after the difference does not hide it.
    for (unsigned i = 0; i < rules.context && comparer.next(left, one.event); ++i) {
      difference.after_left.push_back(one.event);
    }
    for (unsigned i = 0; i < rules.context && comparer.next(right, other.event); ++i) {
      difference.after_right.push_back(other.event);
    }
    return result;
  }
  if (left.events() == 0 && right.events() == 0) {
    result.error = fmt::format("neither {} nor {} has any event; give traces of runs that had some",
                               left.path(), right.path());
  }
  result.never_seen = comparer.never_seen();
  return result;
}

std::string to_string(const TraceDifference& difference, const std::string& left_path,
                      const std::string& right_path) {
  std::string out = fmt::format("the traces differ\n  A: {}: {}\n  B: {}: {}\n", left_path,
                                where(difference.left), right_path, where(difference.right));
  for (const FieldDifference& field : difference.fields) {
    out += fmt::format("  {}: A {}, B {}\n", field.field, field.left.value_or("(absent)"),
                       field.right.value_or("(absent)"));
  }
  if (!difference.before.empty()) out += "the same before it:\n";
  for (const TraceEvent& event : difference.before) append(out, "A, B", event);
  out += "then:\n";
  if (difference.left) append(out, "A", *difference.left);
  for (const TraceEvent& event : difference.after_left) append(out, "A", event);
  if (difference.right) append(out, "B", *difference.right);
  for (const TraceEvent& event : difference.after_right) append(out, "B", event);
  return out;
}

std::string list_ignored_fields() {
  std::string out;
  for (const IgnoredField& ignored : ignored_fields()) {
    const auto event = ignored.event.empty() ? "every event" : ignored.event;
    const std::string bits =
        ignored.compared == 0 ? "all" : fmt::format("all but {:#x}", ignored.compared);
    out += fmt::format("{:<12} {:<9} {:<13} {}\n", event, ignored.field, bits, ignored.why);
  }
  return out;
}

}  // namespace nestor::emu
