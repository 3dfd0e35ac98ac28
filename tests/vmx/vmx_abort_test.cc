// SPDX-License-Identifier: GPL-2.0-or-later
//
// The MSR lists and PDPTEs of a VM exit, and the VMX aborts when they are not valid.
#include "tests/vmx/vmx_fixture.h"

namespace nestor::vmx::test {
namespace {

using VmxAbort = VmxTest;

TEST_F(VmxAbort, MsrStoreFailureAborts) {
  prepare();
  set(Field::kVmExitMsrStoreCount, 1);
  cpu.poke(kStoreMsrs, uint64_t{0x9e});
  ASSERT_EQ(vmlaunch(), "transfer");
  vmx.triple_fault_exits();
  EXPECT_EQ(cpu.aborts, std::vector<uint32_t>{1});
  EXPECT_EQ(cpu.peek<uint32_t>(kVmcsRegion + 4), 1u);
}

TEST_F(VmxAbort, MsrLoadFailureAborts) {
  prepare();
  set(Field::kVmExitMsrLoadCount, 1);
  cpu.poke(kExitMsrs, uint64_t{0x12345});
  ASSERT_EQ(vmlaunch(), "transfer");
  vmx.triple_fault_exits();
  EXPECT_EQ(cpu.aborts, std::vector<uint32_t>{4});
  EXPECT_EQ(cpu.peek<uint32_t>(kVmcsRegion + 4), 4u);
}

TEST_F(VmxAbort, MsrListsSeeGuestThenHost) {
  prepare();
  enable(PrimaryProcBased::kUseTscOffsetting);
  set(Field::kTscOffset, 0x1000);
  set(Field::kVmExitMsrStoreCount, 1);
  set(Field::kVmExitMsrLoadCount, 1);
  cpu.msrs[0x174] = 7;
  cpu.poke(kStoreMsrs, uint64_t{0x174});
  cpu.poke(kExitMsrs, uint64_t{0x174});
  cpu.poke(kExitMsrs + 8, uint64_t{9});
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_EQ(vmx.tsc_offset(), 0x1000u);
  EXPECT_EQ(vmx.guest_tsc(5), 0x1005u);
  vmx.triple_fault_exits();
  EXPECT_TRUE(cpu.aborts.empty());
  EXPECT_EQ(cpu.peek<uint64_t>(kStoreMsrs + 8), 7u);
  EXPECT_EQ(cpu.msrs[0x174], 9u);
  EXPECT_EQ(vmx.tsc_offset(), 0u);
}

class Host32 : public VmxTest {
 protected:
  void prepare32() {
    prepare();
    cpu.cpu.efer = 0;
    cpu.cpu.segment[kCs].rights.value = 0xc09b;
    disable(VmEntryControl::kIa32eModeGuest);
    disable(VmExitControl::kHostAddressSpaceSize);
    set(Field::kGuestCsAccessRights, 0xc09b);
    for (const Field f :
         {Field::kHostFsBase, Field::kHostGsBase, Field::kHostTrBase, Field::kHostGdtrBase,
          Field::kHostIdtrBase, Field::kHostIa32SysenterEsp, Field::kHostIa32SysenterEip})
      set(f, 0x1000);
    set(Field::kHostRip, 0x100000);
    set(Field::kHostRsp, 0x200000);
  }
};

TEST_F(Host32, PaeHostLoadsItsPdptes) {
  prepare32();
  ASSERT_EQ(vmlaunch(), "transfer");
  ASSERT_TRUE(vmx.in_non_root());
  cpu.pdpte_loads.clear();
  vmx.triple_fault_exits();
  EXPECT_EQ(cpu.pdpte_loads, std::vector<uint64_t>{0x10000});
  EXPECT_EQ(cpu.cpu.segment[kCs].rights.value, 0xc09bu);
  EXPECT_EQ(cpu.cpu.efer, 0u);
  EXPECT_EQ(cpu.cpu.rip, 0x100000u);
}

TEST_F(Host32, InvalidHostPdptesAbort) {
  prepare32();
  ASSERT_EQ(vmlaunch(), "transfer");
  cpu.pdptes_valid = false;
  vmx.triple_fault_exits();
  EXPECT_EQ(cpu.aborts, std::vector<uint32_t>{2});
}

TEST_F(Host32, GuestInIa32eModeAborts) {
  prepare32();
  ASSERT_EQ(vmlaunch(), "transfer");
  cpu.cpu.efer = efer::kLme | efer::kLma;
  vmx.triple_fault_exits();
  EXPECT_EQ(cpu.aborts, std::vector<uint32_t>{6});
  EXPECT_EQ(cpu.peek<uint32_t>(kVmcsRegion + 4), 6u);
}

}  // namespace
}  // namespace nestor::vmx::test
