// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the engine asks while it runs: about devices, and about the code that it is about to
// execute.
#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "emu/cpu/breakpoints.h"
#include "emu/cpu/engine_driver.h"
#include "emu/cpu/entry_conditions.h"
#include "emu/cpu/instruction_step.h"
#include "emu/cpu/memory_accesses.h"
#include "emu/cpu/modelled_code.h"
#include "emu/cpu/segments.h"
#include "emu/cpu/stack.h"
#include "emu/decode/plain_code.h"
#include "emu/memory/page_size.h"

namespace nestor::emu {

uint64_t EngineDriver::read_device(uint64_t physical, unsigned size) {
  const uint64_t value = core_.port().read_device(physical, size);
  note_device_access(physical, size, true);
  engine_.request_stop();  // the access may have changed what is due
  return value;
}

void EngineDriver::write_device(uint64_t physical, unsigned size, uint64_t value) {
  core_.port().write_device(physical, size, value);
  note_device_access(physical, size, false);
  engine_.request_stop();
}

bool EngineDriver::is_past_deadline() const {
  const Prices& prices = core_.around().prices;
  return prices.clock().cycles() >= deadline_ ||
         prices.instructions() >= mode_.instruction_deadline;
}

bool EngineDriver::deadline_passed() {
  if (is_past_deadline()) return true;
  return watch_interrupts_ && (engine_.live_rflags() & vmx::rflags::kIf) != 0;
}

// What is executed now: neither the mode nor the privilege level change while the engine runs.
std::span<uint8_t> EngineDriver::code_at(uint64_t linear, std::span<uint8_t> buffer) {
  size_t fetched = 0;
  (void)core_.fetch(linear, buffer, fetched);
  return buffer.first(fetched);
}

unsigned EngineDriver::count_instructions(uint64_t linear, unsigned size) {
  std::array<uint8_t, kPageSize> bytes;
  std::array<uint16_t, kPageSize> starts;
  const auto code = code_at(linear, std::span(bytes).first(std::min<size_t>(size, bytes.size())));
  const CodeMode mode = code_mode(core_.state());
  if (const auto plain = count_plain_instructions(code, mode)) return *plain;
  // One that the decoder does not know is one all the same, and so it is to the engine.
  return std::max(core_.decoder().instruction_starts(code, mode, starts), 1u);
}

bool EngineDriver::may_follow_itself(uint64_t linear, unsigned size) {
  std::array<uint8_t, kPageSize> bytes;
  const auto code = code_at(linear, std::span(bytes).first(std::min<size_t>(size, bytes.size())));
  const auto instruction = core_.decoder().decode(code, code_mode(core_.state()));
  return !instruction || instruction->repeated || instruction->branch != NearBranch::kNone;
}

// The first instruction with a breakpoint. Those at RIP have been looked at.
std::optional<unsigned> EngineDriver::find_breakpoint(std::span<const uint8_t> code,
                                                      uint64_t linear) {
  const vmx::CpuState& state = core_.state();
  if (!has_instruction_breakpoint(state, linear, code.size())) return std::nullopt;
  std::array<uint16_t, kPageSize> starts;
  const unsigned count = core_.decoder().instruction_starts(code, code_mode(state), starts);
  for (unsigned i = 0; i < count; ++i) {
    const uint64_t at = linear + starts[i];
    if (at != linear_rip(state) && instruction_breakpoints(state, at) != 0) return starts[i];
  }
  return std::nullopt;
}

// The engine makes two of an access of 8 bytes, lower half first.
void EngineDriver::note_device_access(uint64_t physical, unsigned size, bool read) {
  const DeviceAccess last = device_access_.value_or(DeviceAccess{});
  const bool second_half =
      last.size == 4 && size == 4 && last.read == read && last.physical + last.size == physical;
  device_access_ =
      second_half ? DeviceAccess{last.physical, 8, read} : DeviceAccess{physical, size, read};
}

// What a block has accessed last lies at the stack pointer if it was pushed, and below it if it was
// popped.
void EngineDriver::look_for_stack_outside_ram() {
  if (!device_access_) return;
  const auto access = std::exchange(device_access_, std::nullopt);
  const vmx::CpuState& state = core_.state();
  const uint64_t popped = access->read ? access->size : 0;
  const uint64_t pointer = (state.gpr[vmx::kRsp] - popped) & stack_pointer_mask(state);
  const uint64_t linear = unchecked_linear_address(state, vmx::kSs, pointer);
  if (linear % kPageSize != access->physical % kPageSize) return;
  const ept::Access probe = core_.port().access(ept::Access::kRead, Privilege::kCurrent);
  const auto physical = core_.mmu().probe(linear, probe, state.rflags);
  const auto* found = std::get_if<uint64_t>(&physical);
  if (found != nullptr && *found == access->physical)
    core_.note_outside_ram(ImplicitMemory::kStack, linear);
}

// A program that has jumped to where nothing was loaded executes zeros, which are instructions.
void EngineDriver::look_for_zero_code(uint64_t linear, std::span<const uint8_t> code) {
  const auto all_zeros = [](std::span<const uint8_t> bytes) {
    return std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; });
  };
  const uint64_t page = linear & ~(kPageSize - 1);
  const bool ends_page = linear + code.size() - page >= kPageSize;
  std::optional<uint64_t>& first = zero_code_[core_.in_l2()];
  if (!ends_page || first || !all_zeros(code)) return;
  std::array<uint8_t, kPageSize> bytes;
  const auto whole = code_at(page, bytes);
  if (whole.size() != bytes.size() || !all_zeros(whole)) return;
  first = page;
  if (core_.around().events != nullptr) core_.around().events->zero_code({page, core_.in_l2()});
}

