// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/addresses.h"

#include <bit>

namespace nestor::emu::timing {
namespace {

constexpr int64_t sum_of(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

// A number that depends on all of both; splitmix64's finisher.
constexpr uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t z = a * 0x9e3779b97f4a7c15 + b;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

}  // namespace

RegisterSums::RegisterSums() {
  for (uint8_t gpr = 0; gpr < kGprs; ++gpr) sums_[gpr] = Address{gpr, Address::kNone, 1, 0};
}

std::optional<Address> RegisterSums::from_start(const Address& address) const {
  Address sum{Address::kNone, Address::kNone, 1, address.offset};
  if (address.base == Address::kRip) {
    sum.base = Address::kRip;
    sum.offset = sum_of(sum.offset, position_);
  } else if (address.base != Address::kNone) {
    const auto& base = sums_[address.base];
    if (!base) return std::nullopt;
    sum = {base->base, base->index, base->scale, sum_of(base->offset, sum.offset)};
  }
  if (address.index == Address::kNone) return sum;
  const auto& index = sums_[address.index];
  if (!index || index->index != Address::kNone || sum.index != Address::kNone) return std::nullopt;
  sum.index = index->base;
  sum.scale = address.scale;
  const auto scaled = static_cast<uint64_t>(index->offset) * address.scale;
  sum.offset = sum_of(sum.offset, static_cast<int64_t>(scaled));
  return sum;
}

std::optional<Address> RegisterSums::address_of(const InstructionPrice& price) const {
  if (!price.has_address) return std::nullopt;
  Address address = price.address;
  if (address.base == Address::kRip) address.offset = sum_of(address.offset, price.length);
  return from_start(address);
}

void RegisterSums::apply(const InstructionPrice& price) {
  std::optional<Address> sum;
  if (price.sum.reg != Address::kNone) {
    Address next = price.sum.sum;
    if (next.base == Address::kRip) next.offset = sum_of(next.offset, price.length);
    sum = from_start(next);
  }
  for (unsigned gpr = 0; gpr < kGprs; ++gpr)
    if ((price.written >> (kFirstGpr + gpr) & 1) != 0) sums_[gpr].reset();
  if (price.sum.reg != Address::kNone) sums_[price.sum.reg] = sum;
  position_ += price.length;
}

SymbolicState::SymbolicState() {
  for (unsigned i = 0; i < registers_.size(); ++i) registers_[i] = mix(1, i);
  for (unsigned i = 0; i < kValues; ++i) others_[i] = mix(2, i);
}

uint64_t SymbolicState::address_of(const InstructionPrice& price) const {
  return evaluate(price.address, registers_.data()) +
         (price.address.base == Address::kRip ? price.length : 0u);
}

uint64_t SymbolicState::memory_at(uint64_t address) const {
  const auto found = memory_.find(address);
  return found == memory_.end() ? mix(3, address) : found->second;
}

void SymbolicState::execute(const InstructionPrice& price) {
  const bool accesses = price.has_address && (price.loads || price.stores);
  const uint64_t address = accesses ? address_of(price) : 0;
  uint64_t result = mix(4, price.identity);
  const auto value = [&](unsigned i) -> uint64_t& {
    return i < kGprs ? registers_[i] : others_[i];
  };
  for (Values left = price.operand_read | price.address_read; left != 0; left &= left - 1)
    result = mix(result, value(static_cast<unsigned>(std::countr_zero(left))));
  if (price.loads) result = mix(result, accesses ? memory_at(address) : mix(5, result));
  RegisterValues before = registers_;
  before[Address::kRip] += price.length;
  for (Values left = price.written; left != 0; left &= left - 1) {
    const auto i = static_cast<unsigned>(std::countr_zero(left));
    value(i) = mix(result, i);
  }
  if (price.sum.reg != Address::kNone)
    registers_[price.sum.reg] = evaluate(price.sum.sum, before.data());
  registers_[Address::kRip] = before[Address::kRip];
  if (!price.stores || !accesses) return;
  memory_[address] = mix(result, kValues);
}

}  // namespace nestor::emu::timing
