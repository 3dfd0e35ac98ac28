// SPDX-License-Identifier: GPL-2.0-or-later
//
// Delivers events to a FakeCore.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "emu/cpu/delivery.h"
#include "tests/emu/cpu/fake_core.h"

namespace nestor::emu::test {

inline vmx::Event external(uint8_t vector) {
  return {vmx::EventType::kExternalInterrupt, vector, {}, 0, 0};
}
inline vmx::Event software(uint8_t vector) {
  return {vmx::EventType::kSoftwareInterrupt, vector, {}, 2, 0};
}

class DeliveryTest : public ::testing::Test {
 protected:
  FakeCore core;
  vmx::CpuState& cpu = core.cpu;

  void set_gate(uint8_t vector, uint64_t low) { core.poke(kIdt + vector * 8u, low); }
  void set_gate64(uint8_t vector, uint64_t low, uint64_t high = 0) {
    core.poke(kIdt + vector * 16u, low);
    core.poke(kIdt + vector * 16u + 8, high);
  }
  void deliver(const vmx::Event& event, EventOrigin origin = EventOrigin::kProcessor) {
    const Delivery delivery = deliver_once(core, event, origin);
    ASSERT_TRUE(std::holds_alternative<Delivered>(delivery));
    EXPECT_FALSE(std::get<Delivered>(delivery).vm_exit);
  }
  // The delivery fails with this exception, and changes nothing.
  void expect_fault(const vmx::Event& event, uint8_t vector, uint32_t error) {
    const uint64_t rip = cpu.rip, rsp = cpu.gpr[vmx::kRsp], flags = cpu.rflags, cr2 = cpu.cr2;
    const auto segments = cpu.segment;
    const Delivery delivery = deliver_once(core, event);
    const auto* fault = std::get_if<vmx::Event>(&delivery);
    ASSERT_NE(fault, nullptr);
    EXPECT_EQ(fault->vector, vector);
    EXPECT_EQ(fault->error_code, error);
    EXPECT_EQ(cpu.rip, rip);
    EXPECT_EQ(cpu.gpr[vmx::kRsp], rsp);
    EXPECT_EQ(cpu.rflags, flags);
    EXPECT_EQ(cpu.cr2, cr2);
    EXPECT_EQ(cpu.segment, segments);
  }
  template <class T>
  std::vector<uint64_t> stack(uint64_t base, size_t count) {
    std::vector<uint64_t> values;
    for (size_t i = 0; i < count; ++i) values.push_back(core.peek<T>(base + i * sizeof(T)));
    return values;
  }
  using Values = std::vector<uint64_t>;
};

}  // namespace nestor::emu::test
