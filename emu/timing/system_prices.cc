// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/system_prices.h"

#include <algorithm>
#include <array>

#include "vmx/fields.h"

namespace nestor::emu::timing {
namespace {

struct Row {
  SystemCost cost;
  std::array<uint16_t, 4> cycles;  // Haswell, Broadwell, Skylake server, Ice Lake
};

// Measured: reciprocal throughputs of uops.info, as ashvardanian/AssemblyStats lists them. The
// others are parameters: of the right size, as remembered from the literature, and nobody has
// published them for each processor.
constexpr Row kRows[] = {
    // --- measured
    {SystemCost::kCpuid, {99, 99, 100, 105}},
    {SystemCost::kRdtsc, {24, 24, 25, 27}},
    {SystemCost::kRdtscp, {30, 30, 32, 36}},
    {SystemCost::kRdpmc, {37, 37, 20, 9}},
    {SystemCost::kRdmsr, {92, 91, 89, 91}},
    {SystemCost::kWrmsr, {137, 132, 138, 140}},
    {SystemCost::kClts, {53, 52, 57, 60}},
    {SystemCost::kLoadDescriptorTable, {120, 120, 120, 131}},  // LGDT
    {SystemCost::kInvlpg, {208, 207, 225, 216}},
    {SystemCost::kPause, {9, 9, 140, 138}},
    {SystemCost::kInterruptFlag, {4, 4, 4, 4}},
    {SystemCost::kClearInterruptFlag, {2, 2, 2, 2}},
    {SystemCost::kXsetbv, {17, 17, 17, 17}},            // Skylake's
    {SystemCost::kPopf, {21, 21, 21, 21}},              // Skylake's
    {SystemCost::kRandomNumber, {536, 536, 536, 536}},  // Skylake's
    // --- parameters
    {SystemCost::kOther, {20, 20, 20, 20}},
    {SystemCost::kMovFromControlRegister, {10, 10, 10, 10}},
    {SystemCost::kMovToControlRegister, {200, 200, 200, 200}},
    {SystemCost::kMovToCr3, {186, 186, 186, 186}},
    {SystemCost::kDebugRegister, {40, 40, 40, 40}},
    {SystemCost::kXsave, {120, 120, 120, 120}},
    {SystemCost::kPushf, {4, 4, 4, 4}},
    {SystemCost::kSegmentLoad, {20, 20, 20, 20}},
    {SystemCost::kFarTransfer, {100, 100, 100, 100}},
    {SystemCost::kSyscall, {82, 82, 82, 82}},
    {SystemCost::kSysret, {75, 75, 75, 75}},
    {SystemCost::kIret, {250, 250, 250, 250}},
    {SystemCost::kVmread, {30, 30, 30, 30}},
    {SystemCost::kVmwrite, {30, 30, 30, 30}},
    {SystemCost::kVmptrld, {150, 150, 150, 150}},
    {SystemCost::kVmclear, {150, 150, 150, 150}},
    {SystemCost::kVmfunc, {134, 134, 134, 134}},
    {SystemCost::kInvalidate, {200, 200, 200, 200}},
    {SystemCost::kException, {300, 300, 300, 300}},
    {SystemCost::kPageFault, {450, 450, 450, 450}},
    {SystemCost::kInterrupt, {400, 400, 400, 400}},
    {SystemCost::kVmEntry, {100, 100, 100, 100}},
    {SystemCost::kVmExit, {200, 200, 200, 200}},
    {SystemCost::kFieldChecked, {1, 1, 1, 1}},
    {SystemCost::kFieldLoaded, {3, 3, 3, 3}},
    {SystemCost::kFieldSaved, {2, 2, 2, 2}},
};

constexpr size_t kCosts = static_cast<size_t>(SystemCost::kCount);

constexpr auto kPrices = [] {
  std::array<std::array<uint16_t, 4>, kCosts> prices{};
  for (const Row& row : kRows) prices[static_cast<size_t>(row.cost)] = row.cycles;
  return prices;
}();
static_assert(std::size(kRows) == kCosts);
static_assert(std::ranges::all_of(kPrices, [](const auto& row) { return row[0] != 0; }));

constexpr struct {
  Operation operation;
  SystemCost cost;
} kInstructions[] = {
    {Operation::kCpuid, SystemCost::kCpuid},
    {Operation::kRdtsc, SystemCost::kRdtsc},
    {Operation::kRdtscp, SystemCost::kRdtscp},
    {Operation::kRdpmc, SystemCost::kRdpmc},
    {Operation::kRdmsr, SystemCost::kRdmsr},
    {Operation::kWrmsr, SystemCost::kWrmsr},
    {Operation::kMovFromCr, SystemCost::kMovFromControlRegister},
    {Operation::kSmsw, SystemCost::kMovFromControlRegister},
    {Operation::kMovToCr, SystemCost::kMovToControlRegister},
    {Operation::kLmsw, SystemCost::kMovToControlRegister},
    {Operation::kClts, SystemCost::kClts},
    {Operation::kMovFromDr, SystemCost::kDebugRegister},
    {Operation::kMovToDr, SystemCost::kDebugRegister},
    {Operation::kLgdt, SystemCost::kLoadDescriptorTable},
    {Operation::kLidt, SystemCost::kLoadDescriptorTable},
    {Operation::kLldt, SystemCost::kLoadDescriptorTable},
    {Operation::kLtr, SystemCost::kLoadDescriptorTable},
    {Operation::kInvlpg, SystemCost::kInvlpg},
    {Operation::kInvpcid, SystemCost::kInvalidate},
    {Operation::kInvept, SystemCost::kInvalidate},
    {Operation::kInvvpid, SystemCost::kInvalidate},
    {Operation::kXsetbv, SystemCost::kXsetbv},
    {Operation::kXsave, SystemCost::kXsave},
    {Operation::kXsaveopt, SystemCost::kXsave},
    {Operation::kXsavec, SystemCost::kXsave},
    {Operation::kXsaves, SystemCost::kXsave},
    {Operation::kXrstor, SystemCost::kXsave},
    {Operation::kXrstors, SystemCost::kXsave},
    {Operation::kFxsave, SystemCost::kXsave},
    {Operation::kFxrstor, SystemCost::kXsave},
    {Operation::kRdrand, SystemCost::kRandomNumber},
    {Operation::kRdseed, SystemCost::kRandomNumber},
    {Operation::kPause, SystemCost::kPause},
    {Operation::kCli, SystemCost::kClearInterruptFlag},
    {Operation::kSti, SystemCost::kInterruptFlag},
    {Operation::kPushf, SystemCost::kPushf},
    {Operation::kPopf, SystemCost::kPopf},
    {Operation::kMoveToSegment, SystemCost::kSegmentLoad},
    {Operation::kPopSegment, SystemCost::kSegmentLoad},
    {Operation::kLds, SystemCost::kSegmentLoad},
    {Operation::kLes, SystemCost::kSegmentLoad},
    {Operation::kLfs, SystemCost::kSegmentLoad},
    {Operation::kLgs, SystemCost::kSegmentLoad},
    {Operation::kLss, SystemCost::kSegmentLoad},
    {Operation::kFarJump, SystemCost::kFarTransfer},
    {Operation::kFarCall, SystemCost::kFarTransfer},
    {Operation::kFarReturn, SystemCost::kFarTransfer},
    {Operation::kSyscall, SystemCost::kSyscall},
    {Operation::kSysenter, SystemCost::kSyscall},
    {Operation::kSysret, SystemCost::kSysret},
    {Operation::kSysexit, SystemCost::kSysret},
    {Operation::kIret, SystemCost::kIret},
    {Operation::kVmread, SystemCost::kVmread},
    {Operation::kVmwrite, SystemCost::kVmwrite},
    {Operation::kVmptrld, SystemCost::kVmptrld},
    {Operation::kVmptrst, SystemCost::kVmread},
    {Operation::kVmclear, SystemCost::kVmclear},
    {Operation::kVmxon, SystemCost::kVmptrld},
    {Operation::kVmxoff, SystemCost::kVmclear},
    {Operation::kVmfunc, SystemCost::kVmfunc},
};

constexpr auto kCostOfOperation = [] {
  std::array<SystemCost, static_cast<size_t>(Operation::kCount)> costs{};
  for (const auto& [operation, cost] : kInstructions) costs[static_cast<size_t>(operation)] = cost;
  return costs;
}();

constexpr unsigned fields_of(vmx::FieldType type) {
  return static_cast<unsigned>(std::ranges::count_if(
      vmx::kFields, [type](const vmx::FieldInfo& info) { return type_of(info.field) == type; }));
}
constexpr unsigned kControls = fields_of(vmx::FieldType::kControl),
                   kInformation = fields_of(vmx::FieldType::kVmExitInformation),
                   kGuestState = fields_of(vmx::FieldType::kGuestState),
                   kHostState = fields_of(vmx::FieldType::kHostState);

}  // namespace

uint16_t system_price(const Processor& processor, SystemCost cost) {
  const auto& row = kPrices[static_cast<size_t>(cost)];
  return row[static_cast<size_t>(processor.table)];
}

SystemCost cost_of(Operation operation, unsigned register_number) {
  constexpr unsigned kCr3 = 3;
  if (operation == Operation::kMovToCr && register_number == kCr3) return SystemCost::kMovToCr3;
  return kCostOfOperation[static_cast<size_t>(operation)];
}

uint64_t vm_entry_price(const Processor& processor, const vmx::Vmcs& vmcs) {
  const auto price = [&processor](SystemCost cost) {
    return uint64_t{system_price(processor, cost)};
  };
  return price(SystemCost::kVmEntry) +
         (kControls + kHostState + kGuestState) * price(SystemCost::kFieldChecked) +
         kGuestState * price(SystemCost::kFieldLoaded) +
         vmcs[vmx::Field::kVmEntryMsrLoadCount] * price(SystemCost::kWrmsr);
}

uint64_t vm_exit_price(const Processor& processor, const vmx::Vmcs& vmcs) {
  const auto price = [&processor](SystemCost cost) {
    return uint64_t{system_price(processor, cost)};
  };
  return price(SystemCost::kVmExit) +
         (kGuestState + kInformation) * price(SystemCost::kFieldSaved) +
         kHostState * price(SystemCost::kFieldLoaded) +
         vmcs[vmx::Field::kVmExitMsrStoreCount] * price(SystemCost::kRdmsr) +
         vmcs[vmx::Field::kVmExitMsrLoadCount] * price(SystemCost::kWrmsr);
}

}  // namespace nestor::emu::timing
