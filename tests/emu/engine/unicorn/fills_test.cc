// SPDX-License-Identifier: GPL-2.0-or-later
//
// The page-miss handler, devices behind it, and code that changes.
#include "tests/emu/engine/unicorn/engine_fixture.h"

namespace nestor::emu {
namespace {

using testing::Contains;
using testing::ElementsAre;

class EngineFills : public EngineTest {
 protected:
  static constexpr uint64_t kAbsent = 0x500'0000;  // outside RAM: refused

  void expect_refusal(const Stop& stop, uint64_t linear, FillAccess access) {
    EXPECT_EQ(stop.kind, StopKind::kRefusedFill);
    EXPECT_EQ(stop.linear, linear);
    EXPECT_EQ(stop.access, access);
  }
};

TEST_F(EngineFills, ARefusedReadStopsAtItsInstruction) {
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRbx] = 0;
  state.gpr[vmx::kRcx] = kAbsent + 0x123;
  const Stop stop = run(state, ASM64("inc rbx; mov rax, [rcx]; inc rbx; hlt"));
  expect_refusal(stop, kAbsent + 0x123, FillAccess::kRead);
  EXPECT_EQ(state.rip, kCode + 3);
  EXPECT_EQ(state.gpr[vmx::kRbx], 1u);
  EXPECT_EQ(context_.instructions, 1u);
  EXPECT_EQ(clock_.cycles(), 1u);

  pages_[kAbsent] = {kData};
  set_ram<uint64_t>(kData + 0x123, 0xfeed);
  EXPECT_EQ(run(state).kind, StopKind::kInstruction);
  EXPECT_EQ(state.rip, kCode + 9);
  EXPECT_EQ(state.gpr[vmx::kRax], 0xfeedu);
  EXPECT_EQ(state.gpr[vmx::kRbx], 2u);
  EXPECT_EQ(context_.instructions, 3u);
  EXPECT_EQ(clock_.cycles(), 3u);
}

TEST_F(EngineFills, ARefusedWriteStopsAtItsInstruction) {
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRcx] = kAbsent + 0xff8;
  const Stop stop = run(state, ASM64("nop; mov [rcx], rax; hlt"));
  expect_refusal(stop, kAbsent + 0xff8, FillAccess::kWrite);
  EXPECT_EQ(state.rip, kCode + 1);
  EXPECT_EQ(context_.instructions, 1u);
}

TEST_F(EngineFills, AReadOnlyPageRefusesOnlyWrites) {
  pages_[kData] = {.physical = kData, .write = false};
  set_ram<uint64_t>(kData, 0x77);
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRcx] = kData;
  const Stop stop = run(state, ASM64("mov rbx, [rcx]; mov [rcx], rax"));
  expect_refusal(stop, kData, FillAccess::kWrite);
  EXPECT_EQ(state.gpr[vmx::kRbx], 0x77u);
  EXPECT_EQ(state.rip, kCode + 3);
  EXPECT_EQ(ram<uint64_t>(kData), 0x77u);
}

// The operand begins in a page that is there: the address is that of the first byte beyond it.
TEST_F(EngineFills, APageCrossingReadNamesTheSecondPage) {
  pages_[kData + kPage] = {.physical = kData + kPage, .read = false};
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRcx] = kData + kPage - 3;
  const Stop stop = run(state, ASM64("nop; mov rax, [rcx]"));
  expect_refusal(stop, kData + kPage, FillAccess::kRead);
  EXPECT_EQ(state.rip, kCode + 1);
}

TEST_F(EngineFills, APageCrossingReadNamesTheFirstByteInTheFirstPage) {
  pages_[kData] = {.physical = kData, .read = false};
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRcx] = kData + kPage - 3;
  const Stop stop = run(state, ASM64("nop; mov rax, [rcx]"));
  expect_refusal(stop, kData + kPage - 3, FillAccess::kRead);
}

TEST_F(EngineFills, APageCrossingWriteNamesTheSecondPageAndWritesNothing) {
  pages_[kData + kPage] = {.physical = kData + kPage, .write = false};
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRcx] = kData + kPage - 3;
  state.gpr[vmx::kRax] = ~0ull;
  const Stop stop = run(state, ASM64("nop; mov [rcx], rax"));
  expect_refusal(stop, kData + kPage, FillAccess::kWrite);
  EXPECT_EQ(state.rip, kCode + 1);
  EXPECT_EQ(ram<uint32_t>(kData + kPage - 4), 0u);
}

