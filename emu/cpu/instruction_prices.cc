// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/instruction_prices.h"

#include <array>

#include "emu/cpu/segments.h"

namespace nestor::emu {
namespace {

struct Priced {
  Operation operation;
  uint64_t PriceList::*price;
};
constexpr Priced kPriced[] = {
    {Operation::kIn, &PriceList::port_access},  {Operation::kOut, &PriceList::port_access},
    {Operation::kIns, &PriceList::port_access}, {Operation::kOuts, &PriceList::port_access},
    {Operation::kRdtsc, &PriceList::rdtsc},     {Operation::kRdtscp, &PriceList::rdtsc},
    {Operation::kCpuid, &PriceList::cpuid},     {Operation::kWrmsr, &PriceList::wrmsr},
    {Operation::kPause, &PriceList::pause},
};

constexpr auto kPrices = [] {
  std::array<uint64_t PriceList::*, static_cast<size_t>(Operation::kCount)> table{};
  table.fill(nullptr);  // GCC 12 makes zeros of {}, which is the first member
  for (const Priced& row : kPriced) table[static_cast<size_t>(row.operation)] = row.price;
  return table;
}();

}  // namespace

uint64_t PriceList::*price_of(Operation operation) {
  return kPrices[static_cast<size_t>(operation)];
}

// The core prices all but what devices cost.
InstructionCharge::InstructionCharge(const Instruction& instruction, const vmx::CpuState& state,
                                     const timing::Core* core)
    : price_(price_of(instruction.operation)),
      repeated_(instruction.repeated),
      count_mask_(value_mask(instruction.address_size)),
      count_before_(state.gpr[vmx::kRcx] & count_mask_) {
  if (core == nullptr) return;
  core_cycles_ = core->price(timing::cost_of(instruction.operation, instruction.operand[0].number));
  if (price_ != &PriceList::port_access) price_ = nullptr;
}

void InstructionCharge::charge(Prices& prices, const vmx::CpuState& state,
                               const Outcome& outcome) const {
  const bool completed = std::holds_alternative<vmx::Completed>(outcome);
  if (completed || std::holds_alternative<Jumped>(outcome)) prices.charge_core(core_cycles_);
  if (price_ == nullptr) return;
  const uint64_t done = count_before_ - (state.gpr[vmx::kRcx] & count_mask_);
  prices.charge(price_, repeated_ ? done : completed ? 1 : 0);
}

}  // namespace nestor::emu
