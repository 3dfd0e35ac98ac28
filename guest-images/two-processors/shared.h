// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the two processors, and L2 on the second one, tell each other; shared with assembly.
#pragma once

// Where start-up IPIs send the second processor: page 8, the vector of the IPI.
#define START_UP_VECTOR 8
#define START_UP_PAGE (START_UP_VECTOR << 12)

#ifndef __ASSEMBLER__

#include <stdbool.h>
#include <stdint.h>

// A VM exit as the second processor found it.
typedef struct {
  uint32_t reason, interruption, activity;
  uint64_t qualification;
} ExitRecord;

enum { kMostExits = 8 };
extern ExitRecord exit_records[kMostExits];

// Each is written by one side alone and read by the other; on x86 that needs no more than volatile.
extern volatile uint32_t guest_stage;    // L2: how far it has come
extern volatile uint32_t exits_handled;  // L1 on the second processor: VM exits until now
extern volatile uint32_t second_id;      // APIC ID of the second processor
extern volatile uint32_t start_ups;      // start_up.S: how often a second processor has started
extern volatile bool in_root_operation;  // L1 there is done with L2, but still in VMX operation
extern volatile bool init_sent;          // the first processor has sent INIT to it meanwhile
extern volatile bool init_survived;      // and it is still running
extern volatile bool restart_expected;   // from now on a start is the second one

// The second processor: a hypervisor with one guest. Does not return: VMXOFF lets the INIT in.
_Noreturn void second_processor(void);

#endif
