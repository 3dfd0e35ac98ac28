// SPDX-License-Identifier: GPL-2.0-or-later
//
// CR2 after a page fault during the delivery of another event, whatever comes of the two
// ("Interrupt 8-Double Fault Exception", "Architectural State Before a VM Exit"): without an L0,
// and below each.
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using vmx::ExitReason;
using vmx::Field;

//   30000 the stack   31000 the page that is read   32000, 33000 stacks of the IST: missing,
//   present
constexpr uint64_t kStackPage = 0x30000, kOperand = 0x31000, kBadStack = 0x32000,
                   kGoodStack = 0x33000;
// What is pushed first: SS.
constexpr uint64_t first_push(uint64_t page) { return page + 0x800 - 8; }

struct NestedFault {
  const char* name;
  Code guest;
  // Stacks of the handlers of #PF and #DF: 0 the guest's, which is missing.
  uint64_t page_fault_stack, double_fault_stack;
  uint32_t bitmap;   // of exceptions
  bool only_writes;  // #PF exits for writes alone
  ExitReason reason;
  uint32_t interruption;
  uint64_t cr2;
};

std::vector<NestedFault> nested_faults() {
  const Code read = ASM64("mov al, [0x31000]"), ud2 = ASM64("ud2"), int3 = ASM64("int3"),
             divide = ASM64("xor ecx, ecx; div ecx"),
             privileged = ASM64("mov rax, 0x8000000000000000; mov al, [rax]");
  constexpr uint32_t kPf = 1u << vmx::kPf, kDf = 1u << vmx::kDf;
  constexpr uint32_t kPfEvent = 0x80000b0e, kDfEvent = 0x80000b08;
  const auto kVmcall = ExitReason::kVmcall, kTriple = ExitReason::kTripleFault,
             kException = ExitReason::kExceptionOrNmi;
  const uint64_t pushed = first_push(kStackPage), bad = first_push(kBadStack);
  return {
      // The handler of #PF sees the second address.
      {"#UD, #PF", ud2, kGoodStack, 0, 0, false, kVmcall, 0, pushed},
      {"#BP, #PF", int3, kGoodStack, 0, 0, false, kVmcall, 0, pushed},
      {"#DE, #PF", divide, kGoodStack, 0, 0, false, kVmcall, 0, pushed},
      {"#GP, #PF", privileged, kGoodStack, 0, 0, false, kVmcall, 0, pushed},
      // So does that of #DF.
      {"#PF, #PF, #DF", read, 0, kGoodStack, 0, false, kVmcall, 0, pushed},
      {"#UD, #PF, #PF, #DF", ud2, kBadStack, kGoodStack, 0, false, kVmcall, 0, bad},
      {"#GP, #PF, #PF, #DF", privileged, kBadStack, kGoodStack, 0, false, kVmcall, 0, bad},
      // And what intercepts #DF.
      {"#PF, #PF, #DF exits", read, 0, kGoodStack, kDf, false, kException, kDfEvent, pushed},
      {"#UD, #PF, #PF, #DF exits", ud2, kBadStack, 0, kDf, false, kException, kDfEvent, bad},
      // The page fault of the delivery of #DF has its address, too.
      {"#PF, #PF, #DF, triple fault", read, 0, 0, 0, false, kTriple, 0, pushed},
      {"#PF, #PF, #DF on another stack, triple fault", read, 0, kBadStack, 0, false, kTriple, 0,
       bad},
      // A page fault that causes a VM exit leaves CR2 alone.
      {"#PF, #PF exits", read, 0, kGoodStack, kPf, true, kException, kPfEvent, kOperand},
      {"#UD, #PF exits", ud2, 0, kGoodStack, kPf, true, kException, kPfEvent, 0},
  };
}

class NestedFaults : public NestedMachineTest, public testing::WithParamInterface<L0Mode> {
 protected:
  NestedFaults() {
    config_.l0.mode = GetParam();
    vmcs_.write(Field::kGuestRsp, kStackPage + 0x800);
    for (const uint64_t page : {kStackPage, kOperand, kBadStack}) map(page, 0);
  }
  // Interrupt stack table entry `number`, from 1.
  void set_stack(unsigned number, unsigned vector, uint64_t page) {
    handle(vector, ASM64("vmcall"));
    if (page == 0) return;
    put(kTss + 28 + 8 * number, page + 0x800);
    put(kIdt + 16 * vector + 4, static_cast<uint8_t>(number));
  }
};

TEST_P(NestedFaults, LeaveCr2AtTheLastPageFaultThatWasDelivered) {
  constexpr uint32_t kWrite = 2;
  for (const NestedFault& row : nested_faults()) {
    SCOPED_TRACE(row.name);
    for (const unsigned vector : {vmx::kUd, vmx::kBp, vmx::kDe, vmx::kGp}) handle(vector, kNop);
    set_stack(1, vmx::kPf, row.page_fault_stack);
    set_stack(2, vmx::kDf, row.double_fault_stack);
    vmcs_.write(Field::kExceptionBitmap, row.bitmap);
    vmcs_.write(Field::kPageFaultErrorCodeMask, row.only_writes ? kWrite : 0);
    vmcs_.write(Field::kPageFaultErrorCodeMatch, row.only_writes ? kWrite : 0);
    const RunResult result = run_guest(row.guest, ASM64("mov rax, cr2; out 0xf4, eax"));
    ASSERT_FALSE(record_.exits.empty()) << result.detail;
    EXPECT_EQ(vmx::exit_reason_name(record_.exits[0].reason),
              vmx::exit_reason_name(static_cast<uint32_t>(row.reason)));
    EXPECT_EQ(record_.exits[0].interruption_information, row.interruption);
    EXPECT_EQ(result.code >> 1, row.cr2);
  }
}

INSTANTIATE_TEST_SUITE_P(L0, NestedFaults,
                         testing::Values(L0Mode::kHardware, L0Mode::kTwoLevel, L0Mode::kNestedEpt,
                                         L0Mode::kShadowOnEpt, L0Mode::kShadowOnShadow),
                         [](const auto& instance) {
                           std::string name(info_of(instance.param).name);
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace nestor::emu
