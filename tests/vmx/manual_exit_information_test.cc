// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the manual says each VM exit records, and what each bit of its exit qualification means
// ("Basic VM-Exit Information", "Information for VM Exits Due to Instruction Execution").
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "vmx/exit_reasons.h"

namespace nestor::vmx {
namespace {

// By basic exit reason. Q: exit qualification, L: guest-linear address, P: guest-physical address,
// N: VM-exit instruction length, I: VM-exit instruction information, E: VM-exit interruption
// information, each if it is recorded for some exit of the reason; nullptr: no such reason, or none
// that the manual's lists name.
constexpr const char* kRecorded[] = {
    "QNE",   "E",     "",      "",      "Q",    // 0: exception, interrupt, triple, INIT, SIPI
    nullptr, "",      "",      "",      "QN",   // 5: SMIs, windows, task switch
    "N",     "N",     "N",     "N",     "QN",   // 10: CPUID, GETSEC, HLT, INVD, INVLPG
    "N",     "N",     "N",     "N",     "QNI",  // 15: RDPMC, RDTSC, RSM, VMCALL, VMCLEAR
    "N",     "QNI",   "QNI",   "QNI",   "N",    // 20: VMLAUNCH, VMPTRLD, VMPTRST, VMREAD
    "QNI",   "N",     "QNI",   "QLN",   "QN",   // 25: VMWRITE, VMXOFF, VMXON, MOV CR, MOV DR
    "QLNI",  "N",     "N",     "Q",     "Q",    // 30: I/O, RDMSR, WRMSR, entry failures
    nullptr, "QN",    "",      nullptr, "N",    // 35: MWAIT, MTF, MONITOR
    "N",     "",      nullptr, "",      "QN",   // 40: PAUSE, machine check, TPR, APIC access
    "Q",     "QNI",   "QNI",   "QLPN",  "P",    // 45: EOI, GDTR, LDTR, EPT
    "QNI",   "N",     "",      "QNI",   "QN",   // 50: INVEPT, RDTSCP, timer, INVVPID, WBINVD
    "N",     "Q",     "NI",    "QNI",   "N",    // 55: XSETBV, APIC write, RDRAND, INVPCID
    "N",     "NI",    "QN",    "QNI",   "QNI",  // 60: ENCLS, RDSEED, PML, XSAVES, XRSTORS
    "N",     "QLPN",  "NI",    "NI",    "NI",   // 65: PCONFIG, SPP, UMWAIT, TPAUSE, LOADIWKEY
    nullptr, nullptr, "Q",     "Q",     "",
    "Q",  // 70: ENCLV, ENQCMD, ENQCMDS, bus lock, timeout
};

TEST(ExitInformationOfTheManual, WhatEachReasonRecords) {
  const std::pair<char, uint8_t> letters[] = {
      {'Q', kDefinesQualification}, {'L', kDefinesGuestLinear}, {'P', kDefinesGuestPhysical},
      {'N', kDefinesLength},        {'I', kDefinesInformation}, {'E', kDefinesInterruption}};
  uint16_t number = 0;
  for (const char* recorded : kRecorded) {
    const ExitReasonInfo* info = find_exit_reason(number++);
    if (recorded == nullptr) continue;
    ASSERT_NE(info, nullptr) << number - 1;
    std::string actual;
    for (const auto& [letter, bit] : letters)
      if (info->defines & bit) actual += letter;
    EXPECT_EQ(actual, recorded) << info->name;
  }
}

// A part of a qualification: bits high:low, always reported, or a flag that is reported when it is
// 1.
struct Part {
  const char* key;
  unsigned high, low;
  bool flag = false;
};
constexpr Part flag(const char* key, unsigned bit) { return {key, bit, bit, true}; }

// `fixed`: bits that choose the format; `varied`: those that are tried in turn.
struct Format {
  std::vector<ExitReason> reasons;
  uint64_t fixed, varied;
  uint8_t vector;
  std::vector<Part> parts;
};

const std::vector<Format>& formats() {
  using enum ExitReason;
  constexpr uint64_t kAll = ~uint64_t{0}, kButCrAccess = ~uint64_t{0x30};
  static const std::vector<Format> kFormats = {
      {{kExceptionOrNmi},
       0,
       kAll,
       1,
       {flag("B0", 0), flag("B1", 1), flag("B2", 2), flag("B3", 3), flag("BLD", 11), flag("BD", 13),
        flag("BS", 14), flag("RTM", 16)}},
      {{kExceptionOrNmi}, 0, kAll, 14, {{"linear", 63, 0}}},
      {{kExceptionOrNmi}, 0, kAll, 13, {}},
      {{kSipi}, 0, kAll, 0, {{"vector", 7, 0}}},
      {{kTaskSwitch}, 0, kAll, 0, {{"selector", 15, 0}, {"source", 31, 30}}},
      {{kInvlpg}, 0, kAll, 0, {{"linear", 63, 0}}},
      {{kInvept, kInvpcid, kInvvpid, kGdtrIdtrAccess, kLdtrTrAccess, kVmclear, kVmptrld, kVmptrst,
        kVmread, kVmwrite, kVmxon, kXrstors, kXsaves},
       0,
       kAll,
       0,
       {{"displacement", 63, 0}}},
      {{kControlRegisterAccess},
       0x00,
       kButCrAccess,
       0,
       {{"cr", 3, 0}, {"access", 5, 4}, {"register", 11, 8}}},
      {{kControlRegisterAccess},
       0x10,
       kButCrAccess,
       0,
       {{"cr", 3, 0}, {"access", 5, 4}, {"register", 11, 8}}},
      {{kControlRegisterAccess}, 0x20, kButCrAccess, 0, {{"cr", 3, 0}, {"access", 5, 4}}},
      {{kControlRegisterAccess},
       0x30,
       kButCrAccess,
       0,
       {{"cr", 3, 0}, {"access", 5, 4}, {"operand", 6, 6}, {"source", 31, 16}}},
      {{kMovDr}, 0, kAll, 0, {{"dr", 2, 0}, {"access", 4, 4}, {"register", 11, 8}}},
      {{kIoInstruction, kIoSmi},
       0,
       kAll,
       0,
       {{"size", 2, 0},
        {"direction", 3, 3},
        flag("string", 4),
        flag("rep", 5),
        {"operand", 6, 6},
        {"port", 31, 16}}},
      {{kApicAccess},
       0,
       kAll,
       0,
       {{"offset", 11, 0}, {"access", 15, 12}, flag("asynchronous", 16)}},
      {{kVirtualizedEoi, kApicWrite}, 0, 0xfff, 0, {{"offset", 11, 0}}},
      {{kEptViolation},
       0,
       kAll,
       0,
       {flag("read", 0), flag("write", 1), flag("fetch", 2), flag("readable", 3),
        flag("writable", 4), flag("executable", 5), flag("user-executable", 6),
        flag("linear-valid", 7), flag("translation", 8), flag("user-linear", 9),
        flag("page-writable", 10), flag("page-execute-disable", 11), flag("nmi-unblocking", 12),
        flag("shadow-stack", 13), flag("supervisor-shadow-stack-page", 14),
        flag("guest-paging-verification", 15), flag("asynchronous", 16)}},
      {{kMwait}, 0, 1, 0, {{"armed", 0, 0}}},
      {{kEntryFailureGuestState}, 0, kAll, 0, {{"check", 63, 0}}},
      {{kEntryFailureMsrLoading}, 0, kAll, 0, {{"entry", 63, 0}}},
      {{kPmlFull}, 0, kAll, 0, {flag("nmi-unblocking", 12), flag("asynchronous", 16)}},
      {{kSppRelatedEvent},
       0,
       kAll,
       0,
       {{"event", 11, 11}, flag("nmi-unblocking", 12), flag("asynchronous", 16)}},
      {{kInstructionTimeout}, 0, kAll, 0, {flag("context-invalid", 0), flag("nmi-unblocking", 12)}},
  };
  return kFormats;
}

std::map<std::string_view, uint64_t> decoded(ExitReason reason, uint64_t qualification,
                                             uint8_t vector) {
  std::map<std::string_view, uint64_t> items;
  for (const QualificationItem& item :
       decode_qualification(static_cast<uint32_t>(reason), qualification, vector))
    EXPECT_TRUE(items.emplace(item.key, item.value).second) << item.key << " twice";
  return items;
}

std::map<std::string_view, uint64_t> expected_of(const Format& format, uint64_t qualification) {
  std::map<std::string_view, uint64_t> items;
  for (const Part& part : format.parts) {
    const uint64_t value =
        qualification >> part.low & (~uint64_t{0} >> (63 - part.high + part.low));
    if (!part.flag || value != 0) items.emplace(part.key, value);
  }
  return items;
}

TEST(ExitInformationOfTheManual, EachBitOfEachQualification) {
  for (const Format& format : formats()) {
    for (const ExitReason reason : format.reasons) {
      for (unsigned bit = 0; bit < 64; ++bit) {
        if (!(format.varied >> bit & 1)) continue;
        const uint64_t value = format.fixed | uint64_t{1} << bit;
        EXPECT_EQ(decoded(reason, value, format.vector), expected_of(format, value))
            << static_cast<int>(reason) << " bit " << bit;
      }
      EXPECT_EQ(decoded(reason, format.fixed, format.vector), expected_of(format, format.fixed));
      const uint64_t all = format.fixed | format.varied;
      EXPECT_EQ(decoded(reason, all, format.vector), expected_of(format, all));
    }
  }
}

TEST(ExitInformationOfTheManual, OtherReasonsHaveNoQualificationToDecode) {
  for (const ExitReasonInfo& info : exit_reasons()) {
    bool known = false;
    for (const Format& format : formats())
      for (const ExitReason reason : format.reasons) known |= reason == info.reason;
    if (known) continue;
    EXPECT_EQ(decode_qualification(static_cast<uint32_t>(info.reason), ~uint64_t{0}).size(), 0u)
        << info.name;
  }
}

// What the values are called, by key; "": the value has no name.
struct Names {
  ExitReason reason;
  uint64_t fixed;
  unsigned low;
  const char* key;
  std::vector<const char*> names;
};

TEST(ExitInformationOfTheManual, NamesOfValues) {
  using enum ExitReason;
  const std::vector<const char*> gprs = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                         "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15"};
  const Names tables[] = {
      {kTaskSwitch, 0, 30, "source", {"CALL", "IRET", "JMP", "task gate in IDT"}},
      {kControlRegisterAccess, 0, 4, "access", {"MOV to CR", "MOV from CR", "CLTS", "LMSW"}},
      {kControlRegisterAccess, 0x30, 6, "operand", {"register", "memory"}},
      {kControlRegisterAccess, 0, 8, "register", gprs},
      {kControlRegisterAccess, 0x10, 8, "register", gprs},
      {kMovDr, 0, 4, "access", {"MOV to DR", "MOV from DR"}},
      {kMovDr, 0, 8, "register", gprs},
      {kIoInstruction, 0, 0, "size", {"1-byte", "2-byte", "", "4-byte", "", ""}},
      {kIoInstruction, 0, 3, "direction", {"OUT", "IN"}},
      {kIoInstruction, 0, 6, "operand", {"DX", "immediate"}},
      {kApicAccess,
       0,
       12,
       "access",
       {"data read", "data write", "instruction fetch", "event delivery", "monitoring", "", "", "",
        "", "", "guest-physical access during event delivery",
        "guest-physical access for monitoring or trace", "", "", "",
        "guest-physical access for an instruction fetch or during instruction execution"}},
      {kEntryFailureGuestState,
       0,
       0,
       "check",
       {"", "", "PDPTEs", "NMI injection", "VMCS link pointer", ""}},
      {kSppRelatedEvent, 0, 11, "event", {"SPP misconfiguration", "SPP miss"}},
  };
  for (const Names& table : tables) {
    uint64_t value = 0;
    for (const char* name : table.names) {
      const QualificationItems items = decode_qualification(static_cast<uint32_t>(table.reason),
                                                            table.fixed | value << table.low);
      bool found = false;
      for (const QualificationItem& item : items) {
        if (item.key != table.key) continue;
        found = true;
        EXPECT_EQ(item.value, value) << table.key;
        EXPECT_EQ(item.text, name) << table.key << ' ' << value;
      }
      EXPECT_TRUE(found) << table.key;
      ++value;
    }
  }
}

// "VM-Exit Interruption-Information Field", and its two likes.
TEST(ExitInformationOfTheManual, InterruptionInformation) {
  constexpr std::string_view kTypes[] = {
      "external interrupt",           "",
      "non-maskable interrupt (NMI)", "hardware exception",
      "software interrupt",           "privileged software exception",
      "software exception",           "other event"};
  for (unsigned bit = 0; bit < 31; ++bit) {
    const uint32_t information = 1u << 31 | 1u << bit;
    const QualificationItems items = decode_interruption_information(information);
    ASSERT_GE(items.size(), 2u);
    EXPECT_EQ(items[0].key, "vector");
    EXPECT_EQ(items[0].value, information & 0xff);
    EXPECT_EQ(items[1].key, "type");
    EXPECT_EQ(items[1].value, information >> 8 & 7);
    EXPECT_EQ(items[1].text, kTypes[information >> 8 & 7]);
    ASSERT_EQ(items.size(), bit == 11 || bit == 12 ? 3u : 2u) << bit;
    if (bit == 11 || bit == 12) {
      EXPECT_EQ(items[2].key, bit == 11 ? "error-code" : "nmi-unblocking");
      EXPECT_EQ(items[2].value, 1u);
    }
    EXPECT_EQ(decode_interruption_information(1u << bit).size(), 0u) << "not valid";
  }
  for (uint32_t type = 0; type < 8; ++type)
    EXPECT_EQ(decode_interruption_information(1u << 31 | type << 8)[1].text, kTypes[type]);
}

}  // namespace
}  // namespace nestor::vmx
