// SPDX-License-Identifier: GPL-2.0-or-later
//
// One handler an instruction, or a family that differs in the operation alone.
#pragma once

#include "emu/cpu/core.h"
#include "emu/cpu/memory_fault.h"
#include "emu/decode/instruction.h"

namespace nestor::emu::instructions {

using Handler = Outcome (*)(Core&, const Instruction&);

// control_registers.cc
Outcome mov_to_cr(Core&, const Instruction&);
Outcome mov_from_cr(Core&, const Instruction&);
Outcome clts(Core&, const Instruction&);
Outcome lmsw(Core&, const Instruction&);
Outcome smsw(Core&, const Instruction&);

// debug_registers.cc
Outcome mov_to_dr(Core&, const Instruction&);
Outcome mov_from_dr(Core&, const Instruction&);

// descriptor_tables.cc
Outcome load_table(Core&, const Instruction&);
Outcome store_table(Core&, const Instruction&);
Outcome load_system_segment(Core&, const Instruction&);
Outcome store_system_segment(Core&, const Instruction&);

// machine_registers.cc
Outcome rdmsr(Core&, const Instruction&);
Outcome wrmsr(Core&, const Instruction&);
Outcome rdtsc(Core&, const Instruction&);
Outcome rdtscp(Core&, const Instruction&);
Outcome rdpid(Core&, const Instruction&);
Outcome rdpmc(Core&, const Instruction&);
Outcome read_segment_base(Core&, const Instruction&);
Outcome write_segment_base(Core&, const Instruction&);

// processor_control.cc
Outcome cpuid_instruction(Core&, const Instruction&);
Outcome hlt(Core&, const Instruction&);
Outcome pause(Core&, const Instruction&);
Outcome monitor(Core&, const Instruction&);
Outcome mwait(Core&, const Instruction&);
Outcome set_access_check(Core&, const Instruction&);

// extended_state.cc
Outcome xgetbv(Core&, const Instruction&);
Outcome xsetbv(Core&, const Instruction&);
Outcome xsave(Core&, const Instruction&);
Outcome xrstor(Core&, const Instruction&);

// random_numbers.cc
Outcome rdrand(Core&, const Instruction&);
Outcome rdseed(Core&, const Instruction&);

// invalidation.cc
Outcome invlpg(Core&, const Instruction&);
Outcome invpcid(Core&, const Instruction&);
Outcome wbinvd(Core&, const Instruction&);
Outcome invd(Core&, const Instruction&);

// software_interrupts.cc
Outcome int_n(Core&, const Instruction&);
Outcome int1(Core&, const Instruction&);
Outcome int3(Core&, const Instruction&);
Outcome into(Core&, const Instruction&);

// system_calls.cc
Outcome syscall(Core&, const Instruction&);
Outcome sysret(Core&, const Instruction&);
Outcome sysenter(Core&, const Instruction&);
Outcome sysexit(Core&, const Instruction&);

// port_io.cc
Outcome in_or_out(Core&, const Instruction&);
Outcome ins_or_outs(Core&, const Instruction&);

// virtualization.cc
Outcome vmx_instruction(Core&, const Instruction&);

}  // namespace nestor::emu::instructions