TEST_F(EngineFills, APageCrossingReadModifyWriteIsAWriteOfTheSecondPage) {
  pages_[kData + kPage] = {.physical = kData + kPage, .write = false};
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRcx] = kData + kPage - 1;
  const Stop stop = run(state, ASM64("nop; inc dword ptr [rcx]"));
  expect_refusal(stop, kData + kPage, FillAccess::kWrite);
  EXPECT_EQ(state.rip, kCode + 1);
  EXPECT_EQ(ram<uint8_t>(kData + kPage - 1), 0u);
}

TEST_F(EngineFills, ARefusedFetchOfAJumpTargetStopsAtTheTarget) {
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRcx] = kAbsent + 0x40;
  const Stop stop = run(state, ASM64("nop; jmp rcx"));
  expect_refusal(stop, kAbsent + 0x40, FillAccess::kFetch);
  EXPECT_EQ(state.rip, kAbsent + 0x40);
  EXPECT_EQ(context_.instructions, 2u);
}

TEST_F(EngineFills, ARefusedFetchOfTheFirstInstructionChargesNothing) {
  vmx::CpuState state = long_mode();
  state.rip = kAbsent;
  expect_refusal(run(state), kAbsent, FillAccess::kFetch);
  EXPECT_EQ(state.rip, kAbsent);
  EXPECT_EQ(context_.instructions, 0u);
  EXPECT_EQ(clock_.cycles(), 0u);
}

// The engine reads ahead: the refusal comes early, but names the page and loses no instruction.
TEST_F(EngineFills, ARefusedFetchInTheNextPageIsRestartable) {
  pages_[kCode + kPage] = {.physical = kCode + kPage, .execute = false};
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRbx] = 0;
  put_code(ASM64("inc ebx; inc rbx"), kCode + kPage - 3);  // the second is over the edge
  state.rip = kCode + kPage - 3;
  Stop stop = run(state);
  expect_refusal(stop, kCode + kPage, FillAccess::kFetch);
  EXPECT_EQ(state.rip, kCode + kPage - 3 + 2 * state.gpr[vmx::kRbx]);
  EXPECT_EQ(context_.instructions, state.gpr[vmx::kRbx]);

  pages_.clear();
  put_code(ASM64("hlt"), kCode + kPage + 2);
  EXPECT_EQ(run(state).kind, StopKind::kInstruction);
  EXPECT_EQ(state.rip, kCode + kPage + 2);
  EXPECT_EQ(state.gpr[vmx::kRbx], 2u);
  EXPECT_EQ(context_.instructions, 2u);
}

// Each iteration counts as an instruction, and so does the test of RCX that ends them.
TEST_F(EngineFills, StringInstructionsRestartWhereTheyStopped) {
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRdi] = kRamSize - 5;
  state.gpr[vmx::kRcx] = 9;
  state.gpr[vmx::kRax] = 0xab;
  const Stop stop = run(state, ASM64("rep stosb; hlt"));
  expect_refusal(stop, kRamSize, FillAccess::kWrite);
  EXPECT_EQ(state.rip, kCode);
  EXPECT_EQ(state.gpr[vmx::kRdi], kRamSize);
  EXPECT_EQ(state.gpr[vmx::kRcx], 4u);
  EXPECT_EQ(ram<uint8_t>(kRamSize - 1), 0xab);
  EXPECT_EQ(context_.instructions, 5u);
  pages_[kRamSize] = {kData};
  EXPECT_EQ(run(state).kind, StopKind::kInstruction);
  EXPECT_EQ(state.gpr[vmx::kRcx], 0u);
  EXPECT_EQ(ram<uint32_t>(kData), 0xababababu);
  EXPECT_EQ(context_.instructions, 10u);
}

TEST_F(EngineFills, TranslationsStayUntilTheyAreFlushed) {
  set_ram<uint32_t>(kData, 1);
  set_ram<uint32_t>(kData + kPage, 2);
  const uint64_t linear = 0x7000'0000;
  pages_[linear] = {kData};
  const auto read = [&] {
    vmx::CpuState state = long_mode();
    state.gpr[vmx::kRcx] = linear;
    run(state, ASM64("mov eax, [rcx]; hlt"));
    return state.gpr[vmx::kRax];
  };
  EXPECT_EQ(read(), 1u);
  pages_[linear] = {kData + kPage};
  EXPECT_EQ(read(), 1u);
  engine_->flush_tlb();
  EXPECT_EQ(read(), 2u);
}

