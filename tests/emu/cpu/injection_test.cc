// SPDX-License-Identifier: GPL-2.0-or-later
//
// Each type of event that VM entry can inject, in real-address, protected and 64-bit mode: what its
// delivery pushes, and what a VM exit in the middle of the delivery says of it.
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using vmx::ExitReason;
using vmx::Field;
using vmx::SecondaryProcBased;

enum class Mode : uint8_t { kReal, kProtected, kLong };
constexpr Mode kModes[] = {Mode::kReal, Mode::kProtected, Mode::kLong};
constexpr const char* kModeNames[] = {"real-address mode", "protected mode", "64-bit mode"};

struct Injected {
  const char* name;
  uint32_t information;
  uint32_t error_code = 0;
  uint32_t length = 0;   // of the instruction that the event stands for
  bool external = true;  // a fault of its delivery sets EXT
};
const Injected kInjected[] = {
    {"external interrupt", 0x80000040},
    {"NMI", 0x80000202},
    {"hardware exception", 0x80000306},
    {"hardware exception with error code", 0x80000b0d, 0x18},
    {"software interrupt", 0x80000440, 0, 2, false},
    {"privileged software exception", 0x80000501, 0, 1},
    {"software exception", 0x80000603, 0, 1, false},
};

class InjectionBench : public NestedMachineTest {
 public:
  static constexpr uint64_t kTable = kScratch, kCode16 = kScratch + 0x2000, kTop = 0x8000;

  void TestBody() override {}
  InjectionBench(Mode mode, const Injected& event) : mode_(mode), event_(event) {
    enable_ept();
    enable(SecondaryProcBased::kUnrestrictedGuest);
    set(Field::kGuestRflags, 0x202);
    set(Field::kGuestRsp, kTop);
    set(Field::kVmEntryInterruptionInformation, event.information);
    set(Field::kVmEntryExceptionErrorCode, event.error_code);
    set(Field::kVmEntryInstructionLength, event.length);
    set(Field::kGuestIdtrBase, kTable);
    if (mode != Mode::kLong) leave_long_mode();
    if (mode == Mode::kReal) leave_protected_mode();
    write_gate();
  }

  uint8_t vector() const { return static_cast<uint8_t>(event_.information); }
  uint64_t rip() const { return mode_ == Mode::kReal ? 0x100u : kGuest; }
  void set(Field field, uint64_t value) { vmcs_.write(field, value); }
  // What the run ends with: a VMCS field, or a word of memory.
  uint32_t field(Field f) { return run_guest(ASM64("hlt"), exit_with_field(f)).code >> 1; }
  uint32_t memory(uint64_t address) {
    return run_guest(ASM64("hlt"), exit_with_memory(static_cast<uint32_t>(address))).code >> 1;
  }
  const vmx::VmExitEvent& exit() { return record_.exits.at(0); }
  uint64_t handler() const { return kCode16 + 0x40; }
  void forbid_table() { map_guest(kTable, kTable | kEptUserExecute); }
  void clear_gate() {
    for (uint64_t at = 0; at < 16; ++at) put<uint8_t>(gate_address() + at, 0);
  }

 private:
  void leave_long_mode() {
    vmcs_.write(Field::kVmEntryControls, vmcs_[Field::kVmEntryControls] &
                                             ~uint64_t{mask(vmx::VmEntryControl::kIa32eModeGuest)});
    set(Field::kGuestCr0, vmcs_[Field::kGuestCr0] & ~vmx::cr0::kPg);
    set(Field::kGuestCsSelector, 8);
    set(Field::kGuestCsAccessRights, 0xc09b);
    set(Field::kGuestTrAccessRights, 0x8b);
  }
  void leave_protected_mode() {
    set(Field::kGuestCr0, vmcs_[Field::kGuestCr0] & ~vmx::cr0::kPe);
    for (const uint8_t segment : {vmx::kEs, vmx::kSs, vmx::kDs, vmx::kFs, vmx::kGs}) {
      set(vmx::guest_selector(segment), 0);
      set(vmx::guest_limit(segment), 0xffff);
      set(vmx::guest_access_rights(segment), 0x93);
    }
    set(Field::kGuestCsSelector, kCode16 >> 4);
    set(Field::kGuestCsBase, kCode16);
    set(Field::kGuestCsLimit, 0xffff);
    set(Field::kGuestCsAccessRights, 0x9b);
    set(Field::kGuestRip, 0x100);
  }
  uint64_t gate_address() const {
    return kTable + vector() * (mode_ == Mode::kReal ? 4u : mode_ == Mode::kProtected ? 8u : 16u);
  }
  void write_gate() {
    put_code(handler(), ASM64("cpuid"));
    if (mode_ == Mode::kReal) {
      put<uint32_t>(gate_address(), 0x40 | static_cast<uint32_t>(kCode16 >> 4) << 16);
      return;
    }
    const uint64_t selector = mode_ == Mode::kLong ? kCode64 : 8u;
    put<uint64_t>(gate_address(), (handler() & 0xffff) | selector << 16 | 0x8e00ull << 32 |
                                      (handler() >> 16 & 0xffff) << 48);
    if (mode_ == Mode::kLong) put<uint64_t>(gate_address() + 8, handler() >> 32);
  }

  const Mode mode_;
  const Injected& event_;
};

