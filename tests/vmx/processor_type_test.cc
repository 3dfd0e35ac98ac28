// SPDX-License-Identifier: GPL-2.0-or-later
//
// What VMX offers on each model, and with features more or less.
#include "vmx/processor_type.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>

#include "vmx/capabilities.h"

namespace nestor::vmx {
namespace {

using enum Generation;

Capabilities of(Generation generation) { return capabilities_of(processor_of(generation)); }
Capabilities without(Feature feature) {
  ProcessorType type;
  type.features.remove(feature);
  return capabilities_of(type);
}

TEST(ProcessorType, NamesAreUnique) {
  std::set<std::string_view> names;
  for (const NamedFeature& feature : kNamedFeatures) {
    if (!feature.name.empty()) {
      EXPECT_TRUE(names.insert(feature.name).second) << feature.name;
    }
  }
  EXPECT_EQ(kNamedFeatures.size(), kFeatureCount);
}

// What a feature needs was there before it.
TEST(ProcessorType, FeaturesNeedWhatIsNotNewer) {
  for (const NamedFeature& feature : kNamedFeatures) {
    if (feature.needs == Feature::kNone) continue;
    EXPECT_LE(named(feature.needs).since, feature.since) << feature.name;
  }
}

TEST(ProcessorType, RemovingAFeatureRemovesWhatNeedsIt) {
  ProcessorType type;
  type.features.remove(Feature::kVmxEpt);
  for (const Feature gone :
       {Feature::kVmxEpt, Feature::kVmxEptAccessedDirty, Feature::kVmxPml, Feature::kVmxFunctions,
        Feature::kVmxEptpSwitching, Feature::kVmxUnrestrictedGuest, Feature::kVmxInveptAll}) {
    EXPECT_FALSE(type.has(gone)) << named(gone).name;
  }
  EXPECT_TRUE(type.has(Feature::kVmxVpid));
  EXPECT_TRUE(type.has(Feature::kVmxInvvpidAll));
}

TEST(ProcessorType, AnOldProcessorHasFewControls) {
  const Capabilities c = of(kWestmere);
  EXPECT_TRUE(c.offers(SecondaryProcBased::kEnableEpt));
  EXPECT_TRUE(c.offers(SecondaryProcBased::kUnrestrictedGuest));
  EXPECT_TRUE(c.has_ept_vpid(ept_vpid_cap::kPages1G));
  EXPECT_FALSE(c.has_ept_vpid(ept_vpid_cap::kAccessedDirty));
  EXPECT_FALSE(c.has_ept_vpid(ept_vpid_cap::kWalkLength5));
  EXPECT_FALSE(c.offers(SecondaryProcBased::kEnableVmFunctions));
  EXPECT_EQ(c.msr(0x491), std::nullopt) << "IA32_VMX_VMFUNC";
  EXPECT_FALSE(c.offers(SecondaryProcBased::kVmcsShadowing));
  EXPECT_FALSE(c.offers(SecondaryProcBased::kVirtualInterruptDelivery));
  EXPECT_FALSE(c.offers(PinBased::kProcessPostedInterrupts));
  EXPECT_FALSE(c.has_misc(vmx_misc::kVmwriteAnyField));
  EXPECT_EQ(c.msr(0x48b), 0x00000000'000004ffull << 32);
  EXPECT_EQ(c.registers.physical_address_width, 40);
  EXPECT_EQ(c.registers.linear_address_width, 48);
  // No FSGSBASE, SMEP, SMAP, OSXSAVE, UMIP, LA57, PKE.
  EXPECT_EQ(c.cr4_fixed1(), 0x000227ffu);
}

TEST(ProcessorType, EachModelOffersWhatTheOlderOnesDo) {
  for (size_t i = 1; i < kProcessorModels.size(); ++i) {
    const Capabilities older = of(kProcessorModels[i - 1].generation);
    const Capabilities newer = of(kProcessorModels[i].generation);
    for (const uint32_t index : {0x48bu, 0x48cu, 0x485u, 0x489u, 0x48du, 0x48eu, 0x48fu, 0x490u}) {
      const uint64_t before = *older.msr(index), after = *newer.msr(index);
      EXPECT_EQ(before & ~after, 0u) << kProcessorModels[i].name << std::hex << " " << index;
    }
  }
}

TEST(ProcessorType, ANewOneLoadsPkrs) {
  const Capabilities c = of(kSapphireRapids);
  EXPECT_TRUE(c.offers(VmEntryControl::kLoadPkrs));
  EXPECT_TRUE(c.offers(VmExitControl::kLoadPkrs));
  EXPECT_TRUE(c.has_field(Field::kGuestIa32Pkrs));
  EXPECT_NE(c.cr4_fixed1() & cr4::kPks, 0u);
  EXPECT_EQ(c.registers.physical_address_width, 52);
  EXPECT_FALSE(nestor_capabilities().has_field(Field::kGuestIa32Pkrs));
}

TEST(ProcessorType, ControlsFollowFeatures) {
  EXPECT_FALSE(without(Feature::kInvpcid).offers(SecondaryProcBased::kEnableInvpcid));
  EXPECT_FALSE(without(Feature::kRdtscp).offers(SecondaryProcBased::kEnableRdtscp));
  EXPECT_FALSE(without(Feature::kRdrand).offers(SecondaryProcBased::kRdrandExiting));
  EXPECT_FALSE(without(Feature::kRdseed).offers(SecondaryProcBased::kRdseedExiting));
  EXPECT_FALSE(without(Feature::kXsaves).offers(SecondaryProcBased::kEnableXsavesXrstors));
  EXPECT_FALSE(without(Feature::kX2apic).offers(SecondaryProcBased::kVirtualizeX2apicMode));
  EXPECT_EQ(without(Feature::kUmip).cr4_fixed1() & cr4::kUmip, 0u);
  EXPECT_EQ(without(Feature::kPku).cr4_fixed1() & cr4::kPke, 0u);
  EXPECT_NE(nestor_capabilities().cr4_fixed1() & cr4::kUmip, 0u);
  EXPECT_NE(nestor_capabilities().cr4_fixed1() & cr4::kPke, 0u);
  EXPECT_EQ(without(Feature::kExecuteDisable).registers.efer_writable & efer::kNxe, 0u);
  EXPECT_EQ(without(Feature::kVmxSecondaryControls).msr(0x48b), std::nullopt);
  EXPECT_EQ(without(Feature::kVmxSecondaryControls).msr(0x48c), std::nullopt);
  EXPECT_EQ(without(Feature::kLa57).registers.linear_address_width, 48);
}

}  // namespace
}  // namespace nestor::vmx
