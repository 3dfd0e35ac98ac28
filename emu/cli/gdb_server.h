// SPDX-License-Identifier: GPL-2.0-or-later
//
// The connection to GDB: one client at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "emu/cli/debug_options.h"

namespace nestor::emu {

class GdbServer {
 public:
  // Listens. The error is one sentence that names the address and the reason.
  [[nodiscard]] static std::variant<std::unique_ptr<GdbServer>, std::string> open(
      const GdbAddress& address);
  ~GdbServer();
  GdbServer(const GdbServer&) = delete;
  GdbServer& operator=(const GdbServer&) = delete;

  // What a user types in GDB: "target remote 127.0.0.1:1234"; empty with kStdio.
  std::string command() const;
  // Others than this host's users may reach it.
  bool is_open_to_others() const { return open_to_others_; }
  // GDB is there from the beginning.
  bool is_stdio() const { return address_.kind == GdbAddress::Kind::kStdio; }

  bool connected() const { return input_ >= 0; }
  // Takes a client that waits, if there is one; does not wait for it.
  bool accept_waiting();
  // Waits until there is something to accept, or to read. false: `is_over` has become true, or
  // nothing can come any more.
  bool wait(const std::function<bool()>& is_over);
  // What has arrived, maybe nothing. std::nullopt: the client has gone.
  std::optional<std::string> read_available();
  // A client that does not take it within some seconds has gone.
  void send(std::string_view bytes);
  void hang_up();

 private:
  explicit GdbServer(const GdbAddress& address) : address_(address) {}
  std::optional<std::string> listen_tcp();
  std::optional<std::string> listen_unix();

  const GdbAddress address_;
  int listener_ = -1, input_ = -1, output_ = -1;
  std::string bound_;  // "127.0.0.1:1234"
  bool open_to_others_ = false;
  // The socket that was made at the path: device and inode.
  std::optional<std::pair<uint64_t, uint64_t>> own_;
};

}  // namespace nestor::emu
