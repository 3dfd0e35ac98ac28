// SPDX-License-Identifier: GPL-2.0-or-later
//
// Emulates single instructions, given as bytes, on a FakeCore.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "emu/cpu/instructions/emulate.h"
#include "emu/decode/decoder.h"
#include "tests/emu/assembled_code.h"
#include "tests/emu/cpu/fake_core.h"
#include "tests/emu/l0/nested_guest.h"

namespace nestor::emu::test {

using Bytes = std::vector<uint8_t>;

class InstructionTest : public ::testing::Test {
 protected:
  FakeCore core;
  vmx::CpuState& cpu = core.cpu;
  Decoder decoder;

  Outcome run(const Bytes& bytes) {
    const auto instruction = decoder.decode(bytes, code_mode(cpu));
    EXPECT_TRUE(instruction) << ::testing::PrintToString(bytes);
    if (!instruction) return vmx::exception(vmx::kMc);
    return emulate(core, *instruction);
  }
  void expect_completed(const Bytes& bytes) {
    const Outcome outcome = run(bytes);
    const auto* event = std::get_if<vmx::Event>(&outcome);
    EXPECT_TRUE(std::holds_alternative<vmx::Completed>(outcome))
        << ::testing::PrintToString(bytes) << " vector " << (event ? int{event->vector} : -1);
  }
  void expect_transferred(const Bytes& bytes) {
    EXPECT_TRUE(std::holds_alternative<vmx::Transferred>(run(bytes)))
        << ::testing::PrintToString(bytes);
  }
  void expect_jumped(const Bytes& bytes) {
    EXPECT_TRUE(std::holds_alternative<Jumped>(run(bytes))) << ::testing::PrintToString(bytes);
  }
  void expect_fault(const Bytes& bytes, uint8_t vector,
                    std::optional<uint32_t> error = std::nullopt) {
    const Outcome outcome = run(bytes);
    const auto* event = std::get_if<vmx::Event>(&outcome);
    ASSERT_NE(event, nullptr) << ::testing::PrintToString(bytes);
    EXPECT_EQ(event->type, vmx::EventType::kHardwareException);
    EXPECT_EQ(int{event->vector}, int{vector}) << ::testing::PrintToString(bytes);
    EXPECT_EQ(event->error_code, error) << ::testing::PrintToString(bytes);
  }
  void expect_gp(const Bytes& bytes) { expect_fault(bytes, vmx::kGp, 0); }
  void expect_ud(const Bytes& bytes) { expect_fault(bytes, vmx::kUd); }
};

}  // namespace nestor::emu::test
