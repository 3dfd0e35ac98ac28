// SPDX-License-Identifier: GPL-2.0-or-later
//
// Each bit of each control field in turn, toggled in a VMCS with which VM entry succeeds: what the
// capability MSRs forbid is refused and named, what they allow enters, or fails by the check that
// the SDM gives for that control alone.
#include <gmock/gmock.h>

#include <algorithm>

#include "tests/vmx/vmx_fixture.h"

namespace nestor::vmx::test {
namespace {

using ::testing::ElementsAreArray;
using Names = std::vector<std::string>;

// One VMCS on a processor of its own.
class Bench : public VmxTest {
 public:
  explicit Bench(const Capabilities& c) : VmxTest(c) { prepare(); }
  void TestBody() override {}

  // How VMLAUNCH ends, and which checks have failed.
  std::string launch() {
    sink.failures.clear();
    return vmlaunch();
  }
  Names failures() const {
    Names names;
    for (const CheckFailure& failure : sink.failures) names.emplace_back(failure.id);
    return names;
  }
  bool entered() const { return vmx.in_non_root(); }
  uint64_t capability_msr(uint32_t index) const { return vmx.capabilities().msr(index).value(); }
  bool has(Field field) const { return vmx.capabilities().has_field(field); }

  using VmxTest::enable;
  using VmxTest::get;
  using VmxTest::set;
  using VmxTest::sink;
  using VmxTest::vmwrite;
  using VmxTest::vmx;
  static constexpr uint64_t kEptPointer = kEpt;

