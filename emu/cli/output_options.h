// SPDX-License-Identifier: GPL-2.0-or-later
//
// The options of `run` that choose its outputs.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "emu/cli/trace_filter_options.h"

namespace CLI {
class App;
}

namespace nestor::emu {

struct RunOptions;

class OutputOptions {
 public:
  // This object outlives the parsing.
  void add_to(CLI::App& run);
  // After the parsing. A complaint, or the empty string and the outputs.
  [[nodiscard]] std::string read(const CLI::App& run, RunOptions& options) const;

 private:
  std::string read_trace(const CLI::App& run, RunOptions& options) const;
  std::string read_dump(const CLI::App& run, RunOptions& options) const;
  std::string read_keyboard(const CLI::App& run, RunOptions& options) const;
  std::string read_report(const CLI::App& run, RunOptions& options) const;

  std::string serial_ = "stdio", serial_input_, keyboard_ = "none";
  std::string virtio_console_, debug_console_, firmware_log_;
  std::array<std::string, 3> further_serial_ = {"none", "none", "none"};  // COM2 to COM4
  std::string trace_, trace_format_ = "text";
  TraceFilterOptions trace_filter_;
  bool trace_vmcs_ = false;
  std::vector<std::string> dump_;  // when, and the file
  std::string dump_format_ = "text";
  std::string screen_;
  std::string report_, report_format_;
  bool realtime_ = false;
  bool stats_ = false;
};

}  // namespace nestor::emu
