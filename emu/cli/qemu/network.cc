// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/qemu/network.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "emu/cli/network_options.h"

namespace nestor::emu::qemu {
namespace {

using enum Treatment;

struct Network {
  std::string type, id, model;
  std::string forwards;  // as nestor's --net takes them
  bool restricted = false;
};

template <std::string Network::*kMember>
Complaint take_word(const std::string& value, Network& to) {
  to.*kMember = value;
  return {};
}

Complaint take_restrict(const std::string& value, Network& to) {
  to.restricted = parse_boolean(value) == true;
  return {};
}

// "ADDRESS:PORT".
struct End {
  std::string address, port;
};
std::optional<End> parse_end(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  return End{text.substr(0, colon), text.substr(colon + 1)};
}

// "[tcp|udp]:[HOST]:PORT-[GUEST]:PORT"
Complaint take_forward(const std::string& value, Network& to) {
  const std::string wrong =
      fmt::format("'{}' is not [tcp|udp]:[127.0.0.1]:PORT-[10.0.2.15]:PORT", value);
  const size_t dash = value.find('-'), protocol_end = value.find(':');
  if (dash == std::string::npos || protocol_end > dash) return wrong;
  const auto host = parse_end(value.substr(protocol_end + 1, dash - protocol_end - 1));
  const auto guest = parse_end(value.substr(dash + 1));
  if (!host || !guest) return wrong;
  const std::string protocol = protocol_end == 0 ? "tcp" : value.substr(0, protocol_end);
  const std::string forward = fmt::format(",forward={}:{}:{}", protocol, host->port, guest->port);
  if (!std::holds_alternative<std::vector<PortForward>>(parse_network("user" + forward)))
    return wrong;
  if (!is_one_of(host->address, "|127.0.0.1|localhost") || !is_one_of(guest->address, "|10.0.2.15"))
    return missing("a port of the loopback leads to 10.0.2.15, and no other address");
  to.forwards += forward;
  return {};
}

constexpr const char *kOneNetwork = "the network is 10.0.2.0/24, and the guest 10.0.2.15",
                     *kNoServer = "there is no server in the network";
constexpr Row<Network> kNetworkKeys[] = {
    {"type", "NAME", kTaken, "", {}, take_word<&Network::type>},
    {"id", "ID", kTaken, "", {}, take_word<&Network::id>},
    {"model", "NAME", kTaken, "", {}, take_word<&Network::model>},
    {"hostfwd", "RULE", kTaken, "", {}, take_forward},
    {"restrict", "on|off", kTaken, "", {}, take_restrict},
    {"mac", "ADDRESS", kIgnored, "the address of the card is 52:54:00:12:34:56"},
    {"macaddr", "ADDRESS", kIgnored, "the address of the card is 52:54:00:12:34:56"},
    {"net", "NETWORK", kIgnored, kOneNetwork, "10.0.2.0/24"},
    {"host", "ADDRESS", kIgnored, kOneNetwork, "10.0.2.2"},
    {"dhcpstart", "ADDRESS", kIgnored, kOneNetwork, "10.0.2.15"},
    {"dns", "ADDRESS", kIgnored, kNoServer},
    {"hostname", "NAME", kIgnored, kOneNetwork},
    {"ipv4", "on|off", kIgnored, kOneNetwork, "on"},
    {"ipv6*", "VALUE", kIgnored, kOneNetwork, "off"},
    {"tftp*", "VALUE", kMissing, kNoServer},
    {"bootfile", "FILE", kMissing, kNoServer},
    {"smb*", "VALUE", kMissing, kNoServer},
    {"guestfwd", "RULE", kMissing, kNoServer},
};

// QEMU's others, which have keys of their own.
constexpr std::string_view kOtherNetworks =
    "tap|bridge|socket|stream|dgram|l2tpv3|vde|netmap|vhost-user|vhost-vdpa|hubport|af-xdp|passt";

Complaint read_network(std::string_view option, const std::string& text, Wanted& wanted,
                       Network& network) {
  const std::vector<Pair> pairs = split_keys(text, "type");
  const auto type = std::ranges::find(pairs, "type", &Pair::key);
  if (type != pairs.end() && is_one_of(type->value, kOtherNetworks))
    return missing("the network is the guest's own; use user,hostfwd=...");
  if (Complaint bad = apply_keys<Network>(option, pairs, kNetworkKeys, network, wanted.report);
      !bad.empty())
    return bad;
  if (is_one_of(network.type, "user|none")) return {};
  return fmt::format("there is no network '{}'; use user", network.type);
}

WantedNetwork wanted_network(std::string_view option, const std::string& text,
                             const Network& network) {
  WantedNetwork wanted{"user" + network.forwards, {}};
  if (!network.restricted) {
    wanted.way_out = fmt::format(
        "the way out of {} {} is ignored: the guest reaches only who comes by hostfwd, as with "
        "restrict=on",
        option, text);
  }
  return wanted;
}

}  // namespace

Complaint read_netdev(const std::string& text, Wanted& wanted) {
  if (is_one_of(text, "help|?"))
    return {"Available netdev backend types:\nuser\n", ExitStatus::kSuccess};
  Network network;
  if (Complaint bad = read_network("-netdev", text, wanted, network); !bad.empty()) return bad;
  if (network.id.empty()) return "it needs an id=";
  if (!wanted.networks.emplace(network.id, wanted_network("-netdev", text, network)).second)
    return fmt::format("there is a -netdev with id={} already", network.id);
  return {};
}

Complaint read_nic(const std::string& text, Wanted& wanted) {
  Network network;
  if (Complaint bad = read_network("-nic", text, wanted, network); !bad.empty()) return bad;
  if (network.type == "none") return {};
  if (is_one_of(network.model, "help|?"))
    return {"Supported NIC models:\nvirtio-net-pci\n", ExitStatus::kSuccess};
  if (!network.model.starts_with("virtio")) {
    wanted.report.ignored.push_back("-nic " + text +
                                    " is ignored: the card is virtio's; use model=virtio-net-pci");
    return {};
  }
  if (wanted.network || !wanted.network_id.empty()) return missing("there is one network card");
  wanted.network = wanted_network("-nic", text, network);
  return {};
}

}  // namespace nestor::emu::qemu
