// SPDX-License-Identifier: GPL-2.0-or-later
//
// Instructions that the model executes in the midst of the engine's code: wherever they stand, and
// whatever is done to them.
#include <array>
#include <set>

#include "emu/machine/inspection.h"
#include "emu/machine/state_file.h"
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::Pair;
using vmx::ExitReason;
using vmx::Field;

// Descriptors that nothing has accessed, behind those of the fixture.
constexpr uint16_t kNewData = 0x40, kNewCode = 0x48, kNewUserData = 0x53, kNewUserCode = 0x5b;
const Code kLoadDs = ASM64("mov ds, eax"), kLongLoad = {0x48, 0x8e, 0xd8},
           kTwoNops = ASM64("nop; nop");

class ModelledCode : public NestedMachineTest {
 protected:
  ModelledCode() {
    put(kGdt + kNewData, 0x00cf92000000ffff);
    put(kGdt + kNewCode, 0x00af9a000000ffff);
    put(kGdt + (kNewUserData & ~3u), 0x00cff2000000ffff);
    put(kGdt + (kNewUserCode & ~3u), 0x00affa000000ffff);
    cpu_.gdtr.limit = 0x5f;
    vmcs_.write(Field::kGuestGdtrLimit, 0x5f);
  }
  // Memory as the run has left it.
  uint8_t byte_at(uint64_t address) {
    std::array<uint8_t, 1> byte{};
    EXPECT_EQ(machine_->inspection()->read(0, View::kL1Physical, address, byte), 1u);
    return byte[0];
  }
  bool accessed(uint16_t selector) { return byte_at(kGdt + (selector & ~7u) + 5) & 1; }
  // push selector; push offset, as far RET wants them.
  static Code push_pointer(uint16_t selector, uint64_t offset) {
    Code code = ASM64("push 0; push 0");
    code[1] = static_cast<uint8_t>(selector);
    Code low = {0x68, 0, 0, 0, 0};
    const auto value = static_cast<uint32_t>(offset);
    std::memcpy(&low[1], &value, 4);
    return Code(code.begin(), code.begin() + 2) + low;
  }
  static Code set_eax(uint32_t value) {
    Code code = {0xb8, 0, 0, 0, 0};
    std::memcpy(&code[1], &value, 4);
    return code;
  }
  // Ends the run with DS.
  static Code exit_with_ds() { return ASM64("mov eax, ds; out 0xf4, eax"); }
};

// --- where they stand

TEST_F(ModelledCode, AtEachOffsetOfAPage) {
  for (unsigned before = 0xff0; before <= 0x1002; ++before) {
    SCOPED_TRACE(before);
    put_code(kCode, nops(0x1010));
    put_code(kCode + before - 5, set_eax(kNewData));
    put_code(kCode + before, kLongLoad + exit_with_ds());
    cpu_.rip = kCode + 0xf00;
    const RunResult result = run();
    EXPECT_EQ(result.code, status(kNewData)) << result.detail;
    EXPECT_EQ(result.instructions, before - 5 - 0xf00 + 4);
    EXPECT_TRUE(accessed(kNewData));
  }
}

TEST_F(ModelledCode, AcrossAPageThatCannotBeFetched) {
  const uint64_t page = kCode + kPage;
  handle(vmx::kPf, exit_with(14));
  map(page, 0);
  put_code(page - 8, set_eax(kNewData) + kNop + kLongLoad);
  cpu_.rip = page - 8;
  EXPECT_EQ(run().code, status(14));
  ASSERT_EQ(record_.exceptions.size(), 1u);
  EXPECT_EQ(record_.exceptions[0], (Exception{vmx::kPf, 0x10, page - 2, page}));
  EXPECT_FALSE(accessed(kNewData));
}

TEST_F(ModelledCode, OneBehindTheOtherAndAsTargets) {
  // The jump goes to the second of them, then to the first.
  const Code code = set_eax(kNewData) +
                    ASM64(
                        "xor edi, edi; jmp 3f; 2: mov es, eax; 3: mov ds, eax; mov fs, eax; "
                        "inc edi; cmp edi, 3; jne 2b; mov ecx, es; mov edx, fs; cmp ecx, edx; "
                        "je 4f; ud2; 4:") +
                    exit_with_ds();
  const RunResult result = run(code);
  EXPECT_EQ(result.code, status(kNewData)) << result.detail;
  EXPECT_EQ(result.instructions, 3u + 5 + 2 * 6 + 4 + 2);
}

