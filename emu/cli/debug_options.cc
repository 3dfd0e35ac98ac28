// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/debug_options.h"

#include <spdlog/fmt/fmt.h>
#include <sys/un.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <string_view>

#include "emu/cli/options.h"

namespace nestor::emu {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";

}  // namespace

std::variant<GdbAddress, std::string> parse_gdb_address(const std::string& text) {
  GdbAddress address;
  if (text == "stdio") return address;
  if (text.starts_with(kUnixPrefix)) {
    address.kind = GdbAddress::Kind::kUnix;
    address.path = text.substr(kUnixPrefix.size());
    constexpr size_t kLongest = sizeof sockaddr_un::sun_path - 1;
    if (address.path.empty()) return "the name of the socket is empty";
    if (address.path.size() > kLongest)
      return fmt::format("the name of a socket has at most {} bytes; use a shorter one", kLongest);
    return address;
  }
  address.kind = GdbAddress::Kind::kTcp;
  const size_t colon = text.rfind(':');
  const std::string_view port =
      colon == std::string::npos ? std::string_view() : std::string_view(text).substr(colon + 1);
  const char* const end = port.data() + port.size();
  const auto [stop, error] = std::from_chars(port.data(), end, address.port);
  if (port.empty() || error != std::errc() || stop != end) {
    return fmt::format("'{}' is no address; use HOST:PORT, unix:PATH or stdio, as in :1234", text);
  }
  address.host = text.substr(0, colon);
  if (address.host.starts_with('[') && address.host.ends_with(']'))
    address.host = address.host.substr(1, address.host.size() - 2);
  if (address.host.empty()) address.host = "127.0.0.1";
  return address;
}

void DebugOptions::add_to(CLI::App& run) {
  run.add_option("--gdb", gdb_,
                 "Let GDB debug the run: listen there for its \"target remote\"; an empty HOST is "
                 "the loopback")
      ->type_name("HOST:PORT|unix:PATH|stdio");
  run.add_flag("--stopped", stopped_, "With --gdb: execute nothing before GDB is there");
}

Complaint DebugOptions::read(const CLI::App& run, RunOptions& options) const {
  if (run.count("--gdb") == 0) {
    return stopped_ ? Complaint("--stopped has no effect without --gdb") : Complaint();
  }
  auto address = parse_gdb_address(gdb_);
  if (const auto* bad = std::get_if<std::string>(&address)) return "--gdb: " + *bad;
  options.gdb = std::get<GdbAddress>(std::move(address));
  options.stopped = stopped_;
  if (options.save_state)
    return "--gdb and --save-state exclude each other: the debugger says when the run stops";
  return {};
}

}  // namespace nestor::emu
