// SPDX-License-Identifier: GPL-2.0-or-later
//
// State that VM entries load and VM exits save under a condition only.
#include "tests/vmx/vmx_fixture.h"

namespace nestor::vmx::test {
namespace {

// "Loading Page-Directory-Pointer-Table Entries": if the guest uses PAE paging.
TEST_F(VmxTest, EntryToA64BitGuestLoadsNoPdptes) {
  prepare();
  cpu.pdptes_valid = false;
  cpu.pdpte_loads.clear();
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_TRUE(vmx.in_non_root());
  EXPECT_TRUE(cpu.pdpte_loads.empty());
}

class PerformanceControl : public VmxTest {
 protected:
  static Capabilities with_saving() {
    Capabilities c = default_capabilities();
    c.exit.offered |= mask(VmExitControl::kSavePerfGlobalCtrl);
    return c;
  }
  PerformanceControl() : VmxTest(with_saving()) { prepare(); }

  // What the field holds after a VM exit from a guest that changed the register from 1 to 2.
  uint64_t after_exit() {
    set(Field::kGuestIa32PerfGlobalCtrl, 1);
    const uint64_t efer = get(Field::kGuestIa32Efer);
    EXPECT_EQ(vmlaunch(), "transfer");
    cpu.cpu.perf_global_ctrl = 2;
    vmx.ept_violation(0x181, 0, 0);
    EXPECT_EQ(get(Field::kGuestIa32Efer), efer);
    return get(Field::kGuestIa32PerfGlobalCtrl);
  }
};

// "Saving Control Registers, Debug Registers, and MSRs".
TEST_F(PerformanceControl, IsNotSavedOtherwise) { EXPECT_EQ(after_exit(), 1u); }

TEST_F(PerformanceControl, IsSavedIfTheControlSaysSo) {
  enable(VmExitControl::kSavePerfGlobalCtrl);
  EXPECT_EQ(after_exit(), 2u);
}

}  // namespace
}  // namespace nestor::vmx::test