TEST_F(ModelledCode, BehindInstructionsThatAreNotInTheManual) {
  const Code kUnknown[] = {
      {0x0f, 0x1e, 0xc0},        // a hint of one day: NOP
      {0x66, 0x0f, 0x1e, 0xc0},  //
      {0x0f, 0x0d, 0x18},        // PREFETCH with another hint
      {0xdc, 0xd0},              // FCOM, FXCH, FSTP and FCOMP again
      {0xdd, 0xc8},
      {0xde, 0xd0},
      {0xdf, 0xd0},
      {0x0f, 0xae, 0xe9},  // LFENCE
  };
  put_code(kHandlers, exit_with(5));
  // The block goes on with it, or begins with it.
  for (const Code& before : {kNop, Code(ASM64("jmp 2f; 2:"))}) {
    for (const Code& unknown : kUnknown) {
      SCOPED_TRACE(testing::PrintToString(before + unknown));
      handle(vmx::kUd, exit_with(6));
      put_code(kHandlers, exit_with(5));
      cpu_.gpr[vmx::kRax] = kData;
      const RunResult result =
          run(push_pointer(kNewCode, kHandlers) + before + unknown + ASM64("retfq"));
      // Who does not know it says so.
      if (result.code == status(6)) continue;
      EXPECT_EQ(result.code, status(5));
      EXPECT_EQ(result.instructions, 7u);
      EXPECT_TRUE(accessed(kNewCode));
    }
  }
}

// --- code that is changed

TEST_F(ModelledCode, MadeByTheCodeBeforeIt) {
  // mov word [target], 0xd88e: what was a NOP twice is MOV DS.
  for (const bool before : {false, true}) {
    Code store = ASM64("mov word ptr [0], 0x9090");
    const auto make = [&](uint64_t target, const Code& bytes) {
      Code made = store;
      const auto address = static_cast<uint32_t>(target);
      std::memcpy(&made[4], &address, 4);
      std::memcpy(&made[8], bytes.data(), 2);
      return made;
    };
    const Code& from = before ? kLoadDs : kTwoNops;
    const Code& to = before ? kTwoNops : kLoadDs;
    const uint64_t target = kCode + 5 + 10 + 1;
    // Twice the same: in one block, and one that has been translated.
    const Code code = set_eax(kNewData) + make(target, to) + kNop + from + exit_with_ds();
    ASSERT_EQ(code.size(), 5 + 10 + 1 + 2 + exit_with_ds().size());
    const RunResult result = run(code);
    EXPECT_EQ(result.code, status(before ? kData64 : kNewData)) << before;
    EXPECT_EQ(accessed(kNewData), !before);
    EXPECT_EQ(result.instructions, before ? 7u : 6u);
  }
}

// The engine takes the flags that CMPXCHG8B leaves alone from the end of the block before.
TEST_F(ModelledCode, CmpxchgOfTwoWordsKeepsTheFlagsOfItsBlock) {
  for (const Code& exchange :
       {ASM64("cmpxchg8b [rdi]"), ASM64("lock cmpxchg8b [rdi]"), ASM64("cmpxchg16b [rdi]")}) {
    put_code(kCode, ASM64("mov edi, 0x80000; xor edx, edx; jmp 2f; 2: mov eax, 0x7f; add al, 2") +
                        exchange +
                        ASM64("pushfq; pop rax; shr eax, 4; and eax, 0x88; out 0xf4, eax"));
    EXPECT_EQ(run().code, status(0x88));  // OF and SF
  }
}

TEST_F(ModelledCode, ChangedBetweenTwoVisits) {
  // The function at kHandlers: MOV DS, then two NOPs, then MOV DS again.
  put_code(kHandlers, kLoadDs + ASM64("ret"));
  const Code call = ASM64("mov ebx, 0x108000; call rbx");
  const Code code = set_eax(kNewData) + call +
                    ASM64("mov word ptr [0x108000], 0x9090; mov eax, 16") + call +
                    ASM64("mov ecx, ds; mov word ptr [0x108000], 0xd88e") + call +
                    ASM64("mov edx, ds; lea eax, [rcx + rdx * 4]; out 0xf4, eax");
  EXPECT_EQ(run(code).code, status(kNewData + 4 * kData64));
}

