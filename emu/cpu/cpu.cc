// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/cpu.h"

#include "emu/cpu/start_up.h"

namespace nestor::emu {

Cpu::Cpu(unsigned number, const Surroundings& around, LocalApic& apic)
    : core_(number, around, apic) {}

void Cpu::wait_for_start_up() {
  vmx::CpuState power_up;
  power_up.cr0 = vmx::cr0::kCd | vmx::cr0::kNw;
  start(state_after_init(power_up, core_.type().model().signature));
}

bool Cpu::root_software_is_due() const {
  return core_.root_software() != nullptr && !core_.vmx().in_non_root() &&
         core_.state().activity != vmx::ActivityState::kWaitForSipi;
}

void Cpu::serialize(Archive& archive) {
  core_.serialize(archive);
  signals_.serialize(archive);
  driver_.serialize(archive);
  archive(turn_over_);
}

void Cpu::begin_turn() {
  turn_over_ = false;
  (void)driver_.take_pause();
  // Neither the turns of others nor the time that it waited are counted.
  core_.skip_performance();
}

void Cpu::end_turn() { core_.count_performance(core_.state().cpl()); }

bool Cpu::run(uint64_t end) {
  turn_end_ = end;
  busy_ = false;
  if (find_code()) driver_.run(end);
  return busy_;
}

// Root software is no place at which a run stops: first it finishes what it is about to handle.
bool Cpu::stands_still() const {
  const Turns& turns = core_.around().turns;
  return turns.end() || (turns.pause() && !root_software_is_due());
}

bool Cpu::find_code() {
  while (!turn_over_ && !stands_still()) {
    waiting_ = false;
    if (root_software_is_due()) {
      core_.root_software()->run();
    } else if (driver_.is_in_the_middle() || service_boundary()) {
      return true;
    }
    end_step();
  }
  return false;
}

void Cpu::end_step() {
  busy_ |= !waiting_;
  if (waiting_) {
    turn_over_ = true;
  } else if (!driver_.is_in_the_middle() && !root_software_is_due()) {
    turn_over_ = driver_.take_pause() || core_.clock().cycles() >= turn_end_;
  }
}

bool Cpu::service_boundary() {
  const Surroundings& around = core_.around();
  const uint64_t now = core_.clock().cycles();
  around.turns.poll(core_.number(), now, around.prices.instructions());
  if (around.turns.over()) return false;
  if (around.bus.deadline() <= now) around.bus.expire(now);
  if (around.turns.over()) return false;
  if (boundary_.take_event()) {
    core_.waiting().end();
    return false;
  }
  waiting_ = boundary_.is_waiting();
  return !waiting_;
}

}  // namespace nestor::emu
