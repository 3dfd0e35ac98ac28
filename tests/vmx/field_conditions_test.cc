// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which fields exist only with a control: the notes to the tables of "Field Encoding in VMCS".
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/vmx/checks_machine.h"

namespace nestor::vmx {
namespace {

constexpr ControlGroup kPin = ControlGroup::kPinBased, kPrimary = ControlGroup::kPrimaryProcBased,
                       kSecondary = ControlGroup::kSecondaryProcBased,
                       kTertiary = ControlGroup::kTertiaryProcBased, kExit = ControlGroup::kVmExit,
                       kEntry = ControlGroup::kVmEntry, kFunction = ControlGroup::kVmFunction;

struct ControlBit {
  ControlGroup group{};
  unsigned bit = 64;  // 64: none
  bool operator==(const ControlBit&) const = default;
};
struct ConditionalField {
  uint32_t encoding;
  ControlBit control, or_control;
};
const ConditionalField kConditionalFields[] = {
    {0x0000, {kSecondary, 5}, {}},
    {0x0002, {kPin, 7}, {}},
    {0x0004, {kSecondary, 18}, {}},
    {0x0006, {kTertiary, 1}, {}},
    {0x0008, {kTertiary, 4}, {}},
    {0x0810, {kSecondary, 9}, {}},
    {0x0812, {kSecondary, 17}, {}},
    {0x0814, {kEntry, 19}, {kExit, 27}},
    {0x2004, {kPrimary, 28}, {}},
    {0x200e, {kSecondary, 17}, {}},
    {0x2012, {kPrimary, 21}, {}},
    {0x2014, {kSecondary, 0}, {}},
    {0x2016, {kPin, 7}, {}},
    {0x2018, {kSecondary, 13}, {}},
    {0x201a, {kSecondary, 1}, {}},
    {0x201c, {kSecondary, 9}, {}},
    {0x201e, {kSecondary, 9}, {}},
    {0x2020, {kSecondary, 9}, {}},
    {0x2022, {kSecondary, 9}, {}},
    {0x2024, {kFunction, 0}, {}},
    {0x2026, {kSecondary, 14}, {}},
    {0x2028, {kSecondary, 14}, {}},
    {0x202a, {kSecondary, 18}, {}},
    {0x202c, {kSecondary, 20}, {}},
    {0x202e, {kSecondary, 15}, {}},
    {0x2030, {kSecondary, 23}, {}},
    {0x2032, {kSecondary, 25}, {}},
    {0x2034, {kPrimary, 17}, {}},
    {0x2036, {kSecondary, 28}, {}},
    {0x2038, {kSecondary, 21}, {}},
    {0x203a, {kSecondary, 21}, {}},
    {0x203e, {kSecondary, 27}, {}},
    {0x2040, {kTertiary, 1}, {}},
    {0x2042, {kTertiary, 4}, {}},
    {0x2044, {kExit, 31}, {}},
    {0x204a, {kTertiary, 7}, {}},
    {0x204c, {kTertiary, 7}, {}},
    {0x2400, {kSecondary, 1}, {}},
    {0x2804, {kEntry, 14}, {kExit, 18}},
    {0x2806, {kEntry, 15}, {kExit, 20}},
    {0x2808, {kEntry, 13}, {kExit, 30}},
    {0x280a, {kSecondary, 1}, {}},
    {0x280c, {kSecondary, 1}, {}},
    {0x280e, {kSecondary, 1}, {}},
    {0x2810, {kSecondary, 1}, {}},
    {0x2812, {kEntry, 16}, {kExit, 23}},
    {0x2814, {kEntry, 18}, {kExit, 25}},
    {0x2816, {kEntry, 21}, {kExit, 26}},
    {0x2818, {kEntry, 22}, {}},
    {0x2c00, {kExit, 19}, {}},
    {0x2c02, {kExit, 21}, {}},
    {0x2c04, {kExit, 12}, {}},
    {0x2c06, {kExit, 29}, {}},
    {0x401c, {kPrimary, 21}, {}},
    {0x401e, {kPrimary, 31}, {}},
    {0x4020, {kSecondary, 10}, {}},
    {0x4022, {kSecondary, 10}, {}},
    {0x4024, {kSecondary, 31}, {}},
    {0x482e, {kPin, 6}, {}},
    {0x6828, {kEntry, 20}, {}},
    {0x682a, {kEntry, 20}, {}},
    {0x682c, {kEntry, 20}, {}},
    {0x6c18, {kExit, 28}, {}},
    {0x6c1a, {kExit, 28}, {}},
    {0x6c1c, {kExit, 28}, {}},
};

void take_away(Capabilities& c, ControlBit control) {
  if (control.bit == 64) return;
  const uint64_t rest = ~(uint64_t{1} << control.bit);
  const auto rest32 = static_cast<uint32_t>(rest);
  switch (control.group) {
    case kPin:
      c.pin.offered &= rest32;
      break;
    case kPrimary:
      c.primary.offered &= rest32;
      break;
    case kSecondary:
      c.secondary &= rest32;
      break;
    case kTertiary:
      c.tertiary &= rest;
      break;
    case kExit:
      c.exit.offered &= rest32;
      break;
    case kEntry:
      c.entry.offered &= rest32;
      break;
    case kFunction:
      c.vm_functions &= rest;
      break;
    default:
      FAIL();
  }
}

bool exists(const Capabilities& c, uint32_t encoding) {
  const auto access = decode_field(encoding);
  return access && c.has_field(access->field);
}

TEST(FieldConditions, WithoutItsControlsAFieldDoesNotExist) {
  for (const ConditionalField& field : kConditionalFields) {
    Capabilities c = every_capability();
    EXPECT_TRUE(exists(c, field.encoding)) << std::hex << field.encoding;
    take_away(c, field.control);
    EXPECT_EQ(exists(c, field.encoding), field.or_control.bit != 64) << std::hex << field.encoding;
    take_away(c, field.or_control);
    EXPECT_FALSE(exists(c, field.encoding)) << std::hex << field.encoding;
  }
}

TEST(FieldConditions, NoOtherControlMatters) {
  for (const ControlGroup group : {kPin, kPrimary, kSecondary, kTertiary, kExit, kEntry}) {
    for (unsigned bit = 0; bit != (group == kTertiary ? 64 : 32); ++bit) {
      const ControlBit control{group, bit};
      // Those that activate other controls take these along.
      if (control == ControlBit{kPrimary, 17} || control == ControlBit{kPrimary, 31} ||
          control == ControlBit{kSecondary, 13} || control == ControlBit{kExit, 31})
        continue;
      Capabilities c = every_capability();
      take_away(c, control);
      for (const FieldInfo& info : kFields) {
        const auto* row = std::find_if(
            std::begin(kConditionalFields), std::end(kConditionalFields),
            [&](const ConditionalField& f) { return f.encoding == encoding_of(info.field); });
        const bool only_condition = row != std::end(kConditionalFields) &&
                                    row->control == control && row->or_control.bit == 64;
        EXPECT_EQ(c.has_field(info.field), !only_condition) << info.name << " without bit " << bit;
      }
    }
  }
}

}  // namespace
}  // namespace nestor::vmx
