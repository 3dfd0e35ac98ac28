// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/cpuid.h"

#include <gtest/gtest.h>

#include <string>

#include "emu/devices/apic/local_apic.h"
#include "emu/time/clock.h"
#include "tests/emu/cpu/fake_core.h"
#include "vmx/capabilities.h"
#include "vmx/cpu_state.h"

namespace nestor::emu {
namespace {

constexpr CpuidState kState{0xfee00900, 1u << 18, 0, true};

// Registers by their number: EAX, EBX, ECX, EDX.
bool has(uint32_t leaf, unsigned reg, unsigned bit, const CpuidState& state = kState) {
  const CpuidRegisters r = cpuid(state, leaf, 0);
  const uint32_t values[] = {r.eax, r.ebx, r.ecx, r.edx};
  return values[reg] >> bit & 1;
}

TEST(CpuidTest, IsAnIntelProcessorWithItsName) {
  const CpuidRegisters zero = cpuid(kState, 0, 0);
  const uint32_t words[] = {zero.ebx, zero.edx, zero.ecx};
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(words), 12), "GenuineIntel");
  std::string brand;
  for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
    const CpuidRegisters part = cpuid(kState, leaf, 0);
    brand.append(reinterpret_cast<const char*>(&part), sizeof part);
  }
  EXPECT_STREQ(brand.c_str(), "Intel(R) Xeon(R) Gold 6330 CPU @ 2.00GHz");
  EXPECT_EQ(cpuid(kState, 1, 0).eax, 0x606a6u) << "06_6AH, stepping 6: Ice Lake server";
}

TEST(CpuidTest, EachModelIsARealProcessor) {
  struct Real {
    const char* name;
    uint32_t signature, highest, widths;
  };
  constexpr Real kReal[] = {
      {"Westmere", 0x206c2, 0xb, 0x3028},        {"SandyBridge", 0x206d7, 0xd, 0x302e},
      {"IvyBridge", 0x306e4, 0xd, 0x302e},       {"Haswell", 0x306f2, 0xd, 0x302e},
      {"Broadwell", 0x406f1, 0xd, 0x302e},       {"Skylake-Server", 0x50654, 0x16, 0x302e},
      {"Icelake-Server", 0x606a6, 0x16, 0x392e}, {"SapphireRapids", 0x806f8, 0x16, 0x3934},
  };
  ASSERT_EQ(std::size(kReal), vmx::kProcessorModels.size());
  for (const vmx::ProcessorModel& model : vmx::kProcessorModels) {
    CpuidState state = kState;
    state.type = vmx::processor_of(model.generation);
    const Real& real = kReal[static_cast<size_t>(model.generation)];
    EXPECT_EQ(model.name, real.name);
    EXPECT_EQ(cpuid(state, 1, 0).eax, real.signature) << real.name;
    EXPECT_EQ(cpuid(state, 0, 0).eax, real.highest) << real.name;
    EXPECT_EQ(cpuid(state, 0x80000008, 0).eax, real.widths) << real.name;
    EXPECT_EQ(cpuid(state, 0x40000000, 0), cpuid(state, real.highest, 0)) << real.name;
    EXPECT_LT(model.brand.size(), 48u);
    for (const vmx::FeatureInfo& flag : vmx::kFeatures) {
      if (flag.shows != vmx::FeatureShows::kAlways || flag.leaf > real.highest) continue;
      const CpuidRegisters r = cpuid(state, flag.leaf, flag.subleaf());
      const uint32_t values[] = {r.eax, r.ebx, r.ecx, r.edx};
      EXPECT_EQ((values[static_cast<size_t>(flag.reg)] >> flag.bit & 1) != 0,
                state.type.has(flag.feature))
          << real.name << " leaf " << std::hex << flag.leaf << " bit " << int{flag.bit};
    }
  }
}

