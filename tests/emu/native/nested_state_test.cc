// SPDX-License-Identifier: GPL-2.0-or-later

// What KVM tells of VMX, from bytes as it lays them out. Without KVM.

#include "emu/native/nested_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/kvm.h>

#include <array>
#include <cstring>
#include <vector>

namespace nestor::emu::native {
namespace {

using testing::HasSubstr;
using vmx::Field;

constexpr std::size_t kVmcs = 128;

std::vector<std::byte> nested_state(std::uint16_t flags, std::uint64_t vmcs_address) {
  std::vector<std::byte> bytes(kNestedStateSize);
  const auto put = [&](std::size_t at, auto value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
  };
  put(0, flags);
  put(2, std::uint16_t{KVM_STATE_NESTED_FORMAT_VMX});
  put(4, static_cast<std::uint32_t>(vmcs_address == ~std::uint64_t{0} ? kVmcs : bytes.size()));
  put(8, std::uint64_t{0x1000});
  put(16, vmcs_address);
  put(kVmcs, kKvmsVmcsRevision);
  // Each byte of the fields differs from its neighbours.
  for (std::size_t i = 8; i != 1000; ++i) bytes[kVmcs + i] = static_cast<std::byte>(i * 7 + i / 37);
  return bytes;
}

NestedState parsed(const std::vector<std::byte>& bytes) {
  auto state = parse_nested_state(bytes);
  if (auto* bad = std::get_if<std::string>(&state)) {
    ADD_FAILURE() << *bad;
    return {};
  }
  return std::get<NestedState>(std::move(state));
}

TEST(NestedState, FieldsAreWhereKvmKeepsThem) {
  // The offsets that KVM promises for saved machines.
  const std::pair<Field, std::size_t> kOffsets[] = {
      {Field::kIoBitmapA, 40},
      {Field::kEptPointer, 120},
      {Field::kXssExitingBitmap, 160},
      {Field::kGuestPhysicalAddress, 168},
      {Field::kGuestIa32Bndcfgs, 248},
      {Field::kVmreadBitmap, 280},
      {Field::kPmlAddress, 312},
      {Field::kCr0GuestHostMask, 344},
      {Field::kExitQualification, 408},
      {Field::kGuestLinearAddress, 416},
      {Field::kGuestCr3, 432},
      {Field::kGuestRip, 544},
      {Field::kHostCr0, 584},
      {Field::kHostRip, 672},
      {Field::kPinBasedControls, 744},
      {Field::kVmEntryControls, 780},
      {Field::kSecondaryProcBasedControls, 804},
      {Field::kVmInstructionError, 808},
      {Field::kExitReason, 812},
      {Field::kVmExitInstructionInformation, 836},
      {Field::kGuestIdtrLimit, 876},
      {Field::kGuestTrAccessRights, 908},
      {Field::kGuestInterruptibilityState, 912},
      {Field::kHostIa32SysenterCs, 924},
      {Field::kVmxPreemptionTimerValue, 928},
      {Field::kVirtualProcessorIdentifier, 960},
      {Field::kGuestInterruptStatus, 980},
      {Field::kHostTrSelector, 994},
      {Field::kPmlIndex, 996},
  };
  const auto bytes = nested_state(0, 0x5000);
  const NestedState state = parsed(bytes);
  ASSERT_TRUE(state.vmcs);
  for (const auto& [field, offset] : kOffsets) {
    EXPECT_EQ(offset_in_kvms_vmcs(field), offset) << vmx::encoding_of(field);
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + kVmcs + offset, vmx::bits_of(field) / 8);
    EXPECT_EQ(state.vmcs->read(field), value) << vmx::encoding_of(field);
  }
  EXPECT_EQ(offset_in_kvms_vmcs(Field::kTscMultiplier), std::nullopt);
}

TEST(NestedState, HasTheModeAndTheVmcsAddress) {
  const NestedState in_l1 = parsed(nested_state(0, 0x5000));
  EXPECT_FALSE(in_l1.guest_mode);
  EXPECT_EQ(in_l1.vmcs_address, 0x5000U);
  EXPECT_TRUE(parsed(nested_state(KVM_STATE_NESTED_GUEST_MODE, 0x5000)).guest_mode);
  EXPECT_FALSE(parsed(nested_state(KVM_STATE_NESTED_RUN_PENDING, 0x5000)).guest_mode);
}

TEST(NestedState, MayLackAVmcs) { EXPECT_FALSE(parsed(nested_state(0, ~std::uint64_t{0})).vmcs); }

TEST(NestedState, WhatIsUnknownIsRefused) {
  const auto refusal = [](std::vector<std::byte> bytes) {
    const auto state = parse_nested_state(bytes);
    const auto* bad = std::get_if<std::string>(&state);
    return bad ? *bad : "accepted";
  };
  auto bytes = nested_state(0, 0x5000);
  bytes[2] = std::byte{KVM_STATE_NESTED_FORMAT_SVM};
  EXPECT_THAT(refusal(bytes), HasSubstr("not that of VMX"));
  bytes = nested_state(0, 0x5000);
  bytes[kVmcs] ^= std::byte{1};
  EXPECT_THAT(refusal(bytes), HasSubstr("revision identifier 0x11e57ed1, not 0x11e57ed0"));
  bytes = nested_state(0, 0x5000);
  bytes.resize(kVmcs + 4095);
  EXPECT_THAT(refusal(bytes), HasSubstr("cut off"));
  bytes.resize(127);
  EXPECT_THAT(refusal(bytes), HasSubstr("shorter than its header"));
}

}  // namespace
}  // namespace nestor::emu::native