  void enable_ept() {
    enable(SecondaryProcBased::kEnableEpt);
    set(Field::kEptPointer, kEptPointer);
  }
  void enable_tpr_shadow() {
    enable(PrimaryProcBased::kUseTprShadow);
    set(Field::kVirtualApicAddress, 0xc000);
  }
  void enable_virtual_interrupts() {
    enable_tpr_shadow();
    enable(PinBased::kExternalInterruptExiting);
    enable(SecondaryProcBased::kVirtualInterruptDelivery);
  }
};

// What the fields of a group are called here.
struct Group {
  ControlGroup group;
  Field field;
  const char* reserved;  // the check of reserved bits
  // The MSRs whose bits 31:0 must be 1 and whose bits 63:32 may be: with and without TRUE. 0: none.
  uint32_t true_msr, default_msr;
  unsigned bits;
};
constexpr Group kGroups[] = {
    {ControlGroup::kPinBased, Field::kPinBasedControls, "pin-based-reserved", 0x48d, 0x481, 32},
    {ControlGroup::kPrimaryProcBased, Field::kPrimaryProcBasedControls, "primary-reserved", 0x48e,
     0x482, 32},
    {ControlGroup::kSecondaryProcBased, Field::kSecondaryProcBasedControls, "secondary-reserved",
     0x48b, 0x48b, 32},
    {ControlGroup::kVmExit, Field::kVmExitControls, "exit-reserved", 0x48f, 0x483, 32},
    {ControlGroup::kVmEntry, Field::kVmEntryControls, "entry-reserved", 0x490, 0x484, 32},
};

// A control that cannot be toggled alone: what fails then, and what must be done before.
struct Dependent {
  ControlGroup group;
  uint64_t mask;
  const char* outcome;  // of toggling it alone
  Names failures;
  void (*prepare)(Bench&) = nullptr;  // after it, the toggled control enters; none: never
};

template <Control C>
Dependent depends(C control, Names failures, void (*prepare)(Bench&),
                  const char* outcome = "fail 7") {
  return {ControlTraits<C>::kGroup, mask(control), outcome, std::move(failures), prepare};
}

void with_nmi_exiting(Bench& b) { b.enable(PinBased::kNmiExiting); }
void with_virtual_nmis(Bench& b) {
  b.enable(PinBased::kNmiExiting);
  b.enable(PinBased::kVirtualNmis);
}
void with_virtual_interrupts(Bench& b) {
  b.enable_virtual_interrupts();
  b.enable(VmExitControl::kAcknowledgeInterruptOnExit);
}
void with_tpr_shadow(Bench& b) { b.enable_tpr_shadow(); }
void with_interrupt_exiting(Bench& b) {
  b.enable_tpr_shadow();
  b.enable(PinBased::kExternalInterruptExiting);
}
void with_vpid(Bench& b) { b.set(Field::kVirtualProcessorIdentifier, 1); }
void with_ept_pointer(Bench& b) { b.set(Field::kEptPointer, Bench::kEptPointer); }
void with_ept(Bench& b) { b.enable_ept(); }
void with_multiplier(Bench& b) { b.set(Field::kTscMultiplier, 1); }
void with_guest_efer(Bench& b) { b.set(Field::kGuestIa32Efer, efer::kLma | efer::kLme); }
void with_host_efer(Bench& b) { b.set(Field::kHostIa32Efer, efer::kLma | efer::kLme); }

const std::vector<Dependent>& dependents() {
  static const std::vector<Dependent> kRows = {
      depends(PinBased::kVirtualNmis, {"virtual-nmis-need-nmi-exiting"}, with_nmi_exiting),
      depends(PinBased::kProcessPostedInterrupts,
              {"posted-interrupts-need-virtual-interrupt-delivery",
               "posted-interrupts-need-acknowledge"},
              with_virtual_interrupts),
      depends(PrimaryProcBased::kNmiWindowExiting, {"nmi-window-needs-virtual-nmis"},
              with_virtual_nmis),
      depends(SecondaryProcBased::kEnableEpt, {"eptp-walk-length"}, with_ept_pointer),
      depends(SecondaryProcBased::kVirtualizeX2apicMode, {"x2apic-mode-needs-tpr-shadow"},
              with_tpr_shadow),
      depends(SecondaryProcBased::kEnableVpid, {"vpid-zero"}, with_vpid),
      depends(SecondaryProcBased::kUnrestrictedGuest, {"unrestricted-guest-needs-ept"}, with_ept),
      depends(SecondaryProcBased::kApicRegisterVirtualization,
              {"apic-register-virtualization-needs-tpr-shadow"}, with_tpr_shadow),
      depends(SecondaryProcBased::kVirtualInterruptDelivery,
              {"virtual-interrupt-delivery-needs-tpr-shadow",
               "virtual-interrupt-delivery-needs-interrupt-exiting"},
              with_interrupt_exiting),
      depends(SecondaryProcBased::kEnablePml, {"pml-needs-ept"}, with_ept),
      depends(SecondaryProcBased::kModeBasedExecuteControl, {"mode-based-execute-needs-ept"},
              with_ept),
      depends(SecondaryProcBased::kSubPageWritePermissions, {"sub-page-write-needs-ept"}, with_ept),
      depends(SecondaryProcBased::kUseTscScaling, {"tsc-multiplier-zero"}, with_multiplier),
      depends(VmExitControl::kHostAddressSpaceSize,
              {"host-size-in-long-mode", "ia32e-guest-needs-host-size", "host-rip-high"}, nullptr,
              "fail 8"),
      depends(VmExitControl::kLoadEfer, {"host-efer-mode"}, with_host_efer, "fail 8"),
      depends(VmExitControl::kSavePreemptionTimerValue, {"save-timer-needs-timer"},
              [](Bench& b) { b.enable(PinBased::kActivatePreemptionTimer); }),
      depends(VmEntryControl::kLoadEfer, {"guest-efer-lma"}, with_guest_efer, "transfer"),
      depends(VmEntryControl::kIa32eModeGuest, {}, nullptr, "transfer"),
  };
  return kRows;
}

const Dependent* find(ControlGroup group, uint64_t bit) {
  for (const Dependent& row : dependents())
    if (row.group == group && row.mask == bit) return &row;
  return nullptr;
}

std::string show(const Group& group, unsigned bit) {
  for (const ControlName& control : control_names(group.group))
    if (control.mask == uint64_t{1} << bit) return std::string(control.name);
  return std::string(control_group_name(group.group)) + ", bit " + std::to_string(bit);
}

// What the bits may be, by the MSRs alone.
struct Allowed {
  uint64_t must, may;
};
Allowed allowed(const Bench& bench, const Group& group) {
  const uint64_t msr = bench.capability_msr(group.true_msr);
  return {msr & 0xffffffff, msr >> 32};
}

void prepare_group(Bench& bench, const Group& group) {
  if (group.group == ControlGroup::kSecondaryProcBased)
    bench.enable(PrimaryProcBased::kActivateSecondaryControls);
}

TEST(ControlSweep, WhatTheMsrsForbidIsRefusedAndNamed) {
  for (const Group& group : kGroups) {
    for (unsigned bit = 0; bit < group.bits; ++bit) {
      SCOPED_TRACE(show(group, bit));
      Bench bench(nestor_capabilities());
      prepare_group(bench, group);
      const Allowed bits = allowed(bench, group);
      const uint64_t mask = uint64_t{1} << bit, value = bench.get(group.field);
      // Wrong: 0 where it must be 1, or 1 where it must be 0.
      if (bits.must & mask) {
        ASSERT_TRUE(value & mask);
      } else if (bits.may & mask) {
        continue;
      }
      bench.set(group.field, value ^ mask);
      EXPECT_EQ(bench.launch(), "fail 7");
      ASSERT_FALSE(bench.sink.failures.empty());
      EXPECT_EQ(bench.sink.failures[0].id, group.reserved);
      EXPECT_EQ(bench.sink.failures[0].value, value ^ mask);
      EXPECT_FALSE(bench.entered());
    }
  }
}

TEST(ControlSweep, WhatTheMsrsAllowEnters) {
  for (const Group& group : kGroups) {
    for (unsigned bit = 0; bit < group.bits; ++bit) {
      SCOPED_TRACE(show(group, bit));
      const uint64_t mask = uint64_t{1} << bit;
      const Dependent* dependent = find(group.group, mask);
      Bench bench(nestor_capabilities());
      prepare_group(bench, group);
      const Allowed bits = allowed(bench, group);
      if ((bits.must & mask) || !(bits.may & mask)) continue;
      bench.set(group.field, bench.get(group.field) ^ mask);
      EXPECT_EQ(bench.launch(), dependent ? dependent->outcome : "transfer");
      EXPECT_THAT(bench.failures(), ElementsAreArray(dependent ? dependent->failures : Names{}));
      EXPECT_EQ(bench.entered(), bench.failures().empty());
      if (dependent == nullptr || dependent->prepare == nullptr) continue;
      Bench prepared(nestor_capabilities());
      prepare_group(prepared, group);
      dependent->prepare(prepared);
      prepared.set(group.field, prepared.get(group.field) ^ mask);
      EXPECT_EQ(prepared.launch(), "transfer");
      EXPECT_THAT(prepared.failures(), ElementsAreArray(Names{}));
      EXPECT_TRUE(prepared.entered());
    }
  }
}

// Software that knows only the MSRs without TRUE sets every bit of the default1 class.
TEST(ControlSweep, TheDefaultSettingsEnter) {
  for (const Group& group : kGroups) {
    Bench bench(nestor_capabilities());
    const uint64_t defaults = bench.capability_msr(group.default_msr);
    const uint64_t exact = bench.capability_msr(group.true_msr);
    EXPECT_EQ(defaults >> 32, exact >> 32) << "the allowed 1-settings are the same";
    EXPECT_EQ(exact & ~defaults & 0xffffffff, 0u);
    EXPECT_EQ(defaults & ~(defaults >> 32) & 0xffffffff, 0u) << "what must be 1 may be 1";
    bench.set(group.field, bench.get(group.field) | (defaults & 0xffffffff));
    EXPECT_EQ(bench.launch(), "transfer") << control_group_name(group.group);
  }
}

// A row of the table that no longer says anything about this processor would hide a mistake.
TEST(ControlSweep, EachDependentControlIsOneThatTheSdmNames) {
  for (const Dependent& row : dependents()) {
    const auto names = control_names(row.group);
    EXPECT_TRUE(std::any_of(names.begin(), names.end(),
                            [&](const ControlName& name) { return name.mask == row.mask; }));
  }
}

TEST(ControlSweep, VmFunctions) {
  for (unsigned bit = 0; bit < 64; ++bit) {
    const uint64_t mask = uint64_t{1} << bit;
    for (const bool ept : {false, true}) {
      Bench bench(nestor_capabilities());
      bench.enable(SecondaryProcBased::kEnableVmFunctions);
      if (ept) bench.enable_ept();
      bench.set(Field::kVmFunctionControls, mask);
      const bool offered = bench.capability_msr(0x491) & mask;
      EXPECT_EQ(bench.launch(), offered && ept ? "transfer" : "fail 7") << bit;
      Names expected;
      if (!offered) expected.emplace_back("vm-functions-reserved");
      if (offered && !ept) expected.emplace_back("eptp-switching-needs-ept");
      EXPECT_THAT(bench.failures(), ElementsAreArray(expected)) << bit;
    }
  }
  // Without the control the field does not matter.
  Bench bench(nestor_capabilities());
  bench.set(Field::kVmFunctionControls, ~0ull);
  EXPECT_EQ(bench.launch(), "transfer");
}

TEST(ControlSweep, SecondaryControlsThatAreNotActivatedDoNotMatter) {
  Bench bench(nestor_capabilities());
  bench.set(Field::kSecondaryProcBasedControls, 0xffffffff);
  EXPECT_EQ(bench.launch(), "transfer");
}

// What an Ice Lake server does not have either: the fields do not exist, and the bits that would
// activate them are refused.
TEST(ControlSweep, TertiaryAndSecondaryExitControlsDoNotExist) {
  Bench bench(nestor_capabilities());
  for (const Field field : {Field::kTertiaryProcBasedControls, Field::kSecondaryVmExitControls}) {
    EXPECT_FALSE(bench.has(field));
    EXPECT_EQ(bench.vmwrite(encoding_of(field), 0), "fail 12");
  }
  EXPECT_EQ(bench.vmx.capabilities().msr(0x492), std::nullopt);
  EXPECT_EQ(bench.vmx.capabilities().msr(0x493), std::nullopt);
}

// On a processor that activates them, each of their bits.
TEST(ControlSweep, TertiaryControlsWhereTheyExist) {
  for (unsigned bit = 0; bit < 64; ++bit) {
    const uint64_t mask = uint64_t{1} << bit;
    Capabilities c = nestor_capabilities();
    c.primary.offered |= vmx::mask(PrimaryProcBased::kActivateTertiaryControls);
    c.tertiary = vmx::mask(TertiaryProcBased::kIpiVirtualization) |
                 vmx::mask(TertiaryProcBased::kVirtualizeSpecCtrl);
    for (const bool activated : {false, true}) {
      Bench bench(c);
      bench.enable_tpr_shadow();
      bench.enable_ept();
      if (activated) bench.enable(PrimaryProcBased::kActivateTertiaryControls);
      bench.set(Field::kTertiaryProcBasedControls, mask);
      const bool enters = !activated || (c.tertiary & mask);
      EXPECT_EQ(bench.launch(), enters ? "transfer" : "fail 7") << bit;
      EXPECT_THAT(bench.failures(),
                  ElementsAreArray(enters ? Names{} : Names{"tertiary-reserved"}));
    }
  }
}

TEST(ControlSweep, SecondaryExitControlsWhereTheyExist) {
  for (unsigned bit = 0; bit < 64; ++bit) {
    const uint64_t mask = uint64_t{1} << bit;
    Capabilities c = nestor_capabilities();
    c.exit.offered |= vmx::mask(VmExitControl::kActivateSecondaryControls);
    c.secondary_exit = vmx::mask(SecondaryVmExitControl::kPrematurelyBusyShadowStack);
    for (const bool activated : {false, true}) {
      Bench bench(c);
      if (activated) bench.enable(VmExitControl::kActivateSecondaryControls);
      bench.set(Field::kSecondaryVmExitControls, mask);
      const bool enters = !activated || (c.secondary_exit & mask);
      EXPECT_EQ(bench.launch(), enters ? "transfer" : "fail 7") << bit;
      EXPECT_THAT(bench.failures(),
                  ElementsAreArray(enters ? Names{} : Names{"secondary-exit-reserved"}));
    }
  }
}

// The features of later processors, SMM with its dual-monitor treatment, SGX and Intel PT, by name:
// they stay away, whatever else is added.
TEST(ControlSweep, WhatIsLeftOutIsNotOffered) {
  const Capabilities c = nestor_capabilities();
  EXPECT_FALSE(c.offers(PrimaryProcBased::kActivateTertiaryControls));
  for (const auto control :
       {SecondaryProcBased::kPasidTranslation, SecondaryProcBased::kEnableUserWaitAndPause,
        SecondaryProcBased::kEnablePconfig, SecondaryProcBased::kEnableEnclvExiting,
        SecondaryProcBased::kEnableEnclsExiting, SecondaryProcBased::kVmmBusLockDetection,
        SecondaryProcBased::kInstructionTimeout, SecondaryProcBased::kConcealVmxFromPt,
        SecondaryProcBased::kPtUsesGuestPhysicalAddresses})
    EXPECT_FALSE(c.offers(control)) << mask(control);
  for (const auto control :
       {VmExitControl::kClearBndcfgs, VmExitControl::kClearRtitCtl,
        VmExitControl::kConcealVmxFromPt, VmExitControl::kClearLbrCtl, VmExitControl::kClearUinv,
        VmExitControl::kLoadCetState, VmExitControl::kLoadPkrs, VmExitControl::kSavePerfGlobalCtrl,
        VmExitControl::kActivateSecondaryControls})
    EXPECT_FALSE(c.offers(control)) << mask(control);
  for (const auto control :
       {VmEntryControl::kEntryToSmm, VmEntryControl::kDeactivateDualMonitor,
        VmEntryControl::kLoadBndcfgs, VmEntryControl::kLoadRtitCtl,
        VmEntryControl::kConcealVmxFromPt, VmEntryControl::kLoadUinv, VmEntryControl::kLoadCetState,
        VmEntryControl::kLoadGuestLbrCtl, VmEntryControl::kLoadPkrs})
    EXPECT_FALSE(c.offers(control)) << mask(control);
}

}  // namespace
}  // namespace nestor::vmx::test
