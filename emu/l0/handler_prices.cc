// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/l0/handler_prices.h"

#include <cmath>
#include <iterator>
#include <string_view>
#include <vector>

#include "emu/timing/block_price.h"
#include "emu/timing/system_prices.h"

namespace nestor::emu {
namespace {

using namespace std::string_view_literals;
using timing::SystemCost;

// Counted in KVM of Linux 6.1 (Debian's 6.1.0-50-cloud-amd64, mitigations=off) as it ran on Nestor
// with hypervisors as its guests: instructions from VM exit to VM entry, and VMREADs and the like
// among them. docs/timing.md has the sums as they were counted; here each step is without the ones
// that it comes with. What nobody counted is a parameter.
struct StepRow {
  HandlerStep step;
  HandlerWork work;
};
constexpr StepRow kStepRows[] = {
    {HandlerStep::kExit,
     {.instructions = 1034, .vmread = 5, .rdmsr = 1, .rdtsc = 1, .mov_from_cr = 2}},
    {HandlerStep::kInstruction, {.instructions = 626, .vmread = 3, .vmwrite = 1}},
    {HandlerStep::kMsrAccess, {.instructions = 660, .vmread = 3, .vmwrite = 1, .rdmsr = 1}},
    {HandlerStep::kControlRegister,
     {.instructions = 764, .vmread = 5, .vmwrite = 3, .mov_to_cr = 1}},
    {HandlerStep::kVmread, {.instructions = 729, .vmread = 8, .vmwrite = 2}},
    {HandlerStep::kVmwrite, {.instructions = 768, .vmread = 7, .vmwrite = 3}},
    {HandlerStep::kVmptrld, {.instructions = 2866, .vmread = 13, .vmwrite = 2, .vmptrld = 1}},
    {HandlerStep::kVmclear, {.instructions = 2086, .vmread = 13, .vmwrite = 2, .vmclear = 1}},
    {HandlerStep::kVmxon, {.instructions = 6645, .vmread = 14, .vmwrite = 2, .vmclear = 1}},
    {HandlerStep::kVmxoff, {.instructions = 1897, .vmread = 4, .vmwrite = 3, .vmclear = 2}},
    {HandlerStep::kInvalidation, {.instructions = 2080, .vmread = 13, .vmwrite = 2}},
    {HandlerStep::kReflection, {.instructions = 2996, .vmread = 16, .vmwrite = 55, .vmptrld = 1}},
    {HandlerStep::kShadowReflection, {.instructions = 4991, .vmread = 64}},
    {HandlerStep::kPublish, {.instructions = 760, .vmwrite = 35, .vmptrld = 2, .vmclear = 1}},
    {HandlerStep::kFetch, {.instructions = 560, .vmread = 24, .vmptrld = 2, .vmclear = 1}},
    {HandlerStep::kNestedEntry, {.instructions = 7075, .vmread = 36, .vmwrite = 24, .vmptrld = 1}},
    {HandlerStep::kNewVmcs,
     {.instructions = 400, .vmread = 1, .vmwrite = 91, .rdmsr = 3, .mov_from_cr = 2}},
    {HandlerStep::kEptFill, {.instructions = 1840}},
    {HandlerStep::kPagingFill, {.instructions = 1651, .vmread = 1}},
    {HandlerStep::kWalkedEntry, {.instructions = 725}},
    // --- parameters: three fields and what decides on them; 4096 bytes that are zeroed, 512
    // entries that are looked at
    {HandlerStep::kInjection, {.instructions = 100, .vmwrite = 3}},
    {HandlerStep::kTableBuilt, {.instructions = 600}},
    {HandlerStep::kTableGivenUp, {.instructions = 2100}},
    {HandlerStep::kFlush, {.instructions = 20, .flushes = 1}},
};
constexpr auto kSteps = static_cast<size_t>(HandlerStep::kCount);
static_assert(std::size(kStepRows) == kSteps);

constexpr auto kWork = [] {
  std::array<HandlerWork, kSteps> all{};
  for (const StepRow& row : kStepRows) all[static_cast<size_t>(row.step)] = row.work;
  return all;
}();

constexpr struct {
  SystemCost cost;
  uint8_t HandlerWork::*count;
} kSystemInstructions[] = {
    {SystemCost::kVmread, &HandlerWork::vmread},
    {SystemCost::kVmwrite, &HandlerWork::vmwrite},
    {SystemCost::kVmptrld, &HandlerWork::vmptrld},
    {SystemCost::kVmclear, &HandlerWork::vmclear},
    {SystemCost::kRdmsr, &HandlerWork::rdmsr},
    {SystemCost::kRdtsc, &HandlerWork::rdtsc},
    {SystemCost::kMovFromControlRegister, &HandlerWork::mov_from_cr},
    {SystemCost::kMovToControlRegister, &HandlerWork::mov_to_cr},
    {SystemCost::kInvalidate, &HandlerWork::flushes},
};

constexpr struct {
  vmx::ExitReason reason;
  HandlerStep step;
} kStepsOfReasons[] = {
    {vmx::ExitReason::kRdmsr, HandlerStep::kMsrAccess},
    {vmx::ExitReason::kWrmsr, HandlerStep::kMsrAccess},
    {vmx::ExitReason::kControlRegisterAccess, HandlerStep::kControlRegister},
    {vmx::ExitReason::kVmread, HandlerStep::kVmread},
    {vmx::ExitReason::kVmwrite, HandlerStep::kVmwrite},
    {vmx::ExitReason::kVmptrld, HandlerStep::kVmptrld},
    {vmx::ExitReason::kVmptrst, HandlerStep::kVmread},
    {vmx::ExitReason::kVmclear, HandlerStep::kVmclear},
    {vmx::ExitReason::kVmxon, HandlerStep::kVmxon},
    {vmx::ExitReason::kVmxoff, HandlerStep::kVmxoff},
    {vmx::ExitReason::kInvept, HandlerStep::kInvalidation},
    {vmx::ExitReason::kInvvpid, HandlerStep::kInvalidation},
};

// Code in the mix of KVM's 150,908 instructions (objdump of kvm.ko and kvm-intel.ko of that kernel,
// without NOPs), which per cent are: loads 12, stores 7, moves 17, PUSH and POP 9, arithmetic 11,
// with an operand in memory 2, LEA 2, comparisons 8 and 3 in memory, conditional jumps 12, jumps
// and returns 8, calls 8.
constexpr std::string_view kCode[] = {
    "\x55"sv,                          // push rbp
    "\x48\x89\xe5"sv,                  // mov rbp, rsp
    "\x53"sv,                          // push rbx
    "\x48\x89\xfb"sv,                  // mov rbx, rdi
    "\x48\x8b\x87\x40\x01\x00\x00"sv,  // mov rax, [rdi + 0x140]
    "\x48\x8b\x50\x28"sv,              // mov rdx, [rax + 0x28]
    "\x48\x85\xd2"sv,                  // test rdx, rdx
    "\x74\x00"sv,                      // je
    "\xb9\x1e\x68\x00\x00"sv,          // mov ecx, 0x681e
    "\x48\x89\xd6"sv,                  // mov rsi, rdx
    "\x83\xe6\x3f"sv,                  // and esi, 0x3f
    "\x83\xfe\x04"sv,                  // cmp esi, 4
    "\x77\x00"sv,                      // ja
    "\xe8\x00\x00\x00\x00"sv,          // call
    "\x48\x89\x83\xd0\x02\x00\x00"sv,  // mov [rbx + 0x2d0], rax
    "\x8b\x83\x98\x00\x00\x00"sv,      // mov eax, [rbx + 0x98]
    "\x83\xc8\x10"sv,                  // or eax, 0x10
    "\x89\x83\x98\x00\x00\x00"sv,      // mov [rbx + 0x98], eax
    "\xf6\x83\x50\x01\x00\x00\x04"sv,  // test byte ptr [rbx + 0x150], 4
    "\x75\x00"sv,                      // jne
    "\x48\x8d\xbb\xb0\x01\x00\x00"sv,  // lea rdi, [rbx + 0x1b0]
    "\xbe\x01\x00\x00\x00"sv,          // mov esi, 1
    "\xe8\x00\x00\x00\x00"sv,          // call
    "\x49\x89\xc4"sv,                  // mov r12, rax
    "\x49\x8b\x4c\x24\x10"sv,          // mov rcx, [r12 + 0x10]
    "\x48\xc1\xe9\x0c"sv,              // shr rcx, 12
    "\xeb\x00"sv,                      // jmp
    "\x49\x03\x4c\x24\x18"sv,          // add rcx, [r12 + 0x18]
    "\x84\xc0"sv,                      // test al, al
    "\x74\x00"sv,                      // je
    "\x48\x89\xdf"sv,                  // mov rdi, rbx
    "\xe8\x00\x00\x00\x00"sv,          // call
    "\x48\x8b\x93\xb8\x02\x00\x00"sv,  // mov rdx, [rbx + 0x2b8]
    "\x48\x39\xca"sv,                  // cmp rdx, rcx
    "\x75\x00"sv,                      // jne
    "\x31\xd2"sv,                      // xor edx, edx
    "\xbf\x02\x44\x00\x00"sv,          // mov edi, 0x4402
    "\xeb\x00"sv,                      // jmp
    "\x4c\x89\xe6"sv,                  // mov rsi, r12
    "\xe8\x00\x00\x00\x00"sv,          // call
    "\x48\x83\x7b\x30\x00"sv,          // cmp qword ptr [rbx + 0x30], 0
    "\x74\x00"sv,                      // je
    "\x49\x89\x44\x24\x20"sv,          // mov [r12 + 0x20], rax
    "\x48\x83\xc4\x08"sv,              // add rsp, 8
    "\x5b"sv,                          // pop rbx
    "\x5d"sv,                          // pop rbp
    "\xc3"sv,                          // ret
    "\xc3"sv,                          // ret
};
constexpr uint64_t kThousand = 1000;

}  // namespace

const HandlerWork& work_of(HandlerStep step) { return kWork[static_cast<size_t>(step)]; }

HandlerStep step_for(vmx::ExitReason reason) {
  for (const auto& row : kStepsOfReasons)
    if (row.reason == reason) return row.step;
  return HandlerStep::kInstruction;
}

uint64_t handler_code_price(const timing::Processor& processor) {
  std::vector<uint8_t> code, lengths;
  for (const std::string_view instruction : kCode) {
    code.insert(code.end(), instruction.begin(), instruction.end());
    lengths.push_back(static_cast<uint8_t>(instruction.size()));
  }
  const auto prices = timing::price_instructions(code, lengths, CodeMode::k64, processor);
  const timing::BlockPrice price =
      timing::price_block(prices, processor, timing::Repetition::kUnrolled);
  return static_cast<uint64_t>(std::llround(kThousand * price.cycles() / std::size(kCode)));
}

HandlerPrices::HandlerPrices(const timing::Processor& processor) {
  const uint64_t code = handler_code_price(processor);
  for (size_t i = 0; i < kSteps; ++i) {
    const HandlerWork& work = kWork[i];
    uint64_t plain = work.instructions, cycles = 0;
    for (const auto& [cost, count] : kSystemInstructions) {
      plain -= work.*count;
      cycles += uint64_t{work.*count} * timing::system_price(processor, cost);
    }
    cycles_[i] = static_cast<uint32_t>(cycles + plain * code / kThousand);
  }
}

}  // namespace nestor::emu
