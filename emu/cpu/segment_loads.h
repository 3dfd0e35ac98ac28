// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a selector brings into a segment register: the checks of its descriptor, and the accessed
// flag, which is set in memory before anything is loaded. SDM volume 3A, "Protection", and the
// instruction references.
#pragma once

#include <cstdint>
#include <optional>

#include "emu/cpu/core.h"
#include "emu/cpu/result.h"
#include "emu/cpu/segments.h"

namespace nestor::emu {

// How a selector that may not be loaded is refused.
struct SelectorFaults {
  vmx::Vector vector = vmx::kGp;  // but for segments that are not present
  bool ext = false;               // EXT flag of the error code
};

// For DS, ES, FS and GS at `cpl`; the selector is not null. Not present: #NP.
Result<vmx::Segment> data_segment(Core& core, uint16_t selector, uint8_t cpl,
                                  SelectorFaults faults = {});
// For SS at `cpl`; the selector is not null. Not present: #SS.
Result<vmx::Segment> stack_segment(Core& core, uint16_t selector, uint8_t cpl,
                                   SelectorFaults faults = {});
// The same, without loading it: the checks alone.
Result<Descriptor> find_stack_segment(Core& core, uint16_t selector, uint8_t cpl,
                                      SelectorFaults faults = {});
// SS with a null selector, which it may have in 64-bit mode.
vmx::Segment null_stack_segment(uint16_t selector, uint8_t cpl);

// What any segment register gets in virtual-8086 mode.
vmx::Segment virtual_8086_segment(uint16_t selector);

// Loads a data segment register, or SS, as MOV, POP and LDS with their kin do.
std::optional<Fault> load_segment(Core& core, vmx::SegmentRegister segment, uint16_t selector);

// The stack that the TSS has for privilege level `cpl`, outside IA-32e mode.
struct InnerStack {
  vmx::Segment ss;
  uint64_t rsp = 0;
};
Result<InnerStack> inner_stack(Core& core, uint8_t cpl, bool ext);
// In IA-32e mode: that for privilege level `cpl`, and the one with this number, 1 to 7, in the
// interrupt stack table.
Result<uint64_t> inner_stack_pointer(Core& core, uint8_t cpl, bool ext);
Result<uint64_t> interrupt_stack_pointer(Core& core, unsigned ist, bool ext);

// Whether code that runs at `cpl` may go to this code segment as it is: no gate, no stack switch.
// `rpl`: of the selector, where that matters.
std::optional<vmx::Event> check_code_segment(const vmx::CpuState& state,
                                             const Descriptor& descriptor, uint16_t selector,
                                             uint8_t rpl, uint8_t cpl);
// RIP would be canonical, or inside the segment. What goes elsewhere is #GP(0).
bool is_reachable(const vmx::CpuState& state, const Descriptor& code, uint64_t rip);
// Puts CS and RIP into `next`, for code that runs at `cpl`, if it is reachable.
std::optional<Fault> enter_code_segment(Core& core, vmx::CpuState& next, uint16_t selector,
                                        Descriptor descriptor, uint64_t rip, uint8_t cpl);

// After a return to `cpl`: makes the data segments null that it may not access. FS and GS keep
// their bases, as processors do.
void drop_inner_segments(vmx::CpuState& next, uint8_t cpl);

}  // namespace nestor::emu
