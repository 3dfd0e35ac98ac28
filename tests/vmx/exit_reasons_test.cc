// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/exit_reasons.h"

#include <gtest/gtest.h>

#include <set>
#include <sstream>

namespace nestor::vmx {
namespace {

std::string show(const QualificationItems& items) {
  std::ostringstream out;
  for (const QualificationItem& item : items) {
    if (&item != items.begin()) out << ' ';
    out << item.key << '=';
    if (item.text.empty())
      out << std::hex << item.value;
    else
      out << item.text;
  }
  return out.str();
}

std::string decode(ExitReason reason, uint64_t qualification, uint8_t vector = 0) {
  return show(decode_qualification(static_cast<uint32_t>(reason), qualification, vector));
}

TEST(ExitReasons, NumbersAscendAndNamesAreUnique) {
  int previous = -1;
  std::set<std::string_view> names;
  for (const ExitReasonInfo& info : exit_reasons()) {
    const int number = static_cast<int>(info.reason);
    EXPECT_GT(number, previous);
    previous = number;
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_EQ(find_exit_reason(static_cast<uint16_t>(number)), &info);
    // What has a format has a qualification.
    if (info.qualification != QualificationFormat::kNone) {
      EXPECT_TRUE(info.defines & kDefinesQualification) << info.name;
    }
  }
}

// "VMX Basic Exit Reasons".
TEST(ExitReasons, NumbersAndNames) {
  EXPECT_EQ(exit_reason_name(0), "Exception or NMI");
  EXPECT_EQ(exit_reason_name(2), "Triple fault");
  EXPECT_EQ(exit_reason_name(10), "CPUID");
  EXPECT_EQ(exit_reason_name(18), "VMCALL");
  EXPECT_EQ(exit_reason_name(28), "Control-register accesses");
  EXPECT_EQ(exit_reason_name(33 | kExitReasonEntryFailure),
            "VM-entry failure due to invalid guest state");
  EXPECT_EQ(exit_reason_name(48), "EPT violation");
  EXPECT_EQ(exit_reason_name(52), "VMX-preemption timer expired");
  EXPECT_EQ(exit_reason_name(55), "XSETBV");
  EXPECT_EQ(exit_reason_name(64), "XRSTORS");
  EXPECT_EQ(exit_reason_name(77), "TDCALL");
}

TEST(ExitReasons, UndefinedNumbers) {
  constexpr uint16_t kUndefined[] = {35, 38, 42, 71, 78, 127, 128, 0xffff};
  for (const uint16_t number : kUndefined) {
    EXPECT_EQ(find_exit_reason(number), nullptr) << number;
    EXPECT_EQ(exit_reason_name(number), "unknown");
    EXPECT_EQ(decode_qualification(number, ~uint64_t{0}).size(), 0u);
  }
}

TEST(ExitReasons, WhichInformationIsDefined) {
  EXPECT_EQ(find_exit_reason(48)->defines,
            kDefinesQualification | kDefinesGuestLinear | kDefinesGuestPhysical | kDefinesLength);
  EXPECT_EQ(find_exit_reason(49)->defines, kDefinesGuestPhysical);
  EXPECT_EQ(find_exit_reason(10)->defines, kDefinesLength);
  EXPECT_EQ(find_exit_reason(7)->defines, 0);
  EXPECT_EQ(find_exit_reason(21)->defines,
            kDefinesQualification | kDefinesLength | kDefinesInformation);
}

// "Guest-linear address" in "Basic VM-Exit Information".
TEST(ExitReasons, WhichExitsDefineTheGuestLinearAddress) {
  EXPECT_TRUE(find_exit_reason(48)->defines_guest_linear(1u << 7));
  EXPECT_FALSE(find_exit_reason(48)->defines_guest_linear(~uint64_t{1u << 7}));
  EXPECT_TRUE(find_exit_reason(30)->defines_guest_linear(1u << 4)) << "INS or OUTS";
  EXPECT_FALSE(find_exit_reason(30)->defines_guest_linear(0));
  EXPECT_TRUE(find_exit_reason(28)->defines_guest_linear(3u << 4 | 1u << 6)) << "LMSW from memory";
  EXPECT_FALSE(find_exit_reason(28)->defines_guest_linear(3u << 4));
  EXPECT_TRUE(find_exit_reason(66)->defines_guest_linear(0));
  EXPECT_FALSE(find_exit_reason(10)->defines_guest_linear(~uint64_t{0}));
}

// An exit happens at one time, and an instruction's own exit at none of the others.
TEST(ExitReasons, TraitsExcludeEachOther) {
  for (const ExitReasonInfo& info : exit_reasons()) {
    const int when = (info.traits & kExitOfEvent ? 1 : 0) + (info.traits & kExitOfAccess ? 1 : 0) +
                     (info.traits & kExitAtBoundary ? 1 : 0) + (info.intercept.exists ? 1 : 0);
    EXPECT_LE(when, 1) << info.name;
  }
}

TEST(Qualification, Exceptions) {
  EXPECT_EQ(decode(ExitReason::kExceptionOrNmi, 0x4003, 1), "B0=1 B1=1 BS=1");
  EXPECT_EQ(decode(ExitReason::kExceptionOrNmi, 0xdeadbeef, 14), "linear=deadbeef");
  EXPECT_EQ(decode(ExitReason::kExceptionOrNmi, 0xdeadbeef, 13), "");
}

TEST(Qualification, TaskSwitch) {
  EXPECT_EQ(decode(ExitReason::kTaskSwitch, 0xc0000028), "selector=28 source=task gate in IDT");
  EXPECT_EQ(decode(ExitReason::kTaskSwitch, 0x40000030), "selector=30 source=IRET");
}

TEST(Qualification, ControlRegisters) {
  EXPECT_EQ(decode(ExitReason::kControlRegisterAccess, 0x903), "cr=3 access=MOV to CR register=R9");
  EXPECT_EQ(decode(ExitReason::kControlRegisterAccess, 0x018),
            "cr=8 access=MOV from CR register=RAX");
  EXPECT_EQ(decode(ExitReason::kControlRegisterAccess, 0x020), "cr=0 access=CLTS");
  EXPECT_EQ(decode(ExitReason::kControlRegisterAccess, 0x00310070),
            "cr=0 access=LMSW operand=memory source=31");
}

TEST(Qualification, DebugRegisters) {
  EXPECT_EQ(decode(ExitReason::kMovDr, 0x317), "dr=7 access=MOV from DR register=RBX");
}

TEST(Qualification, Io) {
  EXPECT_EQ(decode(ExitReason::kIoInstruction, 0x03f80008),
            "port=3f8 size=1-byte direction=IN operand=DX");
  EXPECT_EQ(decode(ExitReason::kIoInstruction, 0x00f40043),
            "port=f4 size=4-byte direction=OUT operand=immediate");
  EXPECT_EQ(decode(ExitReason::kIoInstruction, 0x01f00031),
            "port=1f0 size=2-byte direction=OUT string=1 rep=1 operand=DX");
}

TEST(Qualification, EptViolation) {
  EXPECT_EQ(decode(ExitReason::kEptViolation, 0x182), "write=1 linear-valid=1 translation=1");
  EXPECT_EQ(decode(ExitReason::kEptViolation, 0x8b), "read=1 write=1 readable=1 linear-valid=1");
}

TEST(Qualification, EntryFailures) {
  EXPECT_EQ(decode(ExitReason::kEntryFailureGuestState, 4), "check=VMCS link pointer");
  EXPECT_EQ(decode(ExitReason::kEntryFailureGuestState, 0), "check=0");
  EXPECT_EQ(decode(ExitReason::kEntryFailureMsrLoading, 3), "entry=3");
}

TEST(Qualification, ApicAccess) {
  EXPECT_EQ(decode(ExitReason::kApicAccess, 0x1300), "offset=300 access=data write");
}

TEST(Qualification, LinearAddressAndDisplacement) {
  EXPECT_EQ(decode(ExitReason::kInvlpg, 0x7fff0000), "linear=7fff0000");
  EXPECT_EQ(decode(ExitReason::kInvept, 0xfffffffffffffff8), "displacement=fffffffffffffff8");
  EXPECT_EQ(decode(ExitReason::kCpuid, 5), "");
}

TEST(InterruptionInformation, Decoded) {
  EXPECT_EQ(show(decode_interruption_information(0x80000b0e)),
            "vector=e type=hardware exception error-code=1");
  EXPECT_EQ(show(decode_interruption_information(0x80001202)),
            "vector=2 type=non-maskable interrupt (NMI) nmi-unblocking=1");
  EXPECT_EQ(show(decode_interruption_information(0x00000b0e)), "");
}

}  // namespace
}  // namespace nestor::vmx
