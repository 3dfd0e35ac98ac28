// SPDX-License-Identifier: GPL-2.0-or-later
//
// A moment of a run, as a user names it, and the watch for it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "emu/events/events.h"

namespace nestor::emu {

struct Moment {
  enum class Kind : uint8_t {
    kInstructions,  // so many instructions have been executed, by all processors together
    kExit,          // the VM exit with this number occurs; the first one is 1
    kMark,          // the guest has written this text, or marked a workload
  };
  Kind kind = Kind::kInstructions;
  uint64_t number = 0;
  std::string text{};  // kMark; not empty

  bool operator==(const Moment&) const = default;
};

// "N", "exit:N" or "mark:TEXT". The error says what is wrong, without the option's name.
std::variant<Moment, std::string> parse_moment(std::string_view text);

// A mark is looked for in what the guest writes to COM1, to port 0xe9 and to virtio-console, each
// by itself, and in a line for each workload, "workload number=2", as the text of a trace has it.
class MomentWatch {
 public:
  enum class Stream : uint8_t { kSerial, kConsole, kVirtioConsole, kWorkload };

  explicit MomentWatch(Moment moment) : moment_(std::move(moment)) {}

  // `instructions` stays valid; without it no number of instructions above 0 is reached.
  void attach(const uint64_t& instructions) { instructions_ = &instructions; }
  // So many VM exits were before.
  void resumed(uint64_t exits) { exits_ = exits; }
  void event(const MachineEvent& event);
  void output(Stream stream, uint8_t byte);

  // True from the moment on; the event of the moment itself included.
  bool reached() const;

 private:
  Moment moment_;
  const uint64_t* instructions_ = nullptr;
  uint64_t exits_ = 0;
  bool marked_ = false;
  std::string latest_[4];  // of each stream, as long as the text
};

}  // namespace nestor::emu
