// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every MSR of the default model, by index: what it holds after power-up, and what becomes of a
// write that changes one bit of that.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>

#include "emu/cpu/msrs.h"
#include "tests/emu/cpu/fake_core.h"

namespace nestor::emu {
namespace {

using enum vmx::MsrStatus;

constexpr uint64_t kAll = ~0ull, kLow32 = 0xffffffff, kLow48 = 0xffff'ffff'ffff;
constexpr uint64_t kCanonical = (1ull << 56) - 1;  // with LA57: one bit alone
constexpr uint64_t kPhysical = 0x3fff'ffff'f000;   // 46 bits
constexpr uint64_t kEnables = 0x7'0000'000f;       // of 4 general and 3 fixed counters

// A write that changes a bit of neither set faults.
struct Expected {
  uint32_t first, last;
  uint64_t value;
  uint64_t writable = 0;  // bits that change
  uint64_t ignored = 0;   // bits that keep their value
};

// "Model-Specific Registers", volume 4. Without read-only capabilities of VMX and the local APIC's.
constexpr Expected kRegisters[] = {
    {0x000, 0x001, 0},                                 // IA32_P5_MC_ADDR, IA32_P5_MC_TYPE
    {0x006, 0x006, 64},                                // IA32_MONITOR_FILTER_SIZE
    {0x010, 0x010, 0x1'0000'1000, kAll},               // IA32_TIME_STAMP_COUNTER
    {0x017, 0x017, 0},                                 // IA32_PLATFORM_ID
    {0x034, 0x034, 0},                                 // MSR_SMI_COUNT
    {0x035, 0x035, 1 << 16 | 1},                       // MSR_CORE_THREAD_COUNT
    {0x03a, 0x03a, 0, 5},                              // IA32_FEATURE_CONTROL: lock, outside SMX
    {0x03b, 0x03b, 0, kAll},                           // IA32_TSC_ADJUST
    {0x08b, 0x08b, 0xd000410ull << 32, 0, kAll},       // IA32_BIOS_SIGN_ID
    {0x09b, 0x09b, 0},                                 // IA32_SMM_MONITOR_CTL
    {0x0c1, 0x0c4, 0, 0x7fffffff, ~0x7fffffffull},     // IA32_PMCx: 31:0, sign-extended
    {0x0ce, 0x0ce, 20ull << 40 | 1u << 31 | 20 << 8},  // MSR_PLATFORM_INFO
    {0x0e2, 0x0e2, 0, 0x1e008407},                     // MSR_PKG_CST_CONFIG_CONTROL
    {0x0fe, 0x0fe, 0x508},                             // IA32_MTRRCAP
    {0x10a, 0x10a, 0xe179},                            // IA32_ARCH_CAPABILITIES
    {0x13c, 0x13c, 0},                                 // MSR_FEATURE_CONFIG
    {0x140, 0x140, 0, 1},                              // MSR_MISC_FEATURE_ENABLES
    {0x174, 0x174, 0, kLow32, ~kLow32},                // IA32_SYSENTER_CS
    {0x175, 0x176, 0, kCanonical},                     // IA32_SYSENTER_ESP and EIP
    {0x179, 0x179, 0},                                 // IA32_MCG_CAP
    {0x17a, 0x17a, 0, 7},                              // IA32_MCG_STATUS
    {0x186, 0x189, 0, 0xffdfffff},                     // IA32_PERFEVTSELx, no "any thread"
    {0x198, 0x198, 20 << 8},                           // IA32_PERF_STATUS
    {0x199, 0x199, 0, 1ull << 32 | 0xffff},            // IA32_PERF_CTL
    {0x1a0, 0x1a0, 0x41881, 1ull << 34 | 0xc50009, 0x1880},  // IA32_MISC_ENABLE
    {0x1a2, 0x1a2, 100 << 16},                               // MSR_TEMPERATURE_TARGET
    {0x1a4, 0x1a4, 0, 0xf},                                  // MSR_MISC_FEATURE_CONTROL
    {0x1aa, 0x1aa, 0, 0x401b41},                             // MSR_MISC_PWR_MGMT
    {0x1ad, 0x1ad, 0x1414141414141414},                      // MSR_TURBO_RATIO_LIMIT
    {0x1c8, 0x1c8, 0, 0x1ff},                                // MSR_LBR_SELECT
    {0x1c9, 0x1c9, 0, 0x1f},                                 // MSR_LASTBRANCH_TOS
    {0x1d9, 0x1d9, 0, 3},                                    // IA32_DEBUGCTL: LBR, BTF
    {0x1dd, 0x1de, 0},                                       // MSR_LER_FROM_LIP and TO_LIP
    {0x1fc, 0x1fc, 0, kLow32},                               // MSR_POWER_CTL
    {0x250, 0x250, 0, 0x0505050505050505},                   // IA32_MTRR_FIX64K_00000
    {0x258, 0x259, 0, 0x0505050505050505},                   // IA32_MTRR_FIX16K_x
    {0x268, 0x26f, 0, 0x0505050505050505},                   // IA32_MTRR_FIX4K_x
    {0x277, 0x277, 0x0007040600070406, 0x0503070305030703},  // IA32_PAT: no type 2 or 3
    {0x2ff, 0x2ff, 0, 0xc05},                                // IA32_MTRR_DEF_TYPE
    {0x309, 0x30b, 0, kLow48, ~kLow48},                      // IA32_FIXED_CTRx
    {0x38d, 0x38d, 0, 0xbbb},                                // IA32_FIXED_CTR_CTRL
    {0x38e, 0x38e, 0},                                       // IA32_PERF_GLOBAL_STATUS
    {0x38f, 0x38f, 0xf, kEnables},                           // IA32_PERF_GLOBAL_CTRL
    {0x390, 0x390, 0, 0, kEnables | 3ull << 62},             // IA32_PERF_GLOBAL_OVF_CTRL
    {0x3f8, 0x3fa, 0, 0, kAll},                              // MSR_PKG_Cx_RESIDENCY
    {0x3fc, 0x3fe, 0, 0, kAll},                              // MSR_CORE_Cx_RESIDENCY
    {0x606, 0x606, 0xa0e03},                                 // MSR_RAPL_POWER_UNIT
    {0x60d, 0x60d, 0, 0, kAll},                              // MSR_PKG_C2_RESIDENCY
    {0x611, 0x611, 0},                                       // MSR_PKG_ENERGY_STATUS
    {0x619, 0x619, 0},                                       // MSR_DRAM_ENERGY_STATUS
    {0x680, 0x69f, 0, kCanonical},                           // MSR_LASTBRANCH_n_FROM_IP
    {0x6c0, 0x6df, 0, kCanonical},                           // MSR_LASTBRANCH_n_TO_IP
    {0x6e0, 0x6e0, 0, 0, kAll},                              // IA32_TSC_DEADLINE, not armed
    {0xda0, 0xda0, 0},                                       // IA32_XSS
    {0xdc0, 0xddf, 0, kAll},                                 // MSR_LBR_INFO_n
    {0xc0000080, 0xc0000080, 0, 0x901, 0x400},               // IA32_EFER; LMA is read-only
    {0xc0000081, 0xc0000081, 0, kAll},                       // IA32_STAR
    {0xc0000082, 0xc0000083, 0, kCanonical},                 // IA32_LSTAR and CSTAR
    {0xc0000084, 0xc0000084, 0, kLow32},                     // IA32_FMASK
    {0xc0000100, 0xc0000102, 0, kCanonical},                 // IA32_FS_BASE, GS, KERNEL_GS
    {0xc0000103, 0xc0000103, 0, kLow32},                     // IA32_TSC_AUX
};

struct Found {
  bool readable;
  uint64_t value;
};
Found read(Core& core, uint32_t index) {
  uint64_t value = 0;
  const bool readable = read_msr(core, index, value) == kOk;
  return {readable, value};
}

// The bits that change alone, and those that can be written and keep their value.
std::pair<uint64_t, uint64_t> written_bits(uint32_t index, uint64_t value) {
  std::pair<uint64_t, uint64_t> bits;
  for (uint64_t bit = 1; bit != 0; bit <<= 1) {
    test::FakeCore core;
    reset_msrs(core);
    if (write_msr(core, index, value ^ bit) != kOk) continue;
    (read(core, index).value == (value ^ bit) ? bits.first : bits.second) |= bit;
  }
  return bits;
}

TEST(MsrTable, EachBitOfEachRegister) {
  for (const Expected& expected : kRegisters) {
    for (uint32_t index = expected.first; index <= expected.last; ++index) {
      SCOPED_TRACE(std::to_string(index) + " " + std::string(msr_name(index)));
      test::FakeCore core;
      reset_msrs(core);
      const Found found = read(core, index);
      EXPECT_TRUE(found.readable);
      EXPECT_EQ(found.value, expected.value);
      EXPECT_EQ(written_bits(index, found.value), std::pair(expected.writable, expected.ignored));
    }
  }
  for (uint32_t index = 0x200; index < 0x210; index += 2) {
    EXPECT_EQ(written_bits(index, 0), std::pair(kPhysical | 5, uint64_t{0})) << index;
    EXPECT_EQ(written_bits(index + 1, 0), std::pair(kPhysical | 0x800, uint64_t{0})) << index;
  }
}

// Of all indices that VMX's bitmaps know, and around them.
TEST(MsrTable, NoOtherRegisterExists) {
  constexpr std::pair<uint32_t, uint32_t> kOthers[] = {
      {0x01b, 0x01b},  // IA32_APIC_BASE
      {0x200, 0x20f},  // IA32_MTRR_PHYSBASEn and PHYSMASKn
      {0x480, 0x491},  // IA32_VMX_x
  };
  constexpr uint32_t kUpdateTrigger = 0x079;  // IA32_BIOS_UPDT_TRIG, write-only
  test::FakeCore core;
  reset_msrs(core);
  for (uint32_t i = 0; i < 0x6000; ++i) {
    const uint32_t index = (i < 0x3000 ? 0u : 0xc0000000u - 0x3000) + i;
    const auto in = [&](uint32_t first, uint32_t last) { return first <= index && index <= last; };
    const bool exists =
        std::ranges::any_of(kRegisters,
                            [&](const Expected& row) { return in(row.first, row.last); }) ||
        std::ranges::any_of(kOthers, [&](const auto& row) { return in(row.first, row.second); });
    EXPECT_EQ(read(core, index).readable, exists) << std::hex << index;
    if (exists) continue;
    EXPECT_EQ(write_msr(core, index, 0) == kOk, index == kUpdateTrigger) << std::hex << index;
  }
}

TEST(MsrTable, NewerModelsHaveMore) {
  using enum vmx::Generation;
  constexpr std::pair<uint32_t, vmx::Generation> kSince[] = {
      {0x140, kIvyBridge},   {0x606, kSandyBridge}, {0x60d, kSandyBridge},
      {0x611, kSandyBridge}, {0x619, kSandyBridge}, {0xdc0, kSkylake}};
  for (const vmx::ProcessorModel& model : vmx::kProcessorModels) {
    test::FakeCore core;
    core.processor = vmx::processor_of(model.generation);
    for (const auto& [index, since] : kSince) {
      EXPECT_EQ(read(core, index).readable, model.generation >= since)
          << model.name << " " << index;
    }
  }
}

}  // namespace
}  // namespace nestor::emu
