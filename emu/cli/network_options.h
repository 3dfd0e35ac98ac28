// SPDX-License-Identifier: GPL-2.0-or-later
//
// The option of `run` that gives the machine a network.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "emu/cli/complaint.h"

namespace CLI {
class App;
}

namespace nestor::emu {

struct RunOptions;

// What arrives at a port of the host's loopback goes to a port of the guest.
struct PortForward {
  enum class Protocol : uint8_t { kTcp, kUdp } protocol = Protocol::kTcp;
  uint16_t host = 0, guest = 0;  // not 0
};

struct NetworkRun {
  std::optional<std::vector<PortForward>> network;  // none: there is no network
};

// "user", and ",forward=tcp:2222:22" as often as wanted. A complaint is one line without the
// option's name.
[[nodiscard]] std::variant<std::vector<PortForward>, std::string> parse_network(
    const std::string& text);

class NetworkOptions {
 public:
  // This object outlives the parsing.
  void add_to(CLI::App& run);
  // After the parsing and the outputs.
  [[nodiscard]] Complaint read(const CLI::App& run, RunOptions& options) const;

 private:
  std::string network_;
};

}  // namespace nestor::emu
