// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/mail_text.h"

#include <gtest/gtest.h>

namespace nestor::emu {
namespace {

TEST(MailText, DecodesQuotedPrintableAndKeepsTheLines) {
  EXPECT_EQ(decoded_mail("CR3 =3D=20\n0x1000\nRIP =3D 0x10=\n00=\n00\nRSP=3D2\n"),
            "CR3 = \n0x1000\nRIP = 0x100000\n\n\nRSP=2\n");
  EXPECT_EQ(decoded_mail("a=3D1=C2=A0=C2=A0b=\r\n=3D2"), "a=1  b=2");
}

TEST(MailText, LeavesOtherTextAsItIs) {
  for (const char* text :
       {"", "CR3 = 0x1000", "PIN=3D CPU=b5986dfa", "a =3D b = c", "x=", "no equals sign", "=C3=A9"})
    EXPECT_EQ(decoded_mail(text), text);
}

}  // namespace
}  // namespace nestor::emu
