// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/network_options.h"

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string_view>

#include "emu/cli/numbers.h"
#include "emu/cli/options.h"

namespace nestor::emu {
namespace {

constexpr std::string_view kForward = "forward=";

// The part before the first of these characters, which leaves `text` with it.
std::string_view take_part(std::string_view& text, char separator) {
  const size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

std::optional<uint16_t> parse_port(std::string_view text) {
  const auto number = parse_count(text);
  if (number.value_or(0) == 0 || *number > 0xffff) return std::nullopt;
  return static_cast<uint16_t>(*number);
}

std::optional<PortForward> parse_forward(std::string_view text) {
  const std::string_view protocol = take_part(text, ':');
  const auto host = parse_port(take_part(text, ':')), guest = parse_port(text);
  if ((protocol != "tcp" && protocol != "udp") || !host || !guest) return std::nullopt;
  return PortForward{protocol == "tcp" ? PortForward::Protocol::kTcp : PortForward::Protocol::kUdp,
                     *host, *guest};
}

}  // namespace

std::variant<std::vector<PortForward>, std::string> parse_network(const std::string& text) {
  std::string_view rest = text;
  if (const std::string_view kind = take_part(rest, ','); kind != "user")
    return fmt::format("'{}' is no network; there is user", kind);
  std::vector<PortForward> forwards;
  bool more = text.find(',') != std::string::npos;
  while (more) {
    more = rest.find(',') != std::string_view::npos;
    std::string_view item = take_part(rest, ',');
    if (!item.starts_with(kForward))
      return fmt::format("'{}' is not forward=tcp|udp:HOST_PORT:GUEST_PORT", item);
    item.remove_prefix(kForward.size());
    const auto forward = parse_forward(item);
    if (!forward) {
      return fmt::format("'{}' is not tcp|udp:HOST_PORT:GUEST_PORT, as tcp:2222:22", item);
    }
    const bool again = std::ranges::any_of(forwards, [&](const PortForward& other) {
      return other.host == forward->host && other.protocol == forward->protocol;
    });
    if (again) return fmt::format("port {} of the host is forwarded twice", forward->host);
    forwards.push_back(*forward);
  }
  return forwards;
}

void NetworkOptions::add_to(CLI::App& run) {
  run.add_option("--net", network_,
                 "Add a virtio network card in a network of its own. The guest reaches nothing; a "
                 "port of the host's loopback may lead to one of the guest, and the clock then "
                 "waits as with --realtime")
      ->type_name("user[,forward=tcp|udp:HOST_PORT:GUEST_PORT]...");
}

Complaint NetworkOptions::read(const CLI::App& run, RunOptions& options) const {
  if (run.count("--net") == 0) return {};
  auto network = parse_network(network_);
  if (const auto* bad = std::get_if<std::string>(&network)) return "--net: " + *bad;
  options.network = std::get<std::vector<PortForward>>(std::move(network));
  options.machine.network = true;
  // Who is at the other end lives in the host's time.
  if (!options.network->empty()) options.realtime = true;
  return {};
}

}  // namespace nestor::emu
