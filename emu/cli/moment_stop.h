// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "emu/events/moment.h"
#include "emu/machine/machine.h"

namespace nestor::emu {

// Stops a machine at a moment: one of its sinks, which its owner also tells what the guest writes.
class MomentStop : public MachineEventSink {
 public:
  explicit MomentStop(const Moment& at) : at_(at), watch_(at) {}

  // The machine whose events and outputs are heard here; it outlives the run.
  void watch(Machine& machine) { machine_ = &machine; }
  // A byte that the guest writes to COM1, to port 0xe9 or to its virtio console.
  void output(MomentWatch::Stream stream, uint8_t byte);

  // Until when the machine may run.
  Until until() const;
  bool reached() const { return watch_.reached(); }
  // Where the latest event was, or whose turn it was.
  unsigned latest_processor() const { return processor_; }

  void attach(const Clock&, const uint64_t& instructions) override { watch_.attach(instructions); }
  void resumed(uint64_t exits, const std::vector<bool>&) override { watch_.resumed(exits); }
  void processor(unsigned number) override { processor_ = number; }
  void on(const MachineEvent& event) override;

 protected:
  // The machine is to stop now.
  virtual bool due() const { return reached(); }
  Machine* machine() const { return machine_; }

 private:
  const Moment at_;
  MomentWatch watch_;
  Machine* machine_ = nullptr;
  unsigned processor_ = 0;
};

}  // namespace nestor::emu
