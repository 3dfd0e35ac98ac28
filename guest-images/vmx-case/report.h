// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the processor made of a case, as text: README.md has the format.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest-images/lib/vmx_instructions.h"

// `debug_port`: to port E9H instead of COM1. `quiet`: nothing but the names of cases. `all`: fields
// that have not changed, too.
void report_open(bool debug_port, bool quiet, bool all);
// The VMX capability MSRs and the widths of addresses, as `nestor audit` reads them.
void report_machine(void);
void report_case(uint64_t number);
// The case wants a field that the processor does not have.
void report_missing_field(uint64_t encoding);
// Remembers the guest state before the first VM entry.
void report_entry_state(void);
void report_exit(const GuestRegisters* registers);
void report_failure(VmxResult result);

// L1's answer to the VM exit: passes over an instruction, or simply goes on. false: the case is
// over.
bool prepare_to_resume(void);
