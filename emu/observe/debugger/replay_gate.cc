// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/debugger/replay_gate.h"

namespace nestor::emu {

SerialInput ReplayGate::logged(size_t index, const SerialInput& input) {
  if (!input.next) return input;
  return {[this, index, next = input.next]() -> std::optional<uint8_t> {
            InputLog& log = inputs_[index];
            const uint64_t question = counts_.inputs[index]++;
            if (question < log.known) {
              const auto byte = log.bytes.find(question);
              return byte != log.bytes.end() ? std::optional(byte->second) : std::nullopt;
            }
            log.known = question + 1;
            const auto byte = next();
            if (byte) log.bytes.emplace(question, *byte);
            return byte;
          },
          input.live};
}

MachineOutputs ReplayGate::wrap(const MachineOutputs& outer) {
  outer_ = outer;
  const auto gated = [this](const std::function<void(uint8_t)>& put) {
    return put ? std::function<void(uint8_t)>([this, put](uint8_t byte) {
      if (!muted_) put(byte);
    })
               : put;
  };
  MachineOutputs outputs = outer;
  outputs.serial = gated(outer.serial);
  for (size_t i = 0; i < outputs.further_serial.size(); ++i)
    outputs.further_serial[i] = gated(outer.further_serial[i]);
  outputs.virtio_console = gated(outer.virtio_console);
  outputs.firmware_log = gated(outer.firmware_log);
  outputs.console = gated(outer.console);
  outputs.serial_input = logged(0, outer.serial_input);
  outputs.virtio_console_input = logged(1, outer.virtio_console_input);
  outputs.events = this;
  outputs.progress = [this](uint64_t instructions) {
    if (poll) poll();
    if (!muted_ && outer_.progress) outer_.progress(instructions);
  };
  if (outer.idle) {
    outputs.idle = [this](uint64_t now, uint64_t until) {
      if (!muted_) outer_.idle(now, until);
    };
  }
  return outputs;
}

void ReplayGate::attach(const Clock& clock, const uint64_t& instructions) {
  instructions_ = &instructions;
  if (outer_.events != nullptr) outer_.events->attach(clock, instructions);
}

void ReplayGate::resumed(uint64_t exits, const std::vector<bool>& in_l2) {
  if (outer() != nullptr) outer()->resumed(exits, in_l2);
}

void ReplayGate::processor(unsigned number) {
  counts_.processor = number;
  if (outer() != nullptr) outer()->processor(number);
}

void ReplayGate::all_wait() {
  if (outer() != nullptr) outer()->all_wait();
}

void ReplayGate::translations(const TranslationCounts& counts) {
  if (outer() != nullptr) outer()->translations(counts);
}

void ReplayGate::count(const MachineEvent& event) {
  const bool counts = std::holds_alternative<vmx::VmEntryEvent>(event) ||
                      std::holds_alternative<vmx::VmExitEvent>(event) ||
                      std::holds_alternative<vmx::VmInstructionErrorEvent>(event) ||
                      std::holds_alternative<ExceptionEvent>(event) ||
                      std::holds_alternative<InterruptEvent>(event);
  if (counts) ++counts_.events;
  const auto* exit = std::get_if<vmx::VmExitEvent>(&event);
  if (exit == nullptr) return;
  ++counts_.exits[static_cast<uint16_t>(exit->reason)];
  counts_.recent[counts_.exit_count++ % Counts::kRecent] = {
      instructions_ != nullptr ? *instructions_ : 0,
      counts_.processor,
      exit->reason,
      exit->qualification,
      exit->guest_rip,
      exit->guest_physical};
}

void ReplayGate::on(const MachineEvent& event) {
  count(event);
  if (outer() != nullptr) outer()->on(event);
  if (watch) watch(event);
}

}  // namespace nestor::emu
