// SPDX-License-Identifier: GPL-2.0-or-later
//
// A run that GDB debugs.
#pragma once

#include <functional>
#include <memory>

#include "emu/cli/gdb_server.h"
#include "emu/cli/orderly_stop.h"
#include "emu/machine/machine.h"
#include "emu/observe/debugger/debugger.h"
#include "emu/observe/gdb/session.h"

namespace nestor::emu {

class DebuggedRun {
 public:
  // `stop` outlives this object.
  DebuggedRun(std::unique_ptr<GdbServer> server, bool stopped, const OrderlyStop& stop)
      : server_(std::move(server)), stopped_(stopped), stop_(stop) {}
  DebuggedRun(const DebuggedRun&) = delete;
  DebuggedRun& operator=(const DebuggedRun&) = delete;

  // For the machine, which this object outlives.
  MachineOutputs wrap(const MachineOutputs& outputs) { return gate_.wrap(outputs); }
  // Runs that machine, which has inspection(), to its end, or until GDB or a signal ends it.
  // `at_pause`: called when it stands still.
  RunResult run(Machine& machine, const MachineConfig& config, std::function<void()> at_pause);
  // GDB's `kill` has ended it.
  bool killed() const { return killed_; }

 private:
  Debugger::World::Demand demand();
  // Talks to the client until that is over.
  GdbSession::End serve(Debugger& debugger, const GdbStop& stop);
  RunResult unfinished(const Machine& machine) const;

  const std::unique_ptr<GdbServer> server_;
  const bool stopped_;
  const OrderlyStop& stop_;
  ReplayGate gate_;
  GdbSession* session_ = nullptr;  // the one that goes on
  bool killed_ = false;
};

}  // namespace nestor::emu
