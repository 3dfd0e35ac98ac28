// SPDX-License-Identifier: GPL-2.0-or-later
//
// L2, a small hypervisor, and its guest L3.
#pragma once

// L2 begins here. It ends with VMCALL, and the number of its failures in RAX.
_Noreturn void guest_main(void);

// L3 begins where L2 says, which is l3_entry, in guest.S.
extern const char l3_entry[];

// Where L3 begins if L1 does not do what L2 says: VMCALL with this value in RAX.
extern const char l3_lost[];
#define L3_LOST 0x1057