// --- devices

class EngineDevices : public EngineFills {
 protected:
  static constexpr uint64_t kWindow = 0x9000'0000;
  EngineDevices() {
    pages_[kWindow] = {.physical = kDevice, .device = true};
    pages_[kWindow + kPage] = {.physical = kDevice + 0x10'0000, .device = true};
  }
};

TEST_F(EngineDevices, AccessesCarryTheirPhysicalAddressAndSize) {
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRcx] = kWindow + 0x20;
  state.gpr[vmx::kRax] = 0xa1b2c3d4;
  run(state, ASM64("mov ebx, [rcx]; mov dl, [rcx + 1]; mov [rcx + 4], eax; "
                   "mov [rcx + 8], ax; mov [rcx + 0x1000], al; hlt"));
  EXPECT_EQ(state.rip, kCode + 18);
  EXPECT_THAT(device_reads_,
              ElementsAre(DeviceAccess{kDevice + 0x20, 4, 0}, DeviceAccess{kDevice + 0x21, 1, 0}));
  EXPECT_THAT(device_writes_, ElementsAre(DeviceAccess{kDevice + 0x24, 4, 0xa1b2c3d4},
                                          DeviceAccess{kDevice + 0x28, 2, 0xc3d4},
                                          DeviceAccess{kDevice + 0x10'0020, 1, 0xd4}));
  EXPECT_EQ(state.gpr[vmx::kRbx], (0x5566'7788 + kDevice + 0x20) & 0xffffffff);
}

TEST_F(EngineDevices, EightBytesAreTwoAccesses) {
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRcx] = kWindow;
  state.gpr[vmx::kRax] = 0x1234'5678'9abc'def0;
  run(state, ASM64("mov [rcx], rax; hlt"));
  EXPECT_THAT(device_writes_, ElementsAre(DeviceAccess{kDevice, 4, 0x9abcdef0},
                                          DeviceAccess{kDevice + 4, 4, 0x12345678}));
}

TEST_F(EngineDevices, CodeOutsideRamReadsAsOnes) {
  pages_[kDevice] = {.physical = kDevice, .device = true};
  vmx::CpuState state = long_mode();
  state.rip = kDevice;
  const Stop stop = run(state);
  // FF FF is no instruction.
  EXPECT_EQ(stop.kind, StopKind::kException);
  EXPECT_EQ(stop.vector, vmx::kUd);
  EXPECT_EQ(state.rip, kDevice);
  EXPECT_TRUE(device_reads_.empty());
}

TEST_F(EngineDevices, AStopRequestedInAnAccessTakesEffectAtTheNextBlock) {
  during_device_access = [this] { engine_->request_stop(); };
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRcx] = kWindow;
  const Stop stop = run(state, ASM64("mov [rcx], eax; nop; jmp 2f; 2: nop; hlt"));
  EXPECT_EQ(stop.kind, StopKind::kDeadline);
  EXPECT_EQ(state.rip, kCode + 5);
  EXPECT_EQ(context_.instructions, 3u);
  EXPECT_EQ(run(state).kind, StopKind::kInstruction);
  EXPECT_EQ(state.rip, kCode + 6);
}

// --- code that changes

// call f; (write 0x22 to f + 1); call f; hlt      f: mov al, 0x11; ret
constexpr uint64_t kFunction = 0x9000;

TEST_F(EngineFills, AStoreIntoExecutedCodeIsSeen) {
  put_code(ASM64("mov al, 0x11; ret"), kFunction);
  vmx::CpuState state = long_mode();
  run(state, ASM64("2: call 2b + 0x1000; mov byte ptr [0x9001], 0x22; call 2b + 0x1000; hlt"));
  EXPECT_EQ(state.rip, kCode + 18);
  EXPECT_EQ(state.gpr[vmx::kRax] & 0xff, 0x22u);
}

TEST_F(EngineFills, AStoreThroughAnotherLinearAddressIsSeen) {
  const uint64_t alias = 0x7000'0000;
  pages_[alias] = {kFunction};
  put_code(ASM64("mov al, 0x11; ret"), kFunction);
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRcx] = alias + 1;
  run(state, ASM64("2: call 2b + 0x1000; mov byte ptr [rcx], 0x33; call 2b + 0x1000; hlt"));
  EXPECT_EQ(state.rip, kCode + 13);
  EXPECT_EQ(state.gpr[vmx::kRax] & 0xff, 0x33u);
}

// The instruction after the store is in the same block.
TEST_F(EngineFills, AStoreIntoTheNextInstructionIsSeen) {
  vmx::CpuState state = long_mode();
  // 0x8009 is kCode + 9, the operand of the next MOV.
  run(state, ASM64("mov byte ptr [0x8009], 0x44; mov al, 0x11; hlt"));
  EXPECT_EQ(state.gpr[vmx::kRax] & 0xff, 0x44u);
  EXPECT_EQ(context_.instructions, 2u);
  EXPECT_EQ(clock_.cycles(), 2u);
}

TEST_F(EngineFills, AStoreIntoItsOwnBlockIsCountedOnceWhereverItStands) {
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRbx] = 0;
  state.gpr[vmx::kRcx] = 3;
  // 0x800c is kCode + 12, the operand of the next MOV.
  run(state, ASM64("2: inc ebx; nop; mov byte ptr [0x800c], 0x44; mov al, 0x11; "
                   "dec ecx; jne 2b; hlt"));
  EXPECT_EQ(state.gpr[vmx::kRbx], 3u);
  EXPECT_EQ(state.gpr[vmx::kRax] & 0xff, 0x44u);
  EXPECT_EQ(context_.instructions, 3 * 6u);
}

TEST_F(EngineFills, WritesOfOthersAreSeenWhenTheyAreTold) {
  const Code call = ASM64("2: call 2b + 0x1000; hlt");
  put_code(ASM64("mov al, 0x11; ret"), kFunction);
  vmx::CpuState state = long_mode();
  run(state, call);
  EXPECT_EQ(state.gpr[vmx::kRax] & 0xff, 0x11u);
  const uint8_t changed = 0x55;
  engine_->code_written(kFunction + 1, {&changed, 1});
  EXPECT_EQ(ram<uint8_t>(kFunction + 1), 0x55);
  state = long_mode();
  run(state);
  EXPECT_EQ(state.gpr[vmx::kRax] & 0xff, 0x55u);
}

// The same linear address, other code: the count must not be that of the former.
TEST_F(EngineFills, ChangedCodeIsCountedAnew) {
  vmx::CpuState state = long_mode();
  run(state, ASM64("nop; nop; nop; hlt"));
  EXPECT_EQ(context_.instructions, 3u);
  state = long_mode();
  run(state, {0x66, 0x66, 0x90, 0xf4});  // one instruction of three bytes
  EXPECT_EQ(context_.instructions, 4u);
}

TEST_F(EngineFills, TranslationsAreKeptWhileOthersExecuteAndDroppedWhereThatIsAskedFor) {
  const uint64_t linear = 0x7000'0000;
  ExecutionContext other(0);
  put_code(ASM64("mov al, [0x70000000]; hlt"));
  const auto data_fills = [&](ExecutionContext& context) {
    fills_.clear();
    vmx::CpuState state = long_mode();
    engine_->enter(context);
    (void)engine_->run(state, mode_);
    return std::ranges::count(fills_, Fill{linear, FillAccess::kRead});
  };
  pages_[linear] = {kData};
  EXPECT_EQ(data_fills(context_), 1);
  EXPECT_EQ(data_fills(context_), 0);
  context_.select(space_id(0));  // as before
  EXPECT_EQ(data_fills(context_), 0);
  context_.select(space_id(1));
  EXPECT_EQ(data_fills(context_), 1);
  EXPECT_EQ(data_fills(other), 1);
  EXPECT_EQ(data_fills(context_), 0);
  context_.select(space_id(0));
  EXPECT_EQ(data_fills(context_), 0);
  context_.request_flush_here();
  EXPECT_EQ(data_fills(context_), 1);
  context_.select(space_id(1));
  EXPECT_EQ(data_fills(context_), 0);
  context_.request_flush();
  EXPECT_EQ(data_fills(context_), 1);
  context_.select(space_id(0));
  EXPECT_EQ(data_fills(context_), 1);
  engine_->flush_tlb();
  EXPECT_EQ(data_fills(context_), 1);
  context_.select(space_id(1));
  EXPECT_EQ(data_fills(context_), 1) << "of all address spaces";
}

TEST_F(EngineFills, AContextThatForgetsAsksAgainWheneverOthersHaveExecuted) {
  pages_[0x7000'0000] = {kData};
  ExecutionContext forgetful(0, ExecutionContext::Retention::kForget);
  put_code(ASM64("mov al, [0x70000000]; hlt"));
  const auto data_fills = [&](ExecutionContext& context) {
    fills_.clear();
    vmx::CpuState state = long_mode();
    engine_->enter(context);
    (void)engine_->run(state, mode_);
    return std::ranges::count(fills_, Fill{0x7000'0000, FillAccess::kRead});
  };
  EXPECT_EQ(data_fills(forgetful), 1);
  EXPECT_EQ(data_fills(forgetful), 0);
  EXPECT_EQ(data_fills(context_), 1);
  EXPECT_EQ(data_fills(forgetful), 1);
  forgetful.select(space_id(1));
  EXPECT_EQ(data_fills(forgetful), 1);
  forgetful.select(space_id(0));
  EXPECT_EQ(data_fills(forgetful), 1);
}

// What is known of code by its linear address is that of one address space, and so is what of it is
// watched for writes.
TEST_F(EngineFills, AddressSpacesHaveTheirOwnCodeAtOneAddress) {
  const uint64_t linear = 0x7000'0000;
  put_code(ASM64("mov al, 0x11; hlt"), kData);
  put_code(ASM64("mov al, 0x22; hlt"), kData + kPage);
  put_code(ASM64("mov al, 0x33; hlt"), kData + 2 * kPage);
  const auto run_in = [&](uint64_t number, uint64_t page) {
    pages_[linear] = {kData + page * kPage};
    context_.select(space_id(number));
    engine_->enter(context_);
    vmx::CpuState state = long_mode();
    state.rip = linear;
    (void)engine_->run(state, mode_);
    return state.gpr[vmx::kRax] & 0xff;
  };
  const uint64_t guest = kGuestSpace;
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(run_in(0, 0), 0x11u);
    EXPECT_EQ(run_in(guest, 1), 0x22u);
    EXPECT_EQ(run_in(1, 2), 0x33u);
    EXPECT_EQ(run_in(guest, 1), 0x22u);
  }
}

TEST_F(EngineFills, AStoreToCodeThatAnotherAddressSpaceHasExecutedIsSeen) {
  pages_[0x7000'0000] = {kData};
  put_code(ASM64("mov al, 0x11; hlt"), kData);
  const auto run_in = [&](uint64_t number, uint64_t rip) {
    context_.select(space_id(number));
    engine_->enter(context_);
    vmx::CpuState state = long_mode();
    state.rip = rip;
    (void)engine_->run(state, mode_);
    return state.gpr[vmx::kRax] & 0xff;
  };
  put_code(ASM64("mov byte ptr [0x70000001], 0x11; mov byte ptr [0x70000001], 0x22; hlt"));
  run_in(0, kCode);  // has the page in its TLB, to write
  put_code(ASM64("mov al, 0x33; hlt"), kData);
  engine_->code_written(kData, ASM64("mov al, 0x33; hlt"));
  EXPECT_EQ(run_in(kGuestSpace, 0x7000'0000), 0x33u);
  run_in(0, kCode);
  EXPECT_EQ(run_in(kGuestSpace, 0x7000'0000), 0x22u);
}

TEST_F(EngineFills, TagsTellAddressSpacesApart) {
  const uint64_t linear = 0x7000'0000;
  put_code(ASM64("nop; nop; nop; hlt"), kData);
  put_code({0x66, 0x66, 0x90, 0xf4}, kData + kPage);
  for (int round = 0; round < 3; ++round) {
    for (uint64_t context : {0, 1}) {
      pages_[linear] = {kData + context * kPage};
      context_.select(space_id(context));
      engine_->flush_tlb();
      const uint64_t before = context_.instructions;
      vmx::CpuState state = long_mode();
      state.rip = linear;
      run(state);
      EXPECT_EQ(context_.instructions - before, context == 0 ? 3u : 1u);
    }
  }
}

TEST_F(EngineFills, EachAccessIsAskedForWithItsKind) {
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRcx] = kData;
  run(state, ASM64("mov eax, [rcx]; mov [rcx + 0x1000], eax; hlt"));
  EXPECT_THAT(fills_, Contains(Fill{kCode, FillAccess::kFetch}));
  EXPECT_THAT(fills_, Contains(Fill{kData, FillAccess::kRead}));
  EXPECT_THAT(fills_, Contains(Fill{kData + kPage, FillAccess::kWrite}));
  EXPECT_EQ(fills_.size(), 3u);
}

}  // namespace
}  // namespace nestor::emu