TEST(CpuidTest, AFeatureThatIsTakenAwayDoesNotShow) {
  CpuidState state = kState;
  EXPECT_TRUE(has(7, 1, 10, state));
  state.type.features.remove(vmx::Feature::kInvpcid);
  EXPECT_FALSE(has(7, 1, 10, state));
  state.type.features.remove(vmx::Feature::kXsave);
  state.osxsave = true;
  EXPECT_FALSE(has(1, 2, 26, state));
  EXPECT_FALSE(has(1, 2, 27, state));
  EXPECT_EQ(cpuid(state, 0xd, 0), CpuidRegisters{});
  EXPECT_EQ(cpuid(state, 0xd, 1), CpuidRegisters{});
}

TEST(CpuidTest, OffersX8664V2) {
  for (unsigned bit : {0u, 9u, 13u, 19u, 20u, 23u}) EXPECT_TRUE(has(1, 2, bit)) << bit;
  for (unsigned bit : {0u, 1u, 8u, 15u, 23u, 24u, 25u, 26u}) EXPECT_TRUE(has(1, 3, bit)) << bit;
  EXPECT_TRUE(has(0x80000001, 2, 0));
  EXPECT_TRUE(has(0x80000001, 3, 29));
}

TEST(CpuidTest, OffersNothingThatIsNotEmulated) {
  // AVX, F16C, MOVBE, FMA, hypervisor, SMX.
  for (unsigned bit : {28u, 29u, 22u, 12u, 31u, 6u}) {
    EXPECT_FALSE(has(1, 2, bit)) << bit;
  }
  // BMI1, HLE, AVX2, BMI2, RTM, MPX, AVX512F, ADX, SHA.
  for (unsigned bit : {3u, 4u, 5u, 8u, 11u, 14u, 16u, 19u, 29u}) {
    EXPECT_FALSE(has(7, 1, bit)) << bit;
  }
  // FDP of exceptions only, no FCS and FDS.
  EXPECT_TRUE(has(7, 1, 6));
  EXPECT_TRUE(has(7, 1, 13));
  // UMIP, PKU, LA57, RDPID; no CET and others.
  EXPECT_EQ(cpuid(kState, 7, 0).ecx, 1u << 2 | 1u << 3 | 1u << 16 | 1u << 22);
}

// "CPUID leaf 0DH": x87 and SSE, both in the legacy region, and PKRU.
TEST(CpuidTest, ExtendedState) {
  EXPECT_TRUE(has(1, 2, 26));
  EXPECT_FALSE(has(1, 2, 27));
  CpuidState enabled = kState;
  enabled.osxsave = true;
  EXPECT_TRUE(has(1, 2, 27, enabled));
  EXPECT_EQ(cpuid(kState, 0xd, 0), (CpuidRegisters{0x203, 576, 2696, 0}));
  EXPECT_EQ(cpuid(kState, 0xd, 1), (CpuidRegisters{0xf, 576, 0, 0}));
  enabled.xcr0 = 0x203;
  EXPECT_EQ(cpuid(enabled, 0xd, 0), (CpuidRegisters{0x203, 2696, 2696, 0}));
  EXPECT_EQ(cpuid(enabled, 0xd, 1), (CpuidRegisters{0xf, 584, 0, 0})) << "compacted";
  for (uint32_t component = 2; component < 64; ++component) {
    const CpuidRegisters expected =
        component == 9 ? CpuidRegisters{8, 2688, 0, 0} : CpuidRegisters{};
    EXPECT_EQ(cpuid(kState, 0xd, component), expected) << component;
  }
  CpuidState older = kState;
  older.type = vmx::processor_of(vmx::Generation::kHaswell);
  EXPECT_EQ(cpuid(older, 0xd, 0), (CpuidRegisters{3, 576, 576, 0}));
  EXPECT_EQ(cpuid(older, 0xd, 1), (CpuidRegisters{1, 0, 0, 0})) << "XSAVEOPT alone";
  EXPECT_EQ(cpuid(older, 0xd, 9), CpuidRegisters{});
}

