// SPDX-License-Identifier: GPL-2.0-or-later
//
// A trace as a page for a browser: one file, which needs no other and no network.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "emu/observe/trace/output_file.h"
#include "emu/observe/view/event_line.h"

namespace nestor::emu {

// The page without a trace, as the build made it from view/; empty: it could not.
std::string_view page_template();

// Writes the page while the trace is read. The lines of the trace are in it as they are, compressed
// in pieces, which the page unpacks as they are looked at; what lists and timelines show of all
// events is in columns beside them. So a page takes little memory, here and there.
class TracePage {
 public:
  struct Limits {
    uint64_t events = 1'000'000;
    uint64_t bytes = 256u << 20;  // of the page; browsers have no strings above 512 MBytes
  };
  // `output` outlives this object; page_template() is not empty.
  TracePage(OutputFile& output, const Limits& limits);

  // `line`: of the trace, without its newline; `event`: what was read from it.
  void add(std::string_view line, const EventLine& event);
  // No more events are to be added.
  bool full() const { return columns_.cycle.size() >= limits_.events || bytes_ >= limits_.bytes; }
  uint64_t events() const { return columns_.cycle.size(); }
  // Writes the rest. `name`: of the trace; `notes`: what a reader must know of the page, a sentence
  // each.
  void finish(std::string_view name, const std::vector<std::string>& notes);

 private:
  struct Columns {
    std::vector<double> cycle;
    std::vector<uint32_t> rip_low, rip_high, count;
    std::vector<uint16_t> what;
    std::vector<uint8_t> kind, processor;
  };
  // Names by number; when there is no room, the last one stands for all others.
  struct Names {
    std::vector<std::string> names;
    std::map<std::string, size_t, std::less<>> numbers;
    size_t number_of(const std::string& name, size_t room);
  };

  void write(std::string_view text);
  void end_piece();

  OutputFile& output_;
  const Limits limits_;
  uint64_t bytes_ = 0;
  Columns columns_;
  Names kinds_, whats_;
  std::string piece_;                  // the lines that are not written yet
  std::vector<uint64_t> piece_start_;  // of each piece: the number of its first event
};

}  // namespace nestor::emu
