// SPDX-License-Identifier: GPL-2.0-or-later
//
// A network of the guest's own, without rights on the host: libslirp answers ARP and DHCP and ends
// the guest's connections, of which there are only those that the host begins at a forwarded port.
// The guest is 10.0.2.15, the other end 10.0.2.2.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "emu/cli/network_options.h"
#include "emu/devices/network_port.h"

namespace nestor::emu {

// An error is one line that names the port.
[[nodiscard]] std::variant<std::unique_ptr<NetworkPort>, std::string> open_user_network(
    const std::vector<PortForward>& forwards);

}  // namespace nestor::emu