TEST(CpuidTest, ControlBitsFollowFromFeatures) {
  struct Pair {
    uint32_t leaf;
    unsigned reg, bit;
    uint64_t cr4;
  };
  // "CR4" in the SDM: the feature flag without which each bit is reserved.
  constexpr Pair kPairs[] = {
      {1, 3, 1, vmx::cr4::kVme | vmx::cr4::kPvi},
      {1, 3, 4, vmx::cr4::kTsd},
      {1, 3, 2, vmx::cr4::kDe},
      {1, 3, 3, vmx::cr4::kPse},
      {1, 3, 6, vmx::cr4::kPae},
      {1, 3, 7, vmx::cr4::kMce},
      {1, 3, 13, vmx::cr4::kPge},
      {1, 3, 24, vmx::cr4::kOsfxsr},
      {1, 3, 25, vmx::cr4::kOsxmmexcpt},
      {7, 2, 2, vmx::cr4::kUmip},
      {7, 2, 16, vmx::cr4::kLa57},
      {1, 2, 5, vmx::cr4::kVmxe},
      {1, 2, 6, vmx::cr4::kSmxe},
      {7, 1, 0, vmx::cr4::kFsgsbase},
      {1, 2, 17, vmx::cr4::kPcide},
      {1, 2, 26, vmx::cr4::kOsxsave},
      {7, 1, 7, vmx::cr4::kSmep},
      {7, 1, 20, vmx::cr4::kSmap},
      {7, 2, 3, vmx::cr4::kPke},
      {7, 2, 7, vmx::cr4::kCet},
  };
  uint64_t expected = vmx::cr4::kPce;
  for (const Pair& pair : kPairs) {
    if (has(pair.leaf, pair.reg, pair.bit)) expected |= pair.cr4;
  }
  EXPECT_EQ(vmx::kSupportedCr4, expected);
  EXPECT_EQ(vmx::kSupportedEfer, 0xd01u);
}

TEST(CpuidTest, RegisterRulesAgree) {
  const vmx::RegisterRules rules = vmx::nestor_capabilities().registers;
  const uint32_t widths = cpuid(kState, 0x80000008, 0).eax;
  EXPECT_EQ(rules.physical_address_width, widths & 0xff);
  EXPECT_EQ(rules.linear_address_width, widths >> 8 & 0xff);
  EXPECT_EQ(widths & 0xff, 46u);
  EXPECT_EQ(rules.cr4_writable, vmx::kSupportedCr4);
  EXPECT_EQ(rules.efer_writable, vmx::kSupportedEfer);
  EXPECT_EQ(rules.debugctl_writable, 3u);
  EXPECT_EQ(rules.perf_global_ctrl_writable, 0x7'0000'000fu);
}

TEST(CpuidTest, DynamicFlagsFollowTheState) {
  CpuidState state = kState;
  EXPECT_TRUE(has(1, 3, 9, state));
  state.apic_base = 0xfee00100;
  EXPECT_FALSE(has(1, 3, 9, state));
  EXPECT_TRUE(has(1, 2, 3, state));
  state.misc_enable = 0;
  EXPECT_FALSE(has(1, 2, 3, state));
  EXPECT_TRUE(has(0x80000001, 3, 20, state));
  state.misc_enable = 1ull << 34;
  EXPECT_FALSE(has(0x80000001, 3, 20, state));
  state.misc_enable = 1u << 22;
  EXPECT_EQ(cpuid(state, 0, 0).eax, 2u);
  EXPECT_FALSE(has(7, 2, 4, state));
  state.pke = true;
  EXPECT_TRUE(has(7, 2, 4, state)) << "OSPKE";
  EXPECT_TRUE(has(0x80000001, 3, 11, state));
  state.code_64bit = false;
  EXPECT_FALSE(has(0x80000001, 3, 11, state));
}

TEST(CpuidTest, TopologyShowsTheId) {
  CpuidState state = kState;
  state.apic_id = 0x123;
  EXPECT_EQ(cpuid(state, 1, 0).ebx >> 24, 0x23u);
  EXPECT_EQ(cpuid(state, 0xb, 0), (CpuidRegisters{0, 1, 0x100, 0x123}));
  EXPECT_EQ(cpuid(state, 0xb, 1), (CpuidRegisters{0, 1, 0x201, 0x123}));
  EXPECT_EQ(cpuid(state, 0xb, 5), (CpuidRegisters{0, 0, 5, 0x123}));
}

