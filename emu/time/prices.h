// SPDX-License-Identifier: GPL-2.0-or-later
//
// What things cost. Everything that takes virtual time is charged here, and nowhere else.
#pragma once

#include <cstdint>

#include "emu/time/clock.h"

namespace nestor::emu {

// In cycles.
struct PriceList {
  uint64_t instruction = 1;
  uint64_t walk_reference = 1;  // one memory reference of a page walk
  uint64_t vm_entry = 500;
  uint64_t vm_exit = 500;
  // What L0 does for one VM exit beside the VM exit and the VM entry themselves.
  uint64_t l0_exit_handling = 500;
  uint64_t exception = 100;
  uint64_t interrupt = 100;
  // Instructions beside their price as such. One iteration of INS or OUTS is a port access.
  // PAUSE: who spins lets time pass, as on processors of this signature, instead of making the host
  // spin too.
  uint64_t pause = 139;
  uint64_t port_access = 2000;  // IN, OUT: over the bus to a device
  // The same of a load; stores are posted. The local APIC is no device on the bus.
  uint64_t device_load = 2000;
  uint64_t rdtsc = 25;
  uint64_t cpuid = 100;
  uint64_t wrmsr = 130;
};

class Prices {
 public:
  explicit Prices(Clock& clock) : clock_(clock) {}

  PriceList list{};

  const Clock& clock() const { return clock_; }
  // Completed by all processors; the reference stays valid.
  const uint64_t& instructions() const { return instructions_; }

  // From now on the model of a processor's core says what code takes, block by block, and what
  // system instructions, events and transitions do: charge_core(). An instruction as such costs
  // nothing then, and is only counted.
  void price_blocks() {
    list.instruction = 0;
    prices_blocks_ = true;
  }
  bool prices_blocks() const { return prices_blocks_; }
  // The same, and the engine is to say where segments are when a block is entered, so that its
  // accesses can be followed.
  void follow_accesses() {
    price_blocks();
    follows_accesses_ = true;
  }
  bool follows_accesses() const { return follows_accesses_; }
  // The same, and the engine is to report each access to memory that it makes.
  void observe_accesses() {
    follow_accesses();
    observes_accesses_ = true;
  }
  bool observes_accesses() const { return observes_accesses_; }
  // Each block that is entered is part of a profile.
  void profile_blocks() { profiles_blocks_ = true; }
  bool profiles_blocks() const { return profiles_blocks_; }
  // The engine is to report each block that is entered.
  bool reports_blocks() const { return prices_blocks_ || profiles_blocks_; }

  // `count` instructions of a block that is about to be executed, and those of them that were not
  // reached after all.
  void charge_instructions(uint64_t count) {
    instructions_ += count;
    clock_.charge(count * list.instruction);
  }
  void refund_instructions(uint64_t count) {
    instructions_ -= count;
    clock_.refund(count * list.instruction);
  }
  void charge_core(uint64_t cycles) { clock_.charge(cycles); }
  void refund_core(uint64_t cycles) { clock_.refund(cycles); }
  void charge_walk(uint64_t references) { clock_.charge(references * list.walk_reference); }
  void charge(uint64_t PriceList::*price, uint64_t times = 1) {
    clock_.charge(times * (list.*price));
  }

  // The instructions; the clock is saved by whoever has it.
  template <typename Archive>
  void serialize(Archive& archive) {
    archive(instructions_);
    archive.require(instructions_ < 1ull << 62);
  }

 private:
  Clock& clock_;
  uint64_t instructions_ = 0;
  bool prices_blocks_ = false, profiles_blocks_ = false, follows_accesses_ = false;
  bool observes_accesses_ = false;
};

}  // namespace nestor::emu
