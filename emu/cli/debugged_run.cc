// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/debugged_run.h"

#include "emu/cli/ending.h"

namespace nestor::emu {

using End = GdbSession::End;
using Demand = Debugger::World::Demand;

Demand DebuggedRun::demand() {
  if (session_ == nullptr) return server_->accept_waiting() ? Demand::kStop : Demand::kNone;
  if (stop_.requested()) return Demand::kGone;  // the way back may be long
  const auto bytes = server_->read_available();
  if (!bytes) return Demand::kGone;
  return session_->read_ahead(*bytes) ? Demand::kStop : Demand::kNone;
}

End DebuggedRun::serve(Debugger& debugger, const GdbStop& stop) {
  GdbSession session(
      debugger, [this](std::string_view bytes) { server_->send(bytes); }, stop);
  session_ = &session;
  // A client that takes nothing any more is hung up on.
  while (session.end() == End::kNone && server_->connected()) {
    const bool ready = server_->wait([this] { return stop_.requested(); });
    const auto bytes = ready ? server_->read_available() : std::nullopt;
    if (!bytes) break;
    session.feed(*bytes);
  }
  session_ = nullptr;
  debugger.client_left();
  return session.end() == End::kNone ? End::kDisconnected : session.end();
}

RunResult DebuggedRun::unfinished(const Machine& machine) const {
  RunResult result;
  result.kind = RunResult::Kind::kOutputError;
  result.instructions = machine.instructions();
  return result;
}

RunResult DebuggedRun::run(Machine& machine, const MachineConfig& config,
                           std::function<void()> at_pause) {
  Debugger debugger({machine, config, gate_, [this] { return demand(); }, std::move(at_pause),
                     [](const RunResult& result) { return status_of(result); },
                     [](const RunResult& result) { return describe(result); }});
  bool stopped = stopped_ || server_->is_stdio();
  for (;;) {
    GdbStop stop;
    if (!stopped) {
      stop = debugger.run_free();
      if (stop.why == GdbStop::Why::kEnded) return *debugger.result();
    }
    while (!server_->connected() && !server_->accept_waiting()) {
      if (!server_->wait([this] { return stop_.requested(); })) return unfinished(machine);
    }
    const End end = serve(debugger, stop);
    server_->hang_up();
    if (end == End::kEnded) return *debugger.result();
    killed_ = end == End::kKilled;
    if (killed_ || stop_.requested()) return unfinished(machine);
    stopped = false;
  }
}

}  // namespace nestor::emu