TEST(CpuidTest, TopologyCountsTheProcessors) {
  CpuidState state = kState;
  EXPECT_EQ(cpuid(state, 1, 0).ebx >> 16 & 0xff, 0u);
  EXPECT_FALSE(has(1, 3, 28, state));
  state.processors = 6;
  state.apic_id = 5;
  EXPECT_EQ(cpuid(state, 1, 0).ebx >> 16, 0x506u);
  EXPECT_TRUE(has(1, 3, 28, state));
  EXPECT_EQ(cpuid(state, 4, 2).eax >> 26, 7u) << "IDs of cores, less 1";
  EXPECT_EQ(cpuid(state, 4, 3).eax, 0u) << "no more caches";
  EXPECT_EQ(cpuid(state, 0xb, 0), (CpuidRegisters{0, 1, 0x100, 5}));
  EXPECT_EQ(cpuid(state, 0xb, 1), (CpuidRegisters{3, 6, 0x201, 5}));
  EXPECT_EQ(cpuid(state, 0xb, 2), (CpuidRegisters{0, 0, 2, 5}));
  state.processors = 2;
  EXPECT_EQ(cpuid(state, 0xb, 1).eax, 1u);
}

TEST(CpuidTest, FrequenciesAreTheClocks) {
  const CpuidRegisters ratio = cpuid(kState, 0x15, 0);
  EXPECT_EQ(uint64_t{ratio.ecx} * ratio.ebx / ratio.eax, Clock::kFrequency);
  EXPECT_EQ(ratio.ecx, LocalApic::kTimerFrequency);
  EXPECT_EQ(uint64_t{cpuid(kState, 0x16, 0).eax} * 1'000'000, Clock::kFrequency);
  EXPECT_TRUE(has(0x80000007, 3, 8));
  EXPECT_TRUE(has(6, 0, 2));
  EXPECT_TRUE(has(1, 2, 24));
}

TEST(CpuidTest, CachesEnd) {
  uint32_t index = 0;
  while (cpuid(kState, 4, index).eax & 0x1f) ++index;
  EXPECT_EQ(index, 3u);
  const CpuidRegisters l2 = cpuid(kState, 4, 2);
  const uint32_t size = ((l2.ebx >> 22) + 1) * ((l2.ebx & 0xfff) + 1) * (l2.ecx + 1);
  EXPECT_EQ(size / 1024, cpuid(kState, 0x80000006, 0).ecx >> 16);
}

TEST(CpuidTest, LeavesBeyondTheEndAnswerAsTheLastBasicOne) {
  const CpuidRegisters last = cpuid(kState, cpuid(kState, 0, 0).eax, 0);
  EXPECT_EQ(cpuid(kState, cpuid(kState, 0, 0).eax + 1, 0), last);
  EXPECT_EQ(cpuid(kState, 0x40000000, 0), last);
  EXPECT_EQ(cpuid(kState, cpuid(kState, 0x80000000, 0).eax + 1, 0), last);
  EXPECT_EQ(cpuid(kState, 0xffffffff, 3), last);
  EXPECT_EQ(cpuid(kState, 7, 1), CpuidRegisters{});
}

// Instructions ask for one feature, software for the bit of a leaf: the answer is the same.
TEST(CpuidTest, WhatIsOfferedIsWhatItShows) {
  constexpr uint32_t CpuidRegisters::*kByNumber[] = {&CpuidRegisters::eax, &CpuidRegisters::ebx,
                                                     &CpuidRegisters::ecx, &CpuidRegisters::edx};
  for (const vmx::ProcessorModel& model : vmx::kProcessorModels) {
    test::FakeCore core;
    core.processor = vmx::processor_of(model.generation);
    for (const bool set : {false, true}) {
      core.cpu.cr4 = set ? vmx::cr4::kOsxsave | vmx::cr4::kPke : 0;
      for (const vmx::FeatureInfo& flag : vmx::kFeatures) {
        const CpuidRegisters leaf = cpuid(core, flag.leaf, flag.subleaf());
        const bool shown = leaf.*kByNumber[static_cast<size_t>(flag.reg)] >> flag.bit & 1;
        EXPECT_EQ(offers(core, flag.feature), shown)
            << model.name << ": leaf " << flag.leaf << ", bit " << unsigned{flag.bit};
      }
    }
  }
}

}  // namespace
}  // namespace nestor::emu
