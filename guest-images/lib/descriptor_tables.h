// SPDX-License-Identifier: GPL-2.0-or-later
//
// TSS and IDT of the images.
#pragma once

#include <stdint.h>

// Loads TR and IDTR. From then on an exception is reported on the console and ends the image.
void descriptor_tables_load(void);

// Linear address of the TSS in use, for the VMCS's host state.
uint64_t tss_base(void);