std::optional<unsigned> EngineDriver::find_unsafe(uint64_t linear, unsigned size,
                                                  EntryConditions& conditions) {
  std::array<uint8_t, kPageSize> bytes;
  const vmx::CpuState& state = core_.state();
  const auto code = code_at(linear, std::span(bytes).first(std::min<size_t>(size, bytes.size())));
  if (!code.empty() && code.back() == 0) look_for_zero_code(linear, code);
  const bool descriptors = selectors_name_descriptors();
  auto modelled = find_modelled(core_.decoder(), code, code_mode(state), descriptors);
  if (modelled == 0u) {
    // The engine ends a block in the midst of what it calls undefined. Alone, what the decoder does
    // not know is safe.
    std::array<uint8_t, Instruction::kMaxLength> whole;
    const auto first = core_.decoder().decode(code_at(linear, whole), code_mode(state));
    if (first ? !is_modelled(*first, descriptors) : mode_.single_step) modelled.reset();
  }
  // What comes behind is another block.
  const auto executed = code.first(modelled.value_or(static_cast<unsigned>(code.size())));
  const auto unknown =
      find_entry_conditions(core_.decoder(), executed, linear, state, simd_exceptions_, conditions);
  auto unsafe = unknown ? unknown : modelled;
  if (unsafe == 0u) conditions.clear();
  if (has_breakpoints(state)) {
    const auto at =
        find_breakpoint(code.first(unsafe.value_or(static_cast<unsigned>(code.size()))), linear);
    if (at) unsafe = at;
    if (at == 0u) conditions.clear();
  }
  // One instruction at a time, breakpoints are met between them.
  if (unsafe || mode_.single_step || !core_.around().turns.watches_instructions()) return unsafe;
  WatchedBlock block{linear, size, 0};
  if (!is_watched(block)) return std::nullopt;
  std::array<uint16_t, kPageSize> starts;
  block.prepaid = core_.decoder().instruction_starts(code, code_mode(state), starts);
  watched_ahead_ = block;
  return 0;
}

}  // namespace nestor::emu
