// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/instructions/emulate.h"

#include <array>

#include "emu/cpu/instructions/handlers.h"

namespace nestor::emu {
namespace {

using instructions::Handler;

struct Entry {
  Operation operation;
  Handler handler;
};

constexpr Entry kEntries[] = {
    {Operation::kMovFromCr, instructions::mov_from_cr},
    {Operation::kMovToCr, instructions::mov_to_cr},
    {Operation::kMovFromDr, instructions::mov_from_dr},
    {Operation::kMovToDr, instructions::mov_to_dr},
    {Operation::kClts, instructions::clts},
    {Operation::kLmsw, instructions::lmsw},
    {Operation::kSmsw, instructions::smsw},
    {Operation::kRdmsr, instructions::rdmsr},
    {Operation::kWrmsr, instructions::wrmsr},
    {Operation::kRdtsc, instructions::rdtsc},
    {Operation::kRdtscp, instructions::rdtscp},
    {Operation::kRdpmc, instructions::rdpmc},
    {Operation::kRdpid, instructions::rdpid},
    {Operation::kXgetbv, instructions::xgetbv},
    {Operation::kXsetbv, instructions::xsetbv},
    {Operation::kXsave, instructions::xsave},
    {Operation::kXsaveopt, instructions::xsave},
    {Operation::kXsavec, instructions::xsave},
    {Operation::kXsaves, instructions::xsave},
    {Operation::kXrstor, instructions::xrstor},
    {Operation::kXrstors, instructions::xrstor},
    {Operation::kRdrand, instructions::rdrand},
    {Operation::kRdseed, instructions::rdseed},
    {Operation::kCpuid, instructions::cpuid_instruction},
    {Operation::kHlt, instructions::hlt},
    {Operation::kPause, instructions::pause},
    {Operation::kInvlpg, instructions::invlpg},
    {Operation::kInvpcid, instructions::invpcid},
    {Operation::kWbinvd, instructions::wbinvd},
    {Operation::kWbnoinvd, instructions::wbinvd},
    {Operation::kInvd, instructions::invd},
    {Operation::kMonitor, instructions::monitor},
    {Operation::kMwait, instructions::mwait},
    {Operation::kClac, instructions::set_access_check},
    {Operation::kStac, instructions::set_access_check},
    {Operation::kRdfsbase, instructions::read_segment_base},
    {Operation::kRdgsbase, instructions::read_segment_base},
    {Operation::kWrfsbase, instructions::write_segment_base},
    {Operation::kWrgsbase, instructions::write_segment_base},
    {Operation::kSgdt, instructions::store_table},
    {Operation::kSidt, instructions::store_table},
    {Operation::kLgdt, instructions::load_table},
    {Operation::kLidt, instructions::load_table},
    {Operation::kSldt, instructions::store_system_segment},
    {Operation::kStr, instructions::store_system_segment},
    {Operation::kLldt, instructions::load_system_segment},
    {Operation::kLtr, instructions::load_system_segment},
    {Operation::kInt, instructions::int_n},
    {Operation::kInt1, instructions::int1},
    {Operation::kInt3, instructions::int3},
    {Operation::kInto, instructions::into},
    {Operation::kSyscall, instructions::syscall},
    {Operation::kSysret, instructions::sysret},
    {Operation::kSysenter, instructions::sysenter},
    {Operation::kSysexit, instructions::sysexit},
    {Operation::kIn, instructions::in_or_out},
    {Operation::kOut, instructions::in_or_out},
    {Operation::kIns, instructions::ins_or_outs},
    {Operation::kOuts, instructions::ins_or_outs},
    {Operation::kVmcall, instructions::vmx_instruction},
    {Operation::kVmclear, instructions::vmx_instruction},
    {Operation::kVmfunc, instructions::vmx_instruction},
    {Operation::kVmlaunch, instructions::vmx_instruction},
    {Operation::kVmptrld, instructions::vmx_instruction},
    {Operation::kVmptrst, instructions::vmx_instruction},
    {Operation::kVmread, instructions::vmx_instruction},
    {Operation::kVmresume, instructions::vmx_instruction},
    {Operation::kVmwrite, instructions::vmx_instruction},
    {Operation::kVmxoff, instructions::vmx_instruction},
    {Operation::kVmxon, instructions::vmx_instruction},
    {Operation::kInvept, instructions::vmx_instruction},
    {Operation::kInvvpid, instructions::vmx_instruction},
};

Outcome undefined(Core&, const Instruction&) { return vmx::exception(vmx::kUd); }

constexpr auto kHandlers = [] {
  std::array<Handler, static_cast<size_t>(Operation::kCount)> table{};
  for (auto& handler : table) handler = undefined;
  for (const auto& entry : kEntries) table[static_cast<size_t>(entry.operation)] = entry.handler;
  return table;
}();

}  // namespace

Outcome emulate(Core& core, const Instruction& instruction) {
  // None of these instructions takes a LOCK prefix.
  if (instruction.prefixes.lock) return vmx::exception(vmx::kUd);
  return kHandlers[static_cast<size_t>(instruction.operation)](core, instruction);
}

}  // namespace nestor::emu