TEST_F(ModelledCode, AtAnAddressThatIsMappedElsewhere) {
  // Two pages by turns at one address: RET in one, far RET in the other.
  constexpr uint64_t kAddress = 0x30000, kFirst = 0x31000, kSecond = 0x32000;
  const Code near = ASM64("ret"), far = {0xcb};
  ASSERT_EQ(near.size(), far.size());
  put_code(kFirst, near);
  put_code(kSecond, far);
  const auto remap = [&](uint64_t physical) {
    Code code = ASM64("mov dword ptr [0], 0; invlpg [0x30000]; mov ebx, 0x30000");
    const auto entry = static_cast<uint32_t>(kPageTable + 8 * (kAddress >> 12));
    const auto value = static_cast<uint32_t>(physical | kAll);
    std::memcpy(&code[3], &entry, 4);
    std::memcpy(&code[7], &value, 4);
    return code;
  };
  const Code call_near = ASM64("call rbx");
  // A far call by hand: to come back in another code segment.
  const Code far_call = ASM64(
      "sub rsp, 8; lea rcx, [rip + 13]; mov [rsp], ecx; mov dword ptr [rsp + 4], 0x48; "
      "jmp rbx");
  const Code both = remap(kFirst) + call_near + remap(kSecond) + far_call;
  const RunResult result = run(both + both + both + exit_with(3));
  EXPECT_EQ(result.code, status(3)) << result.detail;
}

// --- runs that stop

class StoppedRuns : public ModelledCode {
 protected:
  // All sorts of them, twice, with a routine at kHandlers that far calls return from.
  void put_mixture() {
    put_code(kHandlers, ASM64("nop; lar ecx, eax; .byte 0xcb"));
    put<uint32_t>(kData, kHandlers);
    put<uint16_t>(kData + 4, kNewCode);
    put_code(kCode,
             set_eax(kNewData) +
                 ASM64("xor edi, edi; 2: nop; mov ds, eax; mov ss, eax; mov es, eax; nop; "
                       "call fword ptr [0x80000]; verr ax; lsl edx, eax; push rax; pop fs; "
                       "mov rsi, rsp; push 16; push rsi; pushfq; push 24; lea rcx, [rip + 4]; "
                       "push rcx; iretq; nop; inc edi; cmp edi, 3; jne 2b") +
                 exit_with(9));
  }
};

TEST_F(StoppedRuns, AreTheSameRun) {
  put_mixture();
  ASSERT_EQ(run().code, status(9));
  const Seen unbroken = seen();
  start();
  uint64_t stops = 0;
  std::set<uint64_t> addresses;
  while (machine_->run_until({.step = true})) {
    ++stops;
    addresses.insert(machine_->inspection()->state(0).rip);
  }
  EXPECT_EQ(seen(), unbroken);
  EXPECT_EQ(stops, unbroken.instructions - 1);
  for (const uint64_t address : addresses) {
    SCOPED_TRACE(address);
    start();
    stops = 0;
    while (machine_->run_until({.breakpoints = {address}})) ++stops;
    EXPECT_EQ(seen(), unbroken);
    EXPECT_GT(stops, 0u);
  }
  start();
  for (uint64_t limit = 1; machine_->run_until({.instructions = limit}); limit += 1) {
  }
  EXPECT_EQ(seen(), unbroken);
}

// Each iteration ends a block, and so does a branch to itself.
TEST_F(StoppedRuns, OfRepeatedStringsAreTheSameRun) {
  put_code(kCode, ASM64("nop; mov edi, 0x80000; mov ecx, 5; rep stosb; nop; mov edi, 0x80000; "
                        "mov ecx, 4; xor eax, eax; repe scasb; mov ecx, 4; repne scasb; "
                        "mov ecx, 3; mov esi, edi; rep lodsd; mov ecx, 3; 2: loop 2b; nop") +
                      exit_with(9));
  ASSERT_EQ(run().code, status(9));
  const Seen unbroken = seen();
  start();
  std::set<uint64_t> addresses;
  while (machine_->run_until({.step = true})) {
    addresses.insert(machine_->inspection()->state(0).rip);
  }
  EXPECT_EQ(seen(), unbroken);
  for (const uint64_t address : addresses) {
    SCOPED_TRACE(address);
    start();
    while (machine_->run_until({.breakpoints = {address}})) continue;
    EXPECT_EQ(seen(), unbroken);
  }
}

