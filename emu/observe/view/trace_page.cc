// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/view/trace_page.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "emu/observe/view/facts.h"
#include "emu/observe/view/packed.h"

// Of page.S.
extern "C" const char nestor_view_page[], nestor_view_page_end[];

namespace nestor::emu {
namespace {

using Json = nlohmann::ordered_json;

// A piece ends with the event that reaches one of these.
constexpr size_t kPieceEvents = 2048, kPieceBytes = 1 << 20;

// In the template: where the trace goes.
constexpr std::string_view kPlace = "<!--trace-->";

constexpr std::string_view kOthers = "(others)";

// JSON inside an element of a page, which "<" could end.
std::string in_a_page(const std::string& json) {
  std::string text;
  for (const char c : json) {
    if (c == '<') {
      text += "\\u003c";
    } else {
      text += c;
    }
  }
  return text;
}

template <class T>
void append_column(std::vector<std::byte>& bytes, const std::vector<T>& column) {
  const auto from = std::as_bytes(std::span(column));
  bytes.insert(bytes.end(), from.begin(), from.end());
}

}  // namespace

std::string_view page_template() {
  return {nestor_view_page, static_cast<size_t>(nestor_view_page_end - nestor_view_page)};
}

size_t TracePage::Names::number_of(const std::string& name, size_t room) {
  const auto found = numbers.find(name);
  if (found != numbers.end()) return found->second;
  if (names.size() == room) return room - 1;
  names.push_back(names.size() + 1 == room ? std::string(kOthers) : name);
  return numbers.emplace(names.back(), names.size() - 1).first->second;
}

TracePage::TracePage(OutputFile& output, const Limits& limits) : output_(output), limits_(limits) {
  const std::string_view page = page_template();
  write(page.substr(0, page.find(kPlace)));
  write("<script type=\"application/json\" id=\"facts\">");
  write(in_a_page(page_facts()));
  write("</script>\n<script type=\"text/plain\" id=\"pieces\">\n");
}

void TracePage::write(std::string_view text) {
  output_.write(text);
  bytes_ += text.size();
}

void TracePage::add(std::string_view line, const EventLine& event) {
  if (piece_.empty()) piece_start_.push_back(events());
  columns_.cycle.push_back(static_cast<double>(event.cycle));
  columns_.rip_low.push_back(static_cast<uint32_t>(event.rip));
  columns_.rip_high.push_back(static_cast<uint32_t>(event.rip >> 32));
  columns_.count.push_back(
      static_cast<uint32_t>(std::min<uint64_t>(event.count, std::numeric_limits<uint32_t>::max())));
  columns_.kind.push_back(static_cast<uint8_t>(kinds_.number_of(event.kind, 256)));
  columns_.what.push_back(static_cast<uint16_t>(whats_.number_of(event.what, 1024)));
  columns_.processor.push_back(static_cast<uint8_t>(event.processor));
  piece_ += line;
  piece_ += '\n';
  if (piece_.size() >= kPieceBytes || events() - piece_start_.back() >= kPieceEvents) end_piece();
}

void TracePage::end_piece() {
  if (piece_.empty()) return;
  write(pack(piece_));
  write("\n");
  piece_.clear();
}

void TracePage::finish(std::string_view name, const std::vector<std::string>& notes) {
  end_piece();
  std::vector<std::byte> bytes;
  append_column(bytes, columns_.cycle);
  append_column(bytes, columns_.rip_low);
  append_column(bytes, columns_.rip_high);
  append_column(bytes, columns_.count);
  append_column(bytes, columns_.what);
  append_column(bytes, columns_.kind);
  append_column(bytes, columns_.processor);
  write("</script>\n<script type=\"text/plain\" id=\"columns\">");
  write(pack(bytes));
  const Json trace = {{"name", name},          {"events", events()},     {"kinds", kinds_.names},
                      {"whats", whats_.names}, {"pieces", piece_start_}, {"notes", notes}};
  write("</script>\n<script type=\"application/json\" id=\"trace\">");
  write(in_a_page(trace.dump(-1, ' ', false, Json::error_handler_t::replace)));
  write("</script>\n");
  const std::string_view page = page_template();
  const size_t place = page.find(kPlace);
  write(page.substr(std::min(place, page.size() - kPlace.size()) + kPlace.size()));
}

}  // namespace nestor::emu
