// SPDX-License-Identifier: GPL-2.0-or-later
//
// Between a machine and its surroundings, so that a part of its run can be repeated: what it puts
// out then was put out before and goes nowhere, and what it reads is what it read before.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>

#include "emu/events/events.h"
#include "emu/machine/machine.h"

namespace nestor::emu {

// A VM exit to L1 that was seen.
struct SeenExit {
  uint64_t instructions = 0;  // of all processors, completed before it
  unsigned processor = 0;
  uint32_t reason = 0;
  uint64_t qualification = 0, guest_rip = 0, guest_physical = 0;
};

class ReplayGate final : public MachineEventSink {
 public:
  // What was counted since the run began; goes back with the machine.
  struct Counts {
    // VM entries and exits, failed entries and instructions, exceptions and interrupts: what
    // happens between two instructions. With the instructions it names a place in the run.
    uint64_t events = 0;
    std::array<uint64_t, 2> inputs{};      // how often the machine has asked COM1, virtio-console
    unsigned processor = 0;                // that happened last
    std::map<uint16_t, uint64_t> exits{};  // by basic reason
    static constexpr size_t kRecent = 16;
    std::array<SeenExit, kRecent> recent{};  // by their number, modulo
    uint64_t exit_count = 0;
  };

  ReplayGate() = default;
  ReplayGate(const ReplayGate&) = delete;
  ReplayGate& operator=(const ReplayGate&) = delete;

  // The outputs for the machine; `outer` is where they lead. This object outlives the machine.
  MachineOutputs wrap(const MachineOutputs& outer);

  // Called now and then while the machine runs.
  std::function<void()> poll;
  // Called for each event of a machine that runs.
  std::function<void(const MachineEvent&)> watch;

  void mute(bool muted) { muted_ = muted; }
  bool muted() const { return muted_; }
  const Counts& counts() const { return counts_; }
  void restore(const Counts& counts) { counts_ = counts; }

  void attach(const Clock& clock, const uint64_t& instructions) override;
  void resumed(uint64_t exits, const std::vector<bool>& in_l2) override;
  void processor(unsigned number) override;
  void all_wait() override;
  bool wants_walks() const override { return outer() != nullptr && outer()->wants_walks(); }
  bool wants_all_walks() const override { return outer() != nullptr && outer()->wants_all_walks(); }
  void on(const MachineEvent& event) override;
  void translations(const TranslationCounts& counts) override;

 private:
  // Null: nobody is to hear.
  MachineEventSink* outer() const { return muted_ ? nullptr : outer_.events; }
  void count(const MachineEvent& event);
  SerialInput logged(size_t index, const SerialInput& input);

  // All answers so far, by the number of the question; what is missing was "nothing".
  struct InputLog {
    std::map<uint64_t, uint8_t> bytes;
    uint64_t known = 0;
  };

  MachineOutputs outer_;
  Counts counts_;
  std::array<InputLog, 2> inputs_;
  const uint64_t* instructions_ = nullptr;
  bool muted_ = false;
};

}  // namespace nestor::emu