TEST_F(StoppedRuns, DoNotLoseTheMonitorTrapFlagBetweenIterations) {
  enable_ept();
  enable(vmx::PrimaryProcBased::kMonitorTrapFlag);
  put_guest(ASM64("mov edi, 0x80000; mov ecx, 3; rep stosb; nop"), resume_until(6));
  put_code(kCode, launch());
  run();
  const auto expected = exits();
  ASSERT_EQ(expected.size(), 6u);
  start();
  while (machine_->run_until({.breakpoints = {kGuest + 10}})) continue;
  EXPECT_EQ(exits(), expected);
}

TEST_F(StoppedRuns, CanBeSavedAnywhere) {
  put_mixture();
  ASSERT_EQ(run().code, status(9));
  const Seen unbroken = seen();
  start();
  while (machine_->run_until({.step = true})) {
    const auto state = saved_bytes([this](Archive& archive) { machine_->serialize(archive); });
    auto other = create();
    ASSERT_TRUE(load_bytes(state, [&](Archive& archive) { other->serialize(archive); }));
    std::swap(machine_, other);
  }
  EXPECT_EQ(seen(), unbroken);
}

// --- what is due behind them

class ModelledTraps : public ModelledCode {
 protected:
  static constexpr uint32_t kTf = 0x100;
  std::vector<uint64_t> traps() const {
    std::vector<uint64_t> list;
    for (const Exception& e : record_.exceptions)
      if (e.vector == vmx::kDb) list.push_back(e.rip);
    return list;
  }
};

TEST_F(ModelledTraps, MovAndPopToSsDelayTheSingleStepTrapByOneInstruction) {
  handle(vmx::kDb, ASM64("iretq"));
  cpu_.rflags |= kTf;
  cpu_.gpr[vmx::kRax] = kData64;
  put(kData, 0);
  put<uint16_t>(kData + 4, kData64);
  run(ASM64("mov ss, eax; nop; nop") + exit_with(0));
  auto list = traps();
  ASSERT_GE(list.size(), 2u);
  EXPECT_EQ(list[0], kCode + 3);
  EXPECT_EQ(list[1], kCode + 4);
  // LSS and MOV to others do not.
  run(ASM64("lss ecx, [0x80000]; mov ds, eax; nop") + exit_with(0));
  list = traps();
  ASSERT_GE(list.size(), 2u);
  EXPECT_EQ(list[0], kCode + 8);
  EXPECT_EQ(list[1], kCode + 10);
}

TEST_F(ModelledTraps, TheTrapExitsBehindTheInstructionBehindMovSs) {
  enable_ept();
  vmcs_.write(Field::kExceptionBitmap, 1u << vmx::kDb);
  vmcs_.write(Field::kGuestRflags, 2 | kTf);
  run_guest(ASM64("mov eax, ss; mov ss, eax; nop; nop"), resume_until(3));
  constexpr auto kException = ExitReason::kExceptionOrNmi;
  EXPECT_THAT(exits(), ElementsAre(Pair(kException, kGuest + 2), Pair(kException, kGuest + 5),
                                   Pair(kException, kGuest + 6)));
}

TEST_F(ModelledTraps, ABranchToItselfClearsTheResumeFlag) {
  enable_ept();
  enable(vmx::PrimaryProcBased::kMonitorTrapFlag);
  vmcs_.write(Field::kGuestRflags, 0x10002);
  run_guest(ASM64("2: jmp 2b"), ASM64("mov ecx, 0x6820; vmread rax, rcx; shr eax, 16; and eax, 1;"
                                      "out 0xf4, eax"));
  EXPECT_EQ(machine_->result().code, status(0));
}