// Real-address mode has no error codes, and VM entry refuses to inject one.
bool exists(Mode mode, const Injected& event) {
  return mode != Mode::kReal || !(event.information & 1u << 11);
}

template <typename Test>
void for_each_case(const Test& test) {
  for (const Mode mode : kModes) {
    for (const Injected& event : kInjected) {
      if (!exists(mode, event)) continue;
      SCOPED_TRACE(std::string(event.name) + " in " + kModeNames[static_cast<unsigned>(mode)]);
      InjectionBench bench(mode, event);
      test(mode, event, bench);
    }
  }
}

TEST(Injection, PushesTheFrameOfItsType) {
  for_each_case([](Mode mode, const Injected& event, InjectionBench& bench) {
    const bool error = (event.information & 1u << 11) != 0;
    const unsigned width = mode == Mode::kReal ? 2 : mode == Mode::kProtected ? 4 : 8;
    const unsigned words = (mode == Mode::kLong ? 5u : 3u) + (error ? 1u : 0u);
    const uint64_t frame = InjectionBench::kTop - words * width;
    EXPECT_EQ(bench.field(Field::kGuestRsp), frame);
    ASSERT_EQ(vmx::basic_reason(bench.exit().reason), ExitReason::kCpuid);
    const uint64_t at = frame + (error ? width : 0);
    const uint32_t kept = mode == Mode::kReal ? 0xffff : ~0u;
    EXPECT_EQ(bench.memory(at) & kept & 0x7fffffff, bench.rip() + event.length);
    EXPECT_EQ(bench.memory(at + 2 * width) & 0xffff, 0x202u) << "RFLAGS";
    if (error) {
      EXPECT_EQ(bench.memory(frame), event.error_code);
    }
    EXPECT_EQ(bench.exit().idt_vectoring_information, 0u) << "the delivery is over";
  });
}

TEST(Injection, AnEptViolationOfTheDeliveryNamesTheEvent) {
  for_each_case([](Mode, const Injected& event, InjectionBench& bench) {
    bench.forbid_table();
    EXPECT_EQ(bench.field(Field::kGuestRsp), InjectionBench::kTop) << "nothing was pushed";
    const vmx::VmExitEvent& exit = bench.exit();
    EXPECT_EQ(vmx::basic_reason(exit.reason), ExitReason::kEptViolation);
    EXPECT_EQ(exit.guest_rip, bench.rip());
    EXPECT_EQ(exit.idt_vectoring_information, event.information);
    EXPECT_EQ(exit.idt_vectoring_error_code, event.error_code);
    EXPECT_EQ(exit.instruction_length, event.length);
    EXPECT_EQ(exit.interruption_information, 0u);
  });
}

TEST(Injection, AFaultOfTheDeliveryThatExitsNamesBothEvents) {
  for_each_case([](Mode mode, const Injected& event, InjectionBench& bench) {
    if (mode == Mode::kReal) {
      bench.set(Field::kGuestIdtrLimit, 3);  // #GP
    } else {
      bench.clear_gate();  // no gate: #GP that names the vector
    }
    bench.set(Field::kExceptionBitmap, 1u << vmx::kGp | 1u << vmx::kDf);
    bench.field(Field::kGuestRsp);
    const vmx::VmExitEvent& exit = bench.exit();
    EXPECT_EQ(vmx::basic_reason(exit.reason), ExitReason::kExceptionOrNmi);
    EXPECT_EQ(exit.guest_rip, bench.rip());
    // Also #GP behind #GP, which without the exit would become a double fault.
    EXPECT_EQ(exit.interruption_information, mode == Mode::kReal ? 0x8000030du : 0x80000b0du);
    if (mode != Mode::kReal) {
      EXPECT_EQ(exit.interruption_error_code, bench.vector() * 8u + 2 + (event.external ? 1 : 0));
    }
    EXPECT_EQ(exit.idt_vectoring_information, event.information);
    EXPECT_EQ(exit.instruction_length, event.length);
  });
}

// VM entry loads no CR2, and L2's handler finds in it what L1 has written.
class InjectedPageFault : public NestedMachineTest {};
TEST_F(InjectedPageFault, IsReportedWithTheAddressInCr2) {
  enable_ept();
  handle(vmx::kPf, ASM64("mov rax, cr2; out 0xf4, eax"));
  vmcs_.write(Field::kVmEntryInterruptionInformation, 0x80000b0e);
  vmcs_.write(Field::kVmEntryExceptionErrorCode, 2);
  cpu_.cr2 = 0x51000;
  EXPECT_EQ(run_guest(ASM64("hlt")).code, status(0x51000));
  ASSERT_EQ(record_.exceptions.size(), 1u);
  EXPECT_EQ(record_.exceptions[0].cr2, 0x51000u);
  EXPECT_EQ(record_.exceptions[0].error_code, 2u);
}

TEST(Injection, APendingMtfExitIsNoDelivery) {
  for (const Mode mode : kModes) {
    const Injected mtf = {"pending MTF VM exit", 0x80000700};
    InjectionBench bench(mode, mtf);
    EXPECT_EQ(bench.field(Field::kGuestRsp), InjectionBench::kTop);
    EXPECT_EQ(vmx::basic_reason(bench.exit().reason), ExitReason::kMonitorTrapFlag);
    EXPECT_EQ(bench.exit().guest_rip, bench.rip());
  }
}

}  // namespace
}  // namespace nestor::emu
