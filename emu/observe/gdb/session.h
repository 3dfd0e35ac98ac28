// SPDX-License-Identifier: GPL-2.0-or-later
//
// A conversation with one client of GDB's remote serial protocol: bytes in, bytes out.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "emu/observe/gdb/packets.h"
#include "emu/observe/gdb/target.h"

namespace nestor::emu {

class GdbSession {
 public:
  using Send = std::function<void(std::string_view)>;
  // Why a conversation is over.
  enum class End : uint8_t { kNone, kDetached, kKilled, kEnded, kDisconnected };

  // `target` outlives the session. `send` takes bytes for the client. `stop`: why the machine
  // stands still now.
  GdbSession(GdbTarget& target, Send send, GdbStop stop)
      : target_(target), send_(std::move(send)), last_stop_(std::move(stop)) {}

  // Answers what is complete in what the client has sent so far. While that runs the machine, the
  // target may call read_ahead().
  void feed(std::string_view bytes);
  End end() const { return end_; }

  // While the machine runs: takes bytes that have arrived. true: the client wants it to stop.
  bool read_ahead(std::string_view bytes);

 private:
  struct Handler;

  void reply(std::string_view data);
  void answer(std::string_view packet);
  std::string stop_reply(const GdbStop& stop) const;
  void resume(const GdbResume& how);
  void console(std::string_view text);

  // Each takes what is behind the packet's name and returns the reply.
  std::string query(std::string_view rest);
  std::string set(std::string_view rest);
  std::string select_thread(std::string_view rest);
  std::string is_alive(std::string_view rest);
  std::string read_registers(std::string_view rest);
  std::string write_registers(std::string_view rest);
  std::string read_register(std::string_view rest);
  std::string write_register(std::string_view rest);
  std::string read_memory(std::string_view rest);
  std::string write_memory(std::string_view rest);
  std::string write_binary(std::string_view rest);
  std::string insert(std::string_view rest) { return change_point(rest, true); }
  std::string remove(std::string_view rest) { return change_point(rest, false); }
  std::string change_point(std::string_view rest, bool inserts);
  std::string supported();
  std::string features(std::string_view rest) const;
  std::string thread_description(std::string_view rest) const;
  std::string run_monitor(std::string_view hex);
  // These run the machine or end the conversation, and reply by themselves. false: no such packet.
  bool control(std::string_view packet);
  // What the packet vCont wants; std::nullopt: nonsense.
  std::optional<GdbResume> take_actions(std::string_view actions) const;

  // Of a thread-id; std::nullopt: malformed, or there is none.
  std::optional<unsigned> take_processor(std::string_view& text) const;

  GdbTarget& target_;
  const Send send_;
  PacketReader reader_;
  GdbStop last_stop_;
  std::string last_sent_;
  bool acknowledges_ = true;
  unsigned selected_ = 0;             // of Hg: whose registers and memory
  std::optional<unsigned> stepping_;  // of Hc
  End end_ = End::kNone;
};

}  // namespace nestor::emu
