// SPDX-License-Identifier: GPL-2.0-or-later
//
// With --tlb keep a translation that was used stays until it is invalidated, wherever the code that
// uses it runs; without, it goes with any invalidation.
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

class RemappedPage : public NestedMachineTest {
 protected:
  // A page for data at 80000H, then at 81000H.
  static constexpr uint32_t kOld = 1, kNew = 2;

  RemappedPage() {
    put(kData, kOld);
    put(kData + kPage, kNew);
  }
  // The values that it reads: after INVLPG of another page, and after its own.
  static Code reading() {
    return ASM64(
        "mov eax, [0x80000]; mov dword ptr [0xa400], 0x81007; invlpg [0x83000]; "
        "mov eax, [0x80000]; invlpg [0x80000]; mov ecx, [0x80000]; "
        "shl eax, 4; or eax, ecx; out 0xf4, eax");
  }
};

class KeptTranslations : public RemappedPage, public testing::WithParamInterface<TlbModel> {
 protected:
  KeptTranslations() { config_.processor.tlb = GetParam(); }
  static bool keeps() { return GetParam() == TlbModel::kKeep; }
  static uint32_t expected() { return (keeps() ? kOld : kNew) << 4 | kNew; }
};

TEST_P(KeptTranslations, InVmxRootOperation) { EXPECT_EQ(run(reading()).code, status(expected())); }

TEST_P(KeptTranslations, InNonRootOperation) {
  EXPECT_EQ(run_guest(reading()).code, status(expected()));
}

TEST_P(KeptTranslations, OverEpt) {
  enable_ept();
  EXPECT_EQ(run_guest(reading()).code, status(expected()));
}

// INVLPG reaches no mapping of guest-physical addresses.
TEST_P(KeptTranslations, OfGuestPhysicalAddresses) {
  enable_ept();
  const Code guest = ASM64(
      "mov eax, [0x80000]; mov dword ptr [0x16400], 0x81407; invlpg [0x83000]; "
      "mov eax, [0x80000]; invlpg [0x80000]; mov ecx, [0x80000]; "
      "shl eax, 4; or eax, ecx; out 0xf4, eax");
  const uint32_t seen = keeps() ? kOld : kNew;
  EXPECT_EQ(run_guest(guest).code, status(seen << 4 | seen));
}

// A walk from a cached PDE that ends in a fault is made again from the root, be it the engine or
// the model that asks: LMSW is the model's.
TEST_P(KeptTranslations, OfATableDoNotFault) {
  constexpr uint64_t kOldTable = 0x30000, kNewTable = 0x31000, kDirectoryEntry = kPml4 + 0x2008;
  static_assert(kDirectoryEntry == 0x6008);
  put(kOldTable, kData | kAll);
  put(kNewTable, kData | kAll);
  put(kNewTable + 8, (kData + kPage) | kAll);
  handle(vmx::kPf, exit_with(14));
  const Code stale = ASM64("mov eax, [0x200000]; mov dword ptr [0x6008], 0x31007");
  const auto expect_no_fault = [&](bool guest) {
    for (const Code& access :
         {Code(ASM64("mov eax, [0x201000]")), Code(ASM64("lmsw word ptr [0x201000]"))}) {
      put(kDirectoryEntry, kOldTable | kAll);
      const Code code = stale + access + exit_with(1);
      EXPECT_EQ((guest ? run_guest(code) : run(code)).code, status(1)) << guest;
    }
  };
  expect_no_fault(false);
  expect_no_fault(true);
  enable_ept();
  expect_no_fault(true);
}

// Software need not invalidate what has refused an access.
TEST_P(KeptTranslations, ThatRefuseAnAccessAreDropped) {
  handle(vmx::kPf, ASM64("mov dword ptr [0xa400], 0x81007; mov [rsp + 8], rbx; add rsp, 8; iretq"));
  const Code code = ASM64(
      "mov eax, [0x80000]; lea rbx, [rip + 2f]; mov dword ptr [0x80000], 5; "
      "2: mov ecx, [0x80000]; shl eax, 4; or eax, ecx; out 0xf4, eax");
  const auto expect_new_page = [&](bool guest) {
    map(kData, kData | kPresent | kUser);
    EXPECT_EQ((guest ? run_guest(code) : run(code)).code, status(kOld << 4 | kNew)) << guest;
  };
  expect_new_page(false);
  expect_new_page(true);
  enable_ept();
  expect_new_page(true);
}

