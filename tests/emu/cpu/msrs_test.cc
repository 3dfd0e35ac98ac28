// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/msrs.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "emu/cpu/core.h"
#include "emu/cpu/cpuid.h"
#include "emu/cpu/msr_storage.h"
#include "emu/cpu/performance_monitor.h"
#include "emu/devices/apic/local_apic.h"
#include "emu/engine/extended_state.h"

namespace nestor::emu {
namespace {

using enum vmx::MsrStatus;

constexpr uint64_t kNotCanonical = 1ull << 56, kHighHalf = 0xff00000000000000;

// A processor without memory.
class FakeCore : public Core {
 public:
  explicit FakeCore(const vmx::ProcessorType& type = {}) : type_(type) {}
  vmx::CpuState& state() override { return state_; }
  bool read_physical(ept::PhysicalAddress, std::span<uint8_t> out) override {
    std::fill(out.begin(), out.end(), uint8_t{0xff});
    return false;
  }
  bool write_physical(ept::PhysicalAddress, std::span<const uint8_t>) override { return false; }
  std::optional<vmx::Event> read_linear(uint64_t, std::span<uint8_t>) override {
    return vmx::exception(vmx::kGp, 0);
  }
  std::optional<vmx::Event> write_linear(uint64_t, std::span<const uint8_t>) override {
    return vmx::exception(vmx::kGp, 0);
  }
  vmx::MsrStatus read_msr(uint32_t index, uint64_t& value) override {
    return emu::read_msr(*this, index, value);
  }
  vmx::MsrStatus write_msr(uint32_t index, uint64_t value) override {
    return emu::write_msr(*this, index, value);
  }
  uint64_t tsc() const override { return clock_.cycles() + tsc_offset_; }
  bool load_pdptes(uint64_t) override { return true; }
  std::optional<Fault> reload_pdptes(uint64_t) override { return std::nullopt; }
  void invalidate(const vmx::Invalidation&) override { ++invalidations; }
  void inject(const vmx::Event&) override {}
  uint8_t acknowledge_interrupt() override { return apic_.acknowledge(); }
  void end_of_interrupt() override {}
  void vmx_abort(uint32_t) override {}
  std::optional<Fault> read(uint64_t, std::span<uint8_t>, Privilege) override {
    return vmx::exception(vmx::kGp, 0);
  }
  std::optional<Fault> write(uint64_t, std::span<const uint8_t>, Privilege) override {
    return vmx::exception(vmx::kGp, 0);
  }
  std::optional<Fault> probe_write(uint64_t, uint64_t, Privilege) override {
    return vmx::exception(vmx::kGp, 0);
  }
  std::optional<Fault> fetch(uint64_t, std::span<uint8_t>, size_t& fetched) override {
    fetched = 0;
    return vmx::exception(vmx::kGp, 0);
  }
  const vmx::ProcessorType& type() const override { return type_; }
  vmx::Vmx& vmx() override { return vmx_; }
  Bus& bus() override { return bus_; }
  LocalApic& apic() override { return apic_; }
  const Clock& clock() const override { return clock_; }
  MsrStorage& msr_storage() override { return storage_; }
  PerformanceMonitor& performance_monitor() override { return performance_monitor_; }
  unsigned processors() const override { return 1; }
  void read_extended_state(ExtendedState& state) override { state = extended; }
  void write_extended_state(const ExtendedState& state) override { extended = state; }
  void watch_line(uint64_t) override {}
  bool watched_line_written() override { return false; }
  void wait_for_line(bool) override {}
  uint64_t random_number() override { return random; }
  void set_tsc(uint64_t value) override { tsc_offset_ = value - clock_.cycles(); }

  void pass(uint64_t cycles) { clock_.charge(cycles); }
  int invalidations = 0;
  ExtendedState extended;
  uint64_t random = 0;

