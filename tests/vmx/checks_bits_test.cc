// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fields of which each bit is toggled in turn: a VM entry accepts exactly the bits that it must.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/vmx/checks_machine.h"

namespace nestor::vmx {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using F = Field;
using M = Machine;

constexpr uint64_t bits(unsigned high, unsigned low) {
  return (~uint64_t{0} >> (63 - high + low)) << low;
}
constexpr uint64_t bit(unsigned number) { return uint64_t{1} << number; }

struct Sweep {
  Field field;
  uint64_t base;  // a value that passes
  uint64_t free;  // the bits that may be toggled
  void (*prepare)(Machine&) = nullptr;
};

constexpr unsigned kWidth = 40;  // of physical addresses
constexpr uint64_t kPage = bits(kWidth - 1, 12), kMsrs = bits(kWidth - 1, 4);

template <auto... kControls>
void with(Machine& m) {
  m.on(kControls...);
}
void with_tpr_shadow(M& m) {
  m.enable_tpr_shadow();
  m.memory.write<uint8_t>(0x6080, 0xf0);
}
void with_virtual_interrupts(M& m) { m.enable_virtual_interrupts(); }
void with_posted_interrupts(M& m) { m.enable_posted_interrupts(); }
void with_ipi_virtualization(M& m) {
  m.enable_tpr_shadow();
  m.on(TertiaryProcBased::kIpiVirtualization);
}
void with_error_code(M& m) { m.inject(0xb0d); }
void with_ldtr(M& m) { m.use_ldtr(); }
void with_hlat(M& m) {
  m.enable_ept();
  m.on(TertiaryProcBased::kEnableHlat);
}
void host_32bit(M& m) { m.make_host_32bit(); }
void interruptible(M& m) { m.set_bits(F::kGuestRflags, rflags::kIf); }
template <Field kCount>
void with_one_msr(M& m) {
  m.set(kCount, 1);
}
void guest_cs_16bit(M& m) { m.set(F::kGuestCsAccessRights, 0x809b); }
void pae_with_ept(M& m) {
  m.make_guest_32bit();
  m.enable_ept();
}

constexpr uint64_t kDataFree = bits(3, 1) | bits(6, 5) | bits(14, 12) | bit(16);
constexpr uint64_t kRflagsFree = bits(21, 0) & ~(bit(1) | bit(3) | bit(5) | bit(15) | bit(17));

const Sweep kSweeps[] = {
    {F::kIoBitmapA, 0, kPage, with<PrimaryProcBased::kUseIoBitmaps>},
    {F::kIoBitmapB, 0, kPage, with<PrimaryProcBased::kUseIoBitmaps>},
    {F::kMsrBitmaps, 0, kPage, with<PrimaryProcBased::kUseMsrBitmaps>},
    {F::kVirtualApicAddress, 0x6000, kPage, with_virtual_interrupts},
    {F::kApicAccessAddress, 0, kPage, with<SecondaryProcBased::kVirtualizeApicAccesses>},
    {F::kTprThreshold, 0, bits(3, 0), with_tpr_shadow},
    {F::kTprThreshold, 0, bits(31, 0), with_virtual_interrupts},
    {F::kPostedInterruptNotificationVector, 0, bits(7, 0), with_posted_interrupts},
    {F::kPostedInterruptDescriptorAddress, 0, bits(kWidth - 1, 6), with_posted_interrupts},
    {F::kPidPointerTableAddress, 0, bits(kWidth - 1, 3), with_ipi_virtualization},
    {F::kVmreadBitmap, 0, kPage, with<SecondaryProcBased::kVmcsShadowing>},
    {F::kVmwriteBitmap, 0, kPage, with<SecondaryProcBased::kVmcsShadowing>},
    {F::kHlatPointer, 0, kPage | bits(4, 3), with_hlat},
    {F::kVmExitMsrStoreAddress, 0, kMsrs, with_one_msr<F::kVmExitMsrStoreCount>},
    {F::kVmExitMsrLoadAddress, 0, kMsrs, with_one_msr<F::kVmExitMsrLoadCount>},
    {F::kVmEntryMsrLoadAddress, 0, kMsrs, with_one_msr<F::kVmEntryMsrLoadCount>},
    {F::kVmExitMsrStoreAddress, 0, bits(63, 0)},
    {F::kVmEntryInterruptionInformation, 0x306, bits(31, 0)},
    {F::kVmEntryInterruptionInformation, 0x80000306, bits(2, 0) | bit(4) | bit(31)},
    {F::kVmEntryExceptionErrorCode, 0, bits(15, 0), with_error_code},
    {F::kVmEntryExceptionErrorCode, 0, bits(31, 0)},

    {F::kHostCr3, 0, bits(kWidth - 1, 0)},
    {F::kHostRip, 0, bits(31, 0), host_32bit},
    {F::kHostRip, 0, bits(46, 0)},
    {F::kHostIa32Pkrs, 0, bits(31, 0), with<VmExitControl::kLoadPkrs>},
    {F::kHostSsp, 0, bits(46, 2), with<VmExitControl::kLoadCetState>},

    {F::kGuestCr3, 0, bits(kWidth - 1, 0)},
    {F::kGuestDr7, 0x400, bits(31, 0), with<VmEntryControl::kLoadDebugControls>},
    {F::kGuestDr7, 0x400, bits(63, 0), [](M& m) { m.off(VmEntryControl::kLoadDebugControls); }},
    {F::kGuestIa32Debugctl, 0, bits(1, 0), with<VmEntryControl::kLoadDebugControls>},
    {F::kGuestIa32Efer, efer::kLma | efer::kLme, efer::kSce | efer::kNxe,
     with<VmEntryControl::kLoadEfer>},
    {F::kGuestIa32Pkrs, 0, bits(31, 0), with<VmEntryControl::kLoadPkrs>},
    {F::kGuestUinv, 0, bits(7, 0), with<VmEntryControl::kLoadUinv>},
    {F::kGuestIa32Bndcfgs, 0, bits(46, 12) | bits(1, 0), with<VmEntryControl::kLoadBndcfgs>},
    {F::kGuestRip, 0, bits(31, 0), guest_cs_16bit},
    {F::kGuestRip, 0, bits(47, 0)},
    {F::kGuestSsp, 0, bits(47, 2), with<VmEntryControl::kLoadCetState>},
    {F::kGuestRflags, rflags::kFixed1, kRflagsFree},

    {F::kGuestCsSelector, 0x8, bits(15, 2)},
    {F::kGuestDsSelector, 0x10, bits(15, 2)},
    {F::kGuestTrSelector, 0x18, bits(15, 0) & ~bit(2)},
    {F::kGuestLdtrSelector, 0x20, bits(15, 0) & ~bit(2), with_ldtr},
    {F::kGuestLdtrSelector, 0x20, bits(15, 0)},
    {F::kGuestCsBase, 0, bits(31, 0)},
    {F::kGuestSsBase, 0, bits(31, 0)},
    {F::kGuestFsBase, 0, bits(46, 0)},
    {F::kGuestTrBase, 0, bits(46, 0)},
    {F::kGuestCsLimit, 0xffffffff, bits(31, 12)},
    {F::kGuestTrLimit, 0x67, bits(19, 0)},
    {F::kGuestCsAccessRights, 0xa09b, bits(2, 1) | bits(13, 12) | bit(16)},
    {F::kGuestSsAccessRights, 0xc093, bit(2) | bits(14, 12) | bit(16)},
    {F::kGuestDsAccessRights, 0xc093, kDataFree},
    {F::kGuestEsAccessRights, 0xc093, kDataFree},
    {F::kGuestFsAccessRights, 0xc093, kDataFree},
    {F::kGuestGsAccessRights, 0xc093, kDataFree},
    {F::kGuestDsAccessRights, 0x10000, bits(31, 0) & ~bit(16)},
    {F::kGuestTrAccessRights, 0x8b, bits(6, 5) | bits(14, 12)},
    {F::kGuestLdtrAccessRights, 0x82, bits(6, 5) | bits(16, 12), with_ldtr},
    {F::kGuestGdtrLimit, 0, bits(15, 0)},
    {F::kGuestIdtrLimit, 0, bits(15, 0)},
    {F::kGuestInterruptibilityState, 0, bits(1, 0) | bits(4, 3), interruptible},
    {F::kGuestInterruptibilityState, 0, bit(1) | bits(4, 3)},
    {F::kGuestPendingDebugExceptions, 0, bits(3, 0) | bit(12) | bit(14)},
    {F::kGuestPdpte0, 0x9001, bit(0) | bits(4, 3) | bits(kWidth - 1, 9), pae_with_ept},
    {F::kGuestPdpte3, 0x9000, bits(63, 0), pae_with_ept},
    {F::kGuestPdpte3, 0x9001, bits(63, 0), [](M& m) { m.enable_ept(); }},
    {F::kGuestPdpte3, 0x9001, bits(63, 0), [](M& m) { m.make_guest_32bit(); }},
};

TEST(EntryChecksBits, EachBitOfAField) {
  for (const Sweep& sweep : kSweeps) {
    Machine machine;
    if (sweep.prepare != nullptr) sweep.prepare(machine);
    machine.set(sweep.field, sweep.base);
    ASSERT_THAT(machine.failures(), IsEmpty()) << info_of(sweep.field).name;
    for (unsigned number = 0; number < bits_of(sweep.field); ++number) {
      machine.set(sweep.field, sweep.base ^ bit(number));
      EXPECT_EQ(machine.failures().empty(), (sweep.free & bit(number)) != 0)
          << info_of(sweep.field).name << " = " << std::hex << sweep.base << ", bit " << std::dec
          << number;
    }
  }
}

TEST(EntryChecksBits, TargetCountUpToTheCapability) {
  for (const uint8_t offered : {uint8_t{0}, uint8_t{4}}) {
    Machine machine;
    machine.capabilities.cr3_target_count = offered;
    for (unsigned count = 0; count < 8; ++count) {
      machine.set(F::kCr3TargetCount, count);
      EXPECT_EQ(machine.failures().empty(), count <= offered) << count;
    }
  }
}

TEST(EntryChecksBits, TprThresholdAgainstVtpr) {
  Machine machine;
  with_tpr_shadow(machine);
  for (unsigned threshold = 0; threshold < 16; ++threshold) {
    for (unsigned vtpr = 0; vtpr < 16; ++vtpr) {
      machine.set(F::kTprThreshold, threshold);
      machine.memory.write<uint8_t>(0x6080, static_cast<uint8_t>(vtpr << 4));
      EXPECT_EQ(machine.failures().empty(), threshold <= vtpr) << threshold << " " << vtpr;
    }
  }
  machine.on(SecondaryProcBased::kVirtualizeApicAccesses);
  machine.set(F::kTprThreshold, 15);
  machine.memory.write<uint8_t>(0x6080, 0);
  EXPECT_THAT(machine.failures(), IsEmpty());
}

// "Page-directory-pointer-table entries": each of the four, each bit, in memory.
TEST(EntryChecksBits, PdptesInMemory) {
  for (unsigned entry = 0; entry < 4; ++entry) {
    for (unsigned number = 0; number < 64; ++number) {
      Machine machine;
      machine.make_guest_32bit();
      machine.set(F::kGuestCr3, 0x4000 | 0x1f);  // bits 4:0 do not belong to the address
      machine.memory.write<uint64_t>(0x4000 + 8 * entry, 1 | bit(number));
      const bool reserved = (bit(number) & (bits(2, 1) | bits(8, 5) | bits(63, kWidth))) != 0;
      if (reserved) {
        EXPECT_THAT(machine.failures(), ElementsAre("guest-pdptes-in-memory")) << number;
      } else {
        EXPECT_THAT(machine.failures(), IsEmpty()) << number;
      }
    }
  }
}

// Which fields must be canonical, and to which control they belong.
TEST(EntryChecksBits, CanonicalOrNot) {
  const std::pair<Field, const char*> canonical[] = {
      {F::kHostIa32SysenterEsp, "host-sysenter-esp-canonical"},
      {F::kHostIa32SysenterEip, "host-sysenter-eip-canonical"},
      {F::kHostFsBase, "host-fs-base-canonical"},
      {F::kHostGsBase, "host-gs-base-canonical"},
      {F::kHostTrBase, "host-tr-base-canonical"},
      {F::kHostGdtrBase, "host-gdtr-base-canonical"},
      {F::kHostIdtrBase, "host-idtr-base-canonical"},
      {F::kHostRip, "host-rip-canonical"},
      {F::kGuestIa32SysenterEsp, "guest-sysenter-esp-canonical"},
      {F::kGuestIa32SysenterEip, "guest-sysenter-eip-canonical"},
      {F::kGuestFsBase, "guest-fs-base-canonical"},
      {F::kGuestGsBase, "guest-gs-base-canonical"},
      {F::kGuestTrBase, "guest-tr-base-canonical"},
      {F::kGuestGdtrBase, "guest-gdtr-base-canonical"},
      {F::kGuestIdtrBase, "guest-idtr-base-canonical"},
  };
  // The processor's width counts, whatever the paging modes of host and guest are.
  for (const unsigned width : {48u, 57u}) {
    const auto machine_with = [&](Field field, uint64_t value) {
      Machine machine;
      machine.capabilities.registers.linear_address_width = static_cast<uint8_t>(width);
      machine.set(field, value);
      return machine;
    };
    for (const auto& [field, id] : canonical) {
      for (const uint64_t good :
           {uint64_t{0}, bits(width - 2, 0), bits(63, width - 1), bits(63, 0)}) {
        EXPECT_THAT(machine_with(field, good).failures(), IsEmpty()) << id << std::hex << good;
      }
      for (const uint64_t bad : {bit(width - 1), bits(63, width), bit(63), bits(62, width - 1)}) {
        EXPECT_THAT(machine_with(field, bad).failures(), ElementsAre(id)) << std::hex << bad;
      }
    }
  }
}

}  // namespace
}  // namespace nestor::vmx