TEST_F(ModelledTraps, TheMonitorTrapFlagStopsBehindEach) {
  enable_ept();
  enable(vmx::PrimaryProcBased::kMonitorTrapFlag);
  run_guest(ASM64("mov eax, ss; mov ss, eax; mov ds, eax; lar ecx, eax; nop"), resume_until(5));
  constexpr auto kMtfExit = ExitReason::kMonitorTrapFlag;
  EXPECT_THAT(exits(), ElementsAre(Pair(kMtfExit, kGuest + 2), Pair(kMtfExit, kGuest + 4),
                                   Pair(kMtfExit, kGuest + 6), Pair(kMtfExit, kGuest + 9),
                                   Pair(kMtfExit, kGuest + 10)));
}

// --- in L2

TEST_F(ModelledCode, VmEntryAcceptsWhatTransfersOfL2Leave) {
  put<uint32_t>(kData, kHandlers);
  put<uint16_t>(kData + 4, kNewCode);
  put_code(kHandlers, ASM64("cpuid; cpuid"));
  const Code kTransfers[] = {
      ASM64("jmp fword ptr [0x80000]"),
      ASM64("call fword ptr [0x80000]"),
      push_pointer(kNewCode, kHandlers) + ASM64("retfq"),
      ASM64("mov eax, 0x53; push rax; push 0x70000; push 2; push 0x5b; push 0x108000; iretq"),
      ASM64("push 0x53; push 0x70000; push 0x5b; push 0x108000; retfq"),
      ASM64("mov rax, rsp; push 0x40; push rax; push 2; push 0x48; push 0x108000; iretq"),
  };
  enable_ept();
  for (const Code& transfer : kTransfers) {
    SCOPED_TRACE(&transfer - kTransfers);
    run_guest(transfer,
              ASM64("mov ecx, 0x681e; mov eax, 0x108002; vmwrite rcx, rax") + resume_until(2));
    EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, kHandlers),
                                     Pair(ExitReason::kCpuid, kHandlers + 2)));
    EXPECT_TRUE(accessed(kNewCode) || accessed(kNewUserCode));
  }
  for (const Code& load : {ASM64("mov ss, eax"), ASM64("mov ds, eax"), ASM64("push rax; pop gs"),
                           ASM64("mov [0x80004], ax; lfs ecx, [0x80000]")}) {
    run_guest(set_eax(kNewData) + load + ASM64("cpuid; cpuid"), resume_until(1));
    ASSERT_EQ(record_.exits.size(), 1u);
    EXPECT_TRUE(accessed(kNewData));
  }
}

// Two pages take turns at one address, and what stands there has the same size.
TEST_F(ModelledCode, IsFoundInAPageThatComesBack) {
  constexpr uint64_t kSwapped = 0x111000, kPlain = 0x114000, kModelled = 0x116000;
  put(kGdt + kNewData, 0x0000810000000067);  // a TSS of 16 bits: in IA-32e mode LAR refuses it
  const Code plain = ASM64("nop dword ptr [rax]; ret"), modelled = ASM64("lar eax, ecx; ret");
  const auto call_with = [](uint64_t page) {
    Code code = ASM64("mov dword ptr [0xa888], 0; invlpg [0x111000]; xor edx, edx; call rbx");
    const auto entry = static_cast<uint32_t>(page | kAll);
    std::memcpy(&code[7], &entry, sizeof entry);
    return code;
  };
  // With the first byte on the page before, too, which stays.
  for (const uint8_t before : {uint8_t{0}, uint8_t{1}}) {
    put_code(kSwapped - before, plain);
    put_code(kPlain, Code(plain.begin() + before, plain.end()));
    put_code(kModelled, Code(modelled.begin() + before, modelled.end()));
    Code code = ASM64("mov ebx, 0; mov ecx, 0x40");
    const auto address = static_cast<uint32_t>(kSwapped - before);
    std::memcpy(&code[1], &address, sizeof address);
    for (const uint64_t page : {kModelled, kPlain, kModelled}) code = code + call_with(page);
    EXPECT_EQ(run(code + ASM64("sete al; movzx eax, al; out 0xf4, eax")).code, status(0))
        << unsigned{before};
  }
}

}  // namespace
}  // namespace nestor::emu
