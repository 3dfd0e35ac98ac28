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

class KeptTranslations : public RemappedPage, public testing::WithParamInterface<bool> {
 protected:
  KeptTranslations() { config_.processor.keep_translations = GetParam(); }
  static uint32_t expected() { return (GetParam() ? kOld : kNew) << 4 | kNew; }
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
  const uint32_t seen = GetParam() ? kOld : kNew;
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
    EXPECT_EQ(wakes(store_old, guest), GetParam());
    EXPECT_EQ(wakes(store_new, guest), !GetParam());
  }
  enable_ept();
  EXPECT_EQ(wakes(store_old, true), GetParam());
  EXPECT_EQ(wakes(store_new, true), !GetParam());
}

INSTANTIATE_TEST_SUITE_P(Tlb, KeptTranslations, testing::Bool(),
                         [](const auto& mode) { return mode.param ? "keep" : "flush"; });

// L0's VM exits leave L1's translations alone, as they have a VPID; where L0 shadows L1's own page
// tables, any INVLPG empties them.
class KeptBelowL0 : public RemappedPage, public testing::WithParamInterface<L0ModeInfo> {
 protected:
  KeptBelowL0() {
    config_.processor.keep_translations = true;
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