// L1 gives L2 another page, L2 reads before and after.
class KeptAcrossVmExits : public RemappedPage {
 protected:
  static inline const Code kReading = ASM64(
      "mov edx, [0x80000]; vmcall; mov eax, [0x80000]; shl edx, 4; or eax, edx; out 0xf4, eax");
  // `next`: what L1 does before it goes on behind VMCALL.
  static Code exchange_page(const Code& next = {}) {
    return ASM64("mov dword ptr [0x16400], 0x81407") + next +
           ASM64("mov ecx, 0x681e; vmread rax, rcx; add rax, 3; vmwrite rcx, rax; vmresume");
  }
  KeptAcrossVmExits() { enable_ept(); }
  void enable_vpid() {
    enable(vmx::SecondaryProcBased::kEnableVpid);
    vmcs_.write(vmx::Field::kVirtualProcessorIdentifier, 1);
  }
  // The value that L2 reads at last; `model`: how long translations are kept.
  uint32_t seen(TlbModel model, const Code& exit) {
    config_.processor.tlb = model;
    map_guest(kData, kData | kEptAll | kEptUserExecute);
    return run_guest(kReading, exit).code;
  }
  static constexpr uint32_t kStale = status(kOld << 4 | kOld), kFresh = status(kOld << 4 | kNew);
};

TEST_F(KeptAcrossVmExits, WithAVpid) {
  enable_vpid();
  EXPECT_EQ(seen(TlbModel::kFlush, exchange_page()), kFresh);
  EXPECT_EQ(seen(TlbModel::kTagged, exchange_page()), kStale);
  EXPECT_EQ(seen(TlbModel::kKeep, exchange_page()), kStale);
}

// Combined mappings go; guest-physical ones, which only kKeep has, stay.
TEST_F(KeptAcrossVmExits, WithoutVpids) {
  EXPECT_EQ(seen(TlbModel::kFlush, exchange_page()), kFresh);
  EXPECT_EQ(seen(TlbModel::kTagged, exchange_page()), kFresh);
  EXPECT_EQ(seen(TlbModel::kKeep, exchange_page()), kStale);
}

TEST_F(KeptAcrossVmExits, UntilInvept) {
  enable_vpid();
  put<uint64_t>(kScratch, kEpt | 0x1e);
  const Code exit = exchange_page(ASM64("mov ecx, 1; invept rcx, [0x20000]"));
  EXPECT_EQ(seen(TlbModel::kTagged, exit), kFresh);
  EXPECT_EQ(seen(TlbModel::kKeep, exit), kFresh);
}

// Another CR3 or other rights than before are no translations of before.
TEST_F(KeptAcrossVmExits, ButNotWithOtherRules) {
  enable_vpid();
  const Code exit = exchange_page(ASM64("mov ecx, 0x6800; mov rax, 0x80000031; vmwrite rcx, rax"));
  EXPECT_EQ(seen(TlbModel::kTagged, exit), kFresh) << "CR0.WP";
}

// The store is what EPT refuses; behind it L2 reads again.
TEST_F(KeptAcrossVmExits, ButNotWhatRefusesAnAccess) {
  enable_vpid();
  for (const TlbModel model : {TlbModel::kFlush, TlbModel::kTagged, TlbModel::kKeep}) {
    config_.processor.tlb = model;
    map_guest(kData, kData | 1);
    const Code exit = ASM64(
        "mov dword ptr [0x16400], 0x81407; mov ecx, 0x681e; "
        "vmread rax, rcx; add rax, 11; vmwrite rcx, rax; vmresume");
    const Code code = ASM64(
        "mov edx, [0x80000]; mov dword ptr [0x80000], 5; mov eax, [0x80000]; "
        "shl edx, 4; or eax, edx; out 0xf4, eax");
    EXPECT_EQ(run_guest(code, exit).code, kFresh) << static_cast<int>(model);
  }
}