 private:
  vmx::CpuState state_;
  Clock clock_;
  Bus bus_;
  LocalApic apic_{clock_, bus_.timers(), 0, true};
  MsrStorage storage_;
  PerformanceMonitor performance_monitor_;
  uint64_t tsc_offset_ = 0;
  vmx::EventSink sink_;
  const vmx::ProcessorType type_;
  vmx::Vmx vmx_{vmx::capabilities_of(type_), *this, sink_};
};

class MsrsTest : public testing::Test {
 protected:
  MsrsTest() { reset_msrs(core); }
  uint64_t read(uint32_t index) {
    uint64_t value = 0;
    EXPECT_EQ(read_msr(core, index, value), kOk) << std::hex << index;
    return value;
  }
  bool reads(uint32_t index) {
    uint64_t value = 0;
    return read_msr(core, index, value) == kOk;
  }
  bool writes(uint32_t index, uint64_t value) { return write_msr(core, index, value) == kOk; }
  // A write that faults must not change the MSR.
  void expect_refused(uint32_t index, uint64_t value) {
    const uint64_t before = read(index);
    EXPECT_FALSE(writes(index, value)) << std::hex << index << " took " << value;
    EXPECT_EQ(read(index), before) << std::hex << index;
  }
  void expect_stored(uint32_t index, uint64_t value) {
    EXPECT_TRUE(writes(index, value)) << std::hex << index << " refused " << value;
    EXPECT_EQ(read(index), value) << std::hex << index;
  }
  FakeCore core;
};

TEST_F(MsrsTest, UnknownMsrsFault) {
  for (uint32_t index : {2u, 0x11u, 0x391u, 0x47fu, 0x494u, 0x7ffu, 0x900u, 0x40000000u,
                         0xc0000085u, 0xc0000104u, 0xc0010015u, 0xffffffffu}) {
    EXPECT_FALSE(reads(index)) << std::hex << index;
    EXPECT_FALSE(writes(index, 0)) << std::hex << index;
    EXPECT_TRUE(msr_name(index).empty()) << std::hex << index;
  }
  EXPECT_EQ(msr_name(0xc0000080), "IA32_EFER");
}

TEST_F(MsrsTest, ReadOnlyMsrsRefuseWrites) {
  for (uint32_t index : {0x17u, 0x34u, 0x35u, 0x9bu, 0xceu, 0xfeu, 0x10au, 0x179u, 0x198u, 0x1adu,
                         0x480u, 0x48au, 0x48cu}) {
    expect_refused(index, 0);
    expect_refused(index, 1);
  }
}

TEST_F(MsrsTest, AddressesMustBeCanonical) {
  for (uint32_t index :
       {0x175u, 0x176u, 0xc0000082u, 0xc0000083u, 0xc0000100u, 0xc0000101u, 0xc0000102u}) {
    expect_stored(index, kNotCanonical - 1);
    expect_stored(index, kHighHalf);
    expect_refused(index, kNotCanonical);
    expect_refused(index, kHighHalf - 1);
  }
  EXPECT_EQ(core.state().segment[vmx::kFs].base, kHighHalf);
  EXPECT_EQ(core.state().segment[vmx::kGs].base, kHighHalf);
}

TEST_F(MsrsTest, NarrowRegisters) {
  expect_stored(0xc0000084, 0xffffffff);
  expect_refused(0xc0000084, 1ull << 32);
  expect_stored(0xc0000103, 0xffffffff);
  expect_refused(0xc0000103, 1ull << 32);
  EXPECT_TRUE(writes(0x174, 0x12345678000010));
  EXPECT_EQ(read(0x174), 0x78000010u);
  expect_stored(0xc0000081, ~0ull);
}

TEST_F(MsrsTest, TscAndItsAdjustmentFollowEachOther) {
  core.pass(1000);
  EXPECT_EQ(read(0x10), 1000u);
  EXPECT_TRUE(writes(0x10, 5000));
  EXPECT_EQ(read(0x10), 5000u);
  EXPECT_EQ(read(0x3b), 4000u);
  EXPECT_TRUE(writes(0x3b, 0));
  EXPECT_EQ(read(0x10), 1000u);
  core.pass(1);
  EXPECT_EQ(read(0x10), 1001u);
  EXPECT_TRUE(writes(0x3b, ~0ull));
  EXPECT_EQ(read(0x10), 1000u);
}

TEST_F(MsrsTest, EferChecks) {
  expect_stored(0xc0000080, 0xd01 & ~0x400);
  expect_refused(0xc0000080, 0x1000);
  expect_refused(0xc0000080, 1ull << 63);
  EXPECT_TRUE(writes(0xc0000080, 0x500));  // LMA is read-only
  EXPECT_EQ(read(0xc0000080), 0x100u);
  core.state().cr0 |= vmx::cr0::kPg | vmx::cr0::kPe;
  core.state().efer |= vmx::efer::kLma;
  EXPECT_TRUE(writes(0xc0000080, 0x101));
  EXPECT_EQ(read(0xc0000080), 0x501u);
  expect_refused(0xc0000080, 0x001);  // LME with paging
}

TEST_F(MsrsTest, ExecuteDisableChangesTranslation) {
  EXPECT_TRUE(writes(0xc0000080, 0x1));
  EXPECT_EQ(core.invalidations, 0);
  EXPECT_TRUE(writes(0xc0000080, 0x801));
  EXPECT_EQ(core.invalidations, 1);
  EXPECT_TRUE(writes(0xc0000080, 0x801));
  EXPECT_EQ(core.invalidations, 1);
}

TEST_F(MsrsTest, PatHoldsMemoryTypes) {
  EXPECT_EQ(read(0x277), 0x0007040600070406u);
  for (uint64_t type = 0; type < 16; ++type) {
    const uint64_t value = 0x0007040600070406 | type << 56;
    if (type == 2 || type == 3 || type > 7) {
      expect_refused(0x277, value);
    } else {
      expect_stored(0x277, value);
    }
  }
}

TEST_F(MsrsTest, MtrrsAreStoredAndChecked) {
  EXPECT_EQ(read(0xfe), 0x500u | kVariableMtrrs);
  for (uint32_t pair = 0; pair < kVariableMtrrs; ++pair) {
    const uint32_t base = 0x200 + 2 * pair;
    expect_stored(base, 0x80000006 + pair * 0x1000000ull);
    expect_stored(base + 1, (1ull << 46) - 0x1000000 + 0x800);
    expect_refused(base, 0x80000002);
    expect_refused(base, 0x80000100);
    expect_refused(base, 1ull << 46);
    expect_refused(base + 1, 0x400);
    expect_refused(base + 1, 1ull << 46);
  }
  EXPECT_FALSE(reads(0x200 + 2 * kVariableMtrrs));
  for (uint32_t index : {0x250u, 0x258u, 0x259u, 0x268u, 0x26bu, 0x26fu}) {
    expect_stored(index, 0x0606050401000606);
    expect_refused(index, 0x0606060206060606);
    expect_refused(index, 0x0706060606060606);
  }
  EXPECT_FALSE(reads(0x251));
  EXPECT_FALSE(reads(0x270));
  expect_stored(0x2ff, 0xc06);
  expect_refused(0x2ff, 0xc02);
  expect_refused(0x2ff, 0x1006);
}

TEST_F(MsrsTest, FixedMtrrsAreSeparate) {
  uint64_t next = 0;
  const uint32_t indices[] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                              0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
  constexpr uint64_t kTypes[] = {0x00, 0x01, 0x04, 0x05, 0x06};
  for (uint32_t index : indices) {
    EXPECT_TRUE(writes(index, kTypes[next % 5] << 8 | kTypes[next / 5]));
    ++next;
  }
  next = 0;
  for (uint32_t index : indices) {
    EXPECT_EQ(read(index), kTypes[next % 5] << 8 | kTypes[next / 5]);
    ++next;
  }
}

TEST_F(MsrsTest, DebugctlTakesLbrAndBtf) {
  expect_stored(0x1d9, 3);
  expect_refused(0x1d9, 4);
  expect_refused(0x1d9, 1ull << 40);
}

TEST_F(MsrsTest, MiscEnable) {
  EXPECT_EQ(read(0x1a0), 0x41881u);
  EXPECT_TRUE(cpuid(core, 1, 0).ecx & 8);
  EXPECT_TRUE(writes(0x1a0, 1));
  EXPECT_EQ(read(0x1a0), 0x1881u);
  EXPECT_FALSE(cpuid(core, 1, 0).ecx & 8);  // MONITOR
  expect_refused(0x1a0, 2);
}

TEST_F(MsrsTest, PerformanceCounters) {
  EXPECT_EQ(read(0x38f), 0xfu) << "the general counters are enabled after power-up";
  expect_stored(0x38f, 0x7'0000'000f);
  expect_refused(0x38f, 0x10);
  expect_refused(0x38f, 1ull << 35);
  for (uint32_t i = 0; i < 4; ++i) {
    expect_stored(0xc1 + i, 0x7fffffff);
    EXPECT_TRUE(writes(0xc1 + i, 0x1'8000'0000));
    EXPECT_EQ(read(0xc1 + i), 0xffff'8000'0000u) << "bits 31:0, sign-extended";
    expect_stored(0x186 + i, 0x300c0);
    expect_refused(0x186 + i, 1u << 21);
  }
  for (uint32_t i = 0; i < 3; ++i) expect_stored(0x309 + i, 0xffff'ffff'ffff);
  expect_stored(0x38d, 0xbbb);
  expect_refused(0x38d, 4);
  expect_refused(0x38e, 0);
  EXPECT_TRUE(writes(0x390, 0x7'0000'000f));
  EXPECT_EQ(read(0x390), 0u);
  for (uint32_t index : {0xc5u, 0x18au, 0x30cu, 0x345u, 0x391u}) EXPECT_FALSE(reads(index));
}

TEST_F(MsrsTest, FeatureControlLocks) {
  EXPECT_EQ(read(0x3a), 0u);
  expect_refused(0x3a, 0x8);
  expect_stored(0x3a, 4);
  expect_stored(0x3a, 5);
  expect_refused(0x3a, 4);
  expect_refused(0x3a, 5);
}

TEST_F(MsrsTest, VmxCapabilitiesAreThoseOfTheProcessor) {
  int present = 0;
  for (uint32_t index = 0x480; index < 0x494; ++index) {
    const std::optional<uint64_t> expected = core.vmx().capabilities().msr(index);
    EXPECT_EQ(reads(index), expected.has_value()) << std::hex << index;
    if (!expected) continue;
    ++present;
    EXPECT_EQ(read(index), *expected);
  }
  EXPECT_GE(present, 0x11);
}

TEST_F(MsrsTest, LocalApicIsReached) {
  EXPECT_EQ(read(0x1b), 0xfee00900u);
  EXPECT_FALSE(reads(0x802));
  expect_refused(0x1b, 0xfee00901);
  expect_stored(0x1b, 0xfee00d00);
  EXPECT_EQ(read(0x803), 0x50014u);
  EXPECT_TRUE(writes(0x808, 0x20));
  EXPECT_EQ(core.apic().tpr(), 0x20);
  EXPECT_FALSE(writes(0x808, 0x100));
  EXPECT_TRUE(writes(0x6e0, 5));
  EXPECT_EQ(read(0x6e0), 0u);
  EXPECT_TRUE(writes(0x1b, 0xfee00100));
  EXPECT_FALSE(cpuid(core, 1, 0).edx & 1u << 9);
}

TEST_F(MsrsTest, MachineCheckAndMicrocode) {
  EXPECT_EQ(read(0x179) & 0xff, 0u);
  expect_stored(0x17a, 7);
  expect_refused(0x17a, 8);
  const uint64_t revision = read(0x8b);
  EXPECT_TRUE(writes(0x8b, 0));
  EXPECT_EQ(read(0x8b), revision);
  // IA32_BIOS_UPDT_TRIG is write-only, and no update is ever loaded, wherever it should be.
  EXPECT_FALSE(reads(0x79));
  for (const uint64_t update : {uint64_t{0}, uint64_t{0x10'0030}, kNotCanonical})
    EXPECT_TRUE(writes(0x79, update));
  EXPECT_EQ(read(0x8b), revision);
}

// What kernels and hypervisors read without asking, or because of the model alone.
TEST(MsrsOfModels, WhatSoftwareReadsWithoutAskingExists) {
  constexpr uint32_t kAlways[] = {
      0x0,   0x1,   0x6,   0x10,  0x17,  0x1b,       0x34,       0x35,       0x3a,
      0x8b,  0x9b,  0xce,  0xe2,  0xfe,  0x13c,      0x174,      0x175,      0x176,
      0x179, 0x17a, 0x198, 0x199, 0x1a0, 0x1a2,      0x1a4,      0x1aa,      0x1ad,
      0x1d9, 0x1fc, 0x277, 0x2ff, 0x38f, 0x3f8,      0x3f9,      0x3fa,      0x3fc,
      0x3fd, 0x3fe, 0x480, 0x485, 0x48c, 0xc0000080, 0xc0000081, 0xc0000102, 0xc0000103};
  constexpr uint32_t kFromSandyBridge[] = {0x606, 0x60d, 0x611, 0x619, 0x6e0};
  for (const vmx::ProcessorModel& model : vmx::kProcessorModels) {
    FakeCore core(vmx::processor_of(model.generation));
    uint64_t value = 0;
    for (const uint32_t index : kAlways)
      EXPECT_EQ(read_msr(core, index, value), kOk) << model.name << std::hex << " " << index;
    for (const uint32_t index : kFromSandyBridge) {
      EXPECT_EQ(read_msr(core, index, value) == kOk,
                model.generation >= vmx::Generation::kSandyBridge)
          << model.name << std::hex << " " << index;
    }
  }
}

// Revisions up to which software distrusts a processor: kernels' lists of broken updates against
// Spectre and of TSC-deadline errata.
TEST(MsrsOfModels, NoListRejectsTheMicrocode) {
  struct Rejected {
    uint32_t signature, revision;
  };
  constexpr Rejected kRejected[] = {
      {0x206d7, 0x712},      {0x306e4, 0x42a},      {0x306f2, 0x3b},       {0x306f2, 0x3a},
      {0x406f1, 0x0b000025}, {0x406f1, 0x0b000020}, {0x50654, 0x0200003c}, {0x50654, 0x02000014},
  };
  for (const vmx::ProcessorModel& model : vmx::kProcessorModels) {
    FakeCore core(vmx::processor_of(model.generation));
    uint64_t value = 0;
    ASSERT_EQ(read_msr(core, 0x8b, value), kOk);
    EXPECT_EQ(value, uint64_t{model.microcode} << 32);
    for (const Rejected& rejected : kRejected) {
      if (rejected.signature == model.signature) {
        EXPECT_GT(value >> 32, rejected.revision) << model.name;
      }
    }
  }
}

TEST(MsrsOfModels, GoWithTheirFeature) {
  struct Pair {
    uint32_t index;
    vmx::Feature feature;
  };
  using enum vmx::Feature;
  constexpr Pair kPairs[] = {{0x6, kMonitor},
                             {0x3a, kVmx},
                             {0x3b, kTscAdjust},
                             {0x9b, kVmx},
                             {0x10a, kArchCapabilities},
                             {0x480, kVmx},
                             {0x6e0, kTscDeadline},
                             {0x6e1, kPks},
                             {0xda0, kXsaves},
                             {0xc0000103, kRdtscp}};
  for (const Pair& pair : kPairs) {
    vmx::ProcessorType type = vmx::processor_of(vmx::Generation::kSapphireRapids);
    FakeCore with(type);
    uint64_t value = 0;
    EXPECT_EQ(read_msr(with, pair.index, value), kOk) << std::hex << pair.index;
    type.features.remove(pair.feature);
    FakeCore without(type);
    EXPECT_EQ(read_msr(without, pair.index, value), kGeneralProtection) << std::hex << pair.index;
    EXPECT_EQ(write_msr(without, pair.index, 0), kGeneralProtection) << std::hex << pair.index;
  }
}

TEST_F(MsrsTest, PlatformMsrs) {
  EXPECT_EQ(read(0xce), 20ull << 8 | 20ull << 40 | 1u << 31) << "2.0 GHz; CPUID faulting";
  EXPECT_EQ(read(0x198), 20u << 8);
  EXPECT_EQ(read(0x1ad), 0x1414141414141414u);
  EXPECT_EQ(read(0x35), 0x10001u);
  expect_stored(0x1fc, 0x2);
  expect_refused(0x1fc, 1ull << 32);
  expect_stored(0xe2, 0x8007);
  expect_refused(0xe2, 1ull << 40);
  expect_stored(0x1a4, 0xf);
  expect_refused(0x1a4, 0x10);
  expect_stored(0x140, 1);
  expect_refused(0x140, 2);
}

TEST(MsrsOfModels, AddressesAreAsWideAsTheModels) {
  FakeCore core(vmx::processor_of(vmx::Generation::kWestmere));
  EXPECT_EQ(write_msr(core, 0x200, (1ull << 40) - 0x1000 + 6), kOk);
  EXPECT_EQ(write_msr(core, 0x200, (1ull << 40) + 6), kGeneralProtection);
  EXPECT_EQ(write_msr(core, 0xc0000102, (1ull << 47) - 1), kOk);
  EXPECT_EQ(write_msr(core, 0xc0000102, 1ull << 47), kGeneralProtection) << "no LA57";
  EXPECT_EQ(write_msr(core, 0x1b, 1ull << 40 | 0x900), kGeneralProtection);
}

TEST_F(MsrsTest, ResetRestoresPowerUpValues) {
  EXPECT_TRUE(writes(0x277, 0));
  EXPECT_TRUE(writes(0x2ff, 0x800));
  EXPECT_TRUE(writes(0x3a, 5));
  EXPECT_TRUE(writes(0xc0000082, 0x1000));
  reset_msrs(core);
  EXPECT_EQ(read(0x277), 0x0007040600070406u);
  EXPECT_EQ(read(0x2ff), 0u);
  EXPECT_EQ(read(0x3a), 0u);
  EXPECT_EQ(read(0xc0000082), 0u);
}

}  // namespace
}  // namespace nestor::emu
