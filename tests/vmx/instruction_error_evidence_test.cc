// SPDX-License-Identifier: GPL-2.0-or-later
//
// One row for each VM-instruction error number ("VM Instruction Error Numbers"): what gives it, or
// why this processor never does.
#include <algorithm>

#include "tests/vmx/vmx_fixture.h"
#include "vmx/instruction_errors.h"

namespace nestor::vmx::test {
namespace {

class ErrorBench : public VmxTest {
 public:
  void TestBody() override {}
  using VmxTest::cpu;
  using VmxTest::enable;
  using VmxTest::fill;
  using VmxTest::kOtherVmcs;
  using VmxTest::kVmcsRegion;
  using VmxTest::kVmxonRegion;
  using VmxTest::make_current;
  using VmxTest::no_operand;
  using VmxTest::set;
  using VmxTest::sink;
  using VmxTest::vmclear;
  using VmxTest::vmlaunch;
  using VmxTest::vmptrld;
  using VmxTest::vmresume;
  using VmxTest::vmwrite;
  using VmxTest::vmx;
  using VmxTest::vmxon;
  using VmxTest::with_memory;
  using VmxTest::word;

  ErrorBench() { prepare(); }
};

struct ErrorEvidence {
  InstructionError number;
  std::string (*cause)(ErrorBench&) = nullptr;
  const char* instruction = nullptr;  // that reports it
  const char* absent = nullptr;
};

constexpr const char* kDualMonitor = "no dual-monitor treatment of SMIs and SMM";

const ErrorEvidence kRows[] = {
    {InstructionError::kVmcallInRootOperation,
     [](ErrorBench& b) { return b.word(b.vmx.vmcall(b.no_operand())); }, "VMCALL"},
    {InstructionError::kVmclearInvalidAddress,
     [](ErrorBench& b) { return b.vmclear(ErrorBench::kVmcsRegion + 8); }, "VMCLEAR"},
    {InstructionError::kVmclearVmxonPointer,
     [](ErrorBench& b) { return b.vmclear(ErrorBench::kVmxonRegion); }, "VMCLEAR"},
    {InstructionError::kVmlaunchNonClear,
     [](ErrorBench& b) {
       b.vmlaunch();
       b.vmx.triple_fault_exits();
       return b.vmlaunch();
     },
     "VMLAUNCH"},
    {InstructionError::kVmresumeNonLaunched, [](ErrorBench& b) { return b.vmresume(); },
     "VMRESUME"},
    // VMXOFF makes no VMCS current, so that VMRESUME fails without a number.
    {InstructionError::kVmresumeAfterVmxoff, nullptr, nullptr,
     "VMXOFF leaves no VMCS that could hold it"},
    {InstructionError::kEntryInvalidControls,
     [](ErrorBench& b) {
       b.set(Field::kCr3TargetCount, 5);
       return b.vmlaunch();
     },
     "VMLAUNCH"},
    {InstructionError::kEntryInvalidHostState,
     [](ErrorBench& b) {
       b.set(Field::kHostCsSelector, 0);
       return b.vmlaunch();
     },
     "VMLAUNCH"},
    {InstructionError::kVmptrldInvalidAddress, [](ErrorBench& b) { return b.vmptrld(0x1234); },
     "VMPTRLD"},
    {InstructionError::kVmptrldVmxonPointer,
     [](ErrorBench& b) { return b.vmptrld(ErrorBench::kVmxonRegion); }, "VMPTRLD"},
    {InstructionError::kVmptrldIncorrectRevision,
     [](ErrorBench& b) {
       b.cpu.poke(ErrorBench::kOtherVmcs, uint32_t{1});
       return b.vmptrld(ErrorBench::kOtherVmcs);
     },
     "VMPTRLD"},
    {InstructionError::kUnsupportedComponent, [](ErrorBench& b) { return b.vmwrite(0x7ffe, 0); },
     "VMWRITE"},
    {InstructionError::kVmwriteReadOnly,
     [](ErrorBench& b) { return b.vmwrite(encoding_of(Field::kExitReason), 0); }, "VMWRITE"},
    {InstructionError::kVmxonInRootOperation, [](ErrorBench& b) { return b.vmxon(); }, "VMXON"},
    {InstructionError::kEntryInvalidExecutivePointer, nullptr, nullptr, kDualMonitor},
    {InstructionError::kEntryNonLaunchedExecutive, nullptr, nullptr, kDualMonitor},
    {InstructionError::kEntryExecutiveNotVmxon, nullptr, nullptr, kDualMonitor},
    {InstructionError::kVmcallNonClear, nullptr, nullptr, kDualMonitor},
    {InstructionError::kVmcallInvalidExitControls, nullptr, nullptr, kDualMonitor},
    {InstructionError::kVmcallIncorrectMsegRevision, nullptr, nullptr, kDualMonitor},
    {InstructionError::kVmxoffDualMonitor, nullptr, nullptr, kDualMonitor},
    {InstructionError::kVmcallInvalidMonitorFeatures, nullptr, nullptr, kDualMonitor},
    {InstructionError::kEntryInvalidExecutiveControls, nullptr, nullptr, kDualMonitor},
    {InstructionError::kEntryBlockedByMovSs,
     [](ErrorBench& b) {
       b.cpu.cpu.blocking_by_mov_ss = true;
       return b.vmlaunch();
     },
     "VMLAUNCH"},
    {InstructionError::kInvalidInveptInvvpidOperand,
     [](ErrorBench& b) {
       InstructionContext context = b.with_memory(0x100, 5);
       context.reg = kRdx;
       b.cpu.cpu.gpr[kRdx] = 77;
       return b.word(b.vmx.invvpid(context));
     },
     "INVVPID"},
};

TEST(InstructionErrorEvidence, EveryNumberHasOneRow) {
  ASSERT_EQ(std::size(kRows), instruction_errors().size());
  for (size_t i = 0; i < std::size(kRows); ++i) {
    EXPECT_EQ(kRows[i].number, instruction_errors()[i].number);
    EXPECT_EQ((kRows[i].cause != nullptr) + (kRows[i].absent != nullptr), 1);
  }
}

TEST(InstructionErrorEvidence, InstructionsGiveTheirNumbers) {
  for (const ErrorEvidence& row : kRows) {
    if (row.cause == nullptr) continue;
    const auto number = static_cast<uint32_t>(row.number);
    SCOPED_TRACE(instruction_error_text(number));
    ErrorBench bench;
    bench.sink.errors.clear();
    EXPECT_EQ(row.cause(bench), "fail " + std::to_string(number));
    ASSERT_EQ(bench.sink.errors.size(), 1u);
    EXPECT_EQ(bench.sink.errors[0].instruction, row.instruction);
    EXPECT_EQ(bench.sink.errors[0].error, number);
  }
}

TEST(InstructionErrorEvidence, VmresumeAfterVmxoffFindsNoVmcs) {
  ErrorBench bench;
  EXPECT_EQ(bench.word(bench.vmx.vmxoff(bench.no_operand())), "succeed");
  EXPECT_EQ(bench.vmxon(), "succeed");
  EXPECT_EQ(bench.vmresume(), "fail invalid");
}

}  // namespace
}  // namespace nestor::vmx::test
