// SPDX-License-Identifier: GPL-2.0-or-later
//
// What main.c, the exercise, and check.c, which calls it, have in common.
#pragma once

#include <stdint.h>

#include "guest-images/lib/vmx_instructions.h"

// VMCS12: the VMCS that L2 has for L3, a page of L2's memory. What is in it is L1's affair, but for
// the first word.
enum { kFields = 10 };
typedef struct {
  uint32_t revision;  // VMCS revision identifier
  uint32_t abort_indicator;
  uint64_t launched;
  uint64_t fields[kFields];
} Vmcs12;

// The revision identifier that L1 offers to L2.
#define VMCS12_REVISION 0x12u

// The VMX side of L2's processor.
#define NO_VMCS (~0ull)
typedef struct {
  uint64_t vmxon_pointer;
  uint64_t current_vmcs;  // the current-VMCS pointer; NO_VMCS: there is none
} VirtualProcessor;

// The page at a guest-physical address of L2.
Vmcs12* vmcs12_at(uint64_t address);

// Where VMCS12 has the field with this encoding; null if L1 does not offer it to L2.
uint64_t* vmcs12_field(Vmcs12* vmcs12, uint64_t encoding);

// VMfail(ERROR) as the manual's "Conventions" define it: VMfailValid, with the error in the current
// VMCS12, or VMfailInvalid where there is none.
VmxResult vm_fail(const VirtualProcessor* processor, uint32_t error);

// VM-instruction error numbers.
enum {
  kErrorVmptrldAddress = 9,
  kErrorVmptrldVmxonPointer = 10,
  kErrorVmptrldRevision = 11,
  kErrorUnsupportedField = 12,
  kErrorReadOnlyField = 13,
};

// L2 has executed the instruction. What is returned becomes L2's CF and ZF, *VALUE what L2 reads.
VmxResult emulate_vmptrld(VirtualProcessor* processor, uint64_t address);
VmxResult emulate_vmwrite(VirtualProcessor* processor, uint64_t encoding, uint64_t value);
VmxResult emulate_vmread(VirtualProcessor* processor, uint64_t encoding, uint64_t* value);

// L2 has executed VMLAUNCH or VMRESUME. The current VMCS is VMCS02, with which the processor is
// about to run L3: controls, host state and segments are in it.
void prepare_vmcs02(Vmcs12* vmcs12);

// L3 has caused a VM exit that L2 is to get. The current VMCS is VMCS02.
void save_exit(Vmcs12* vmcs12);
