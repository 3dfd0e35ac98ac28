// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/start_up.h"

#include <gtest/gtest.h>

#include <array>

#include "emu/memory/archive.h"

namespace nestor::emu {
namespace {

using vmx::ActivityState;
using vmx::CpuState;

// Gives each field that it visits a value of its own.
class Filling final : public Archive {
 public:
  bool loads() const override { return true; }
  void bytes(std::span<uint8_t>) override {}

 private:
  void integer(uint64_t& value, unsigned size) override {
    next_ = next_ * 0x5851f42d4c957f2d + 0x14057b7ef767814f;
    value = size == 1 ? 1 : next_ >> 8 >> (64 - 8 * size);
  }
  uint64_t next_ = 1;
};

CpuState busy_state() {
  CpuState state;
  Filling filling;
  filling(state);
  state.activity = ActivityState::kHlt;
  return state;
}

void expect_same(CpuState actual, CpuState expected) {
  EXPECT_EQ(saved_bytes([&](Archive& archive) { archive(actual); }),
            saved_bytes([&](Archive& archive) { archive(expected); }));
}

// "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT".
TEST(StartUp, StateAfterInit) {
  for (const uint64_t caching :
       {uint64_t{0}, vmx::cr0::kCd, vmx::cr0::kNw, vmx::cr0::kCd | vmx::cr0::kNw}) {
    CpuState before = busy_state();
    before.cr0 = (0xffffffff & ~(vmx::cr0::kCd | vmx::cr0::kNw)) | caching;
    CpuState expected = before;
    expected.gpr = {};
    expected.gpr[vmx::kRdx] = 0x606a6;
    expected.rip = 0xfff0;
    expected.rflags = 2;
    for (unsigned i = vmx::kEs; i <= vmx::kGs; ++i) expected.segment[i] = {0, {0x93}, 0xffff, 0};
    expected.segment[vmx::kCs] = {0xf000, {0x9b}, 0xffff, 0xffff0000};
    expected.segment[vmx::kLdtr] = {0, {0x82}, 0xffff, 0};
    expected.segment[vmx::kTr] = {0, {0x8b}, 0xffff, 0};
    expected.gdtr = expected.idtr = {0, 0xffff};
    expected.cr0 = 0x10 | caching;
    expected.cr2 = expected.cr3 = expected.cr4 = 0;
    expected.pdptes = {};
    expected.dr = {};
    expected.dr6 = 0xffff0ff0;
    expected.dr7 = 0x400;
    expected.efer = expected.debugctl = 0;
    expected.activity = ActivityState::kWaitForSipi;
    expected.blocking_by_sti = expected.blocking_by_mov_ss = expected.blocking_by_nmi = false;
    expected.monitor_armed = false;
    expected.pending_debug_exceptions = 0;
    expect_same(state_after_init(before, 0x606a6), expected);
  }
}

// "Typical AP Initialization Sequence": a start-up IPI with vector VV starts at 000VV000H.
TEST(StartUp, AtAVector) {
  for (const uint8_t vector : std::to_array<uint8_t>({0, 1, 0x9a, 0xff})) {
    CpuState state = busy_state();
    CpuState expected = state;
    expected.segment[vmx::kCs].selector = static_cast<uint16_t>(vector * 0x100);
    expected.segment[vmx::kCs].base = vector * 0x1000u;
    expected.rip = 0;
    expected.activity = ActivityState::kActive;
    start_at(state, vector);
    expect_same(state, expected);
  }
}

}  // namespace
}  // namespace nestor::emu