// Nor what refuses the delivery of an event that VM entry injects, before L2 has executed anything.
TEST_F(KeptAcrossVmExits, ButNotWhatRefusesADelivery) {
  constexpr uint64_t kStackPage = kKernelStack - kPage;
  static_assert(kEptPageTable + 8 * (kStackPage >> 12) == 0x16468);
  enable_vpid();
  handle(vmx::kUd, exit_with(15));
  for (const TlbModel model : {TlbModel::kFlush, TlbModel::kTagged, TlbModel::kKeep}) {
    config_.processor.tlb = model;
    put(kStackPage, kOld);
    map_guest(kStackPage, kStackPage | 1);
    // The first VM exit injects #UD, whose frame EPT refuses; the second gives another page.
    const Code exit = ASM64(
        "inc r15d; cmp r15d, 2; je 3f; mov ecx, 0x4016; mov eax, 0x80000306; vmwrite rcx, rax; "
        "vmresume; 3: mov dword ptr [0x16468], 0x81407; mov ecx, 0x681e; vmread rax, rcx; "
        "add rax, 3; vmwrite rcx, rax; vmresume");
    const Code code = ASM64(
        "mov edx, [0x8d000]; vmcall; mov eax, [0x8d000]; shl edx, 4; or eax, edx; out 0xf4, eax");
    EXPECT_EQ(run_guest(code, exit).code, kFresh) << static_cast<int>(model);
  }
}

// MONITOR watches the page that an access would reach: only a store to that one ends MWAIT.
TEST_P(KeptTranslations, OfAWatchedLine) {
  map(0x82000, kData | kAll);  // the old page, once 80000H has the new one
  const Code monitor = ASM64(
      "mov eax, [0x80000]; mov dword ptr [0xa400], 0x81007; invlpg [0x83000]; "
      "mov eax, 0x80000; xor ecx, ecx; xor edx, edx; monitor");
  const Code wait = ASM64("mwait") + exit_with(1);
  const Code store_old = monitor + ASM64("mov dword ptr [0x82000], 3") + wait;
  const Code store_new = monitor + ASM64("mov dword ptr [0x81000], 3") + wait;
  const auto wakes = [this](const Code& code, bool guest) {
    map(kData, kData | kAll);
    return (guest ? run_guest(code) : run(code)).kind == RunEnd::Kind::kDebugExit;
  };
  for (const bool guest : {false, true}) {
    EXPECT_EQ(wakes(store_old, guest), keeps());
    EXPECT_EQ(wakes(store_new, guest), !keeps());
  }
  enable_ept();
  EXPECT_EQ(wakes(store_old, true), keeps());
  EXPECT_EQ(wakes(store_new, true), !keeps());
}

INSTANTIATE_TEST_SUITE_P(Tlb, KeptTranslations,
                         testing::Values(TlbModel::kFlush, TlbModel::kTagged, TlbModel::kKeep));

// A write that relies on a cleared dirty flag is told by what brings that flag back.
TEST_F(RemappedPage, IsWrittenWithItsDirtyFlagsCleared) {
  enable_ept(kEptAccessedDirty);
  config_.processor.tlb = TlbModel::kKeep;
  const auto missing = [this](const Code& clear) -> std::string {
    map(kData, kData | kAll);
    const Code write = ASM64("mov dword ptr [0x80000], 5"), other = ASM64("invlpg [0x83000]");
    EXPECT_EQ(run_guest(write + clear + other + write + exit_with(1)).code, status(1));
    if (record_.stale.size() != 1) return "";
    EXPECT_TRUE(record_.stale[0].dirty_flag_cleared);
    return std::string(record_.stale[0].missing);
  };
  EXPECT_EQ(missing(ASM64("nop")), "");
  EXPECT_EQ(missing(ASM64("btr dword ptr [0x16400], 9")), "INVEPT");
  EXPECT_EQ(missing(ASM64("btr dword ptr [0xa400], 6")),
            "INVLPG, INVPCID or MOV to CR3 by L2; or INVVPID, or INVEPT");
}

// L0's VM exits leave L1's translations alone, as they have a VPID; where L0 shadows L1's own page
// tables, any INVLPG empties them.
class KeptBelowL0 : public RemappedPage, public testing::WithParamInterface<L0ModeInfo> {
 protected:
  KeptBelowL0() {
    config_.processor.tlb = TlbModel::kKeep;
    config_.l0.mode = GetParam().mode;
  }
};

TEST_P(KeptBelowL0, ByL1) {
  const uint32_t kept = GetParam().l0_uses_ept ? kOld : kNew;
  const Code exits = ASM64("mov eax, [0x80000]; cpuid");
  const RunResult result = run(exits + reading());
  EXPECT_EQ(result.code, status(kept << 4 | kNew));
  EXPECT_EQ(result.stale_translations != 0, GetParam().l0_uses_ept);
}

INSTANTIATE_TEST_SUITE_P(L0, KeptBelowL0, testing::ValuesIn(std::span(kL0Modes).subspan(1)),
                         [](const auto& mode) {
                           std::string name(mode.param.name);
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace nestor::emu
