// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/exceptions.h"

#include <gtest/gtest.h>

#include <string>

#include "vmx/vmx_aborts.h"

namespace nestor::vmx {
namespace {

// "Protected-Mode Exceptions and Interrupts".
TEST(Exceptions, WhichPushAnErrorCode) {
  for (unsigned vector = 0; vector < 256; ++vector) {
    const bool expected =
        vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21;
    EXPECT_EQ(exception_info(static_cast<uint8_t>(vector)).error_code, expected) << vector;
  }
}

// "Interrupt and Exception Classes".
TEST(Exceptions, Classes) {
  std::string classes;
  for (const ExceptionInfo& info : kExceptions)
    classes += "bcpd"[static_cast<size_t>(info.exception_class)];
  EXPECT_EQ(classes, "cbbbbbbbdbccccpbbbbbpcbbbbbbbbbb");
}

TEST(Exceptions, Mnemonics) {
  EXPECT_EQ(exception_info(0).mnemonic, "#DE");
  EXPECT_EQ(exception_info(2).mnemonic, "NMI");
  EXPECT_EQ(exception_info(9).mnemonic, "");
  EXPECT_EQ(exception_info(14).mnemonic, "#PF");
  EXPECT_EQ(exception_info(19).mnemonic, "#XM");
  EXPECT_EQ(exception_info(21).mnemonic, "#CP");
  EXPECT_EQ(exception_info(22).mnemonic, "");
  EXPECT_EQ(exception_info(32).mnemonic, "");
}

TEST(VmxAborts, Texts) {
  EXPECT_EQ(vmx_abort_text(0), "unknown");
  EXPECT_EQ(vmx_abort_text(1), "failure in saving guest MSRs");
  EXPECT_EQ(vmx_abort_text(6), "VM exit from 64-bit mode to a host that is not");
  EXPECT_EQ(vmx_abort_text(7), "unknown");
}

}  // namespace
}  // namespace nestor::vmx
