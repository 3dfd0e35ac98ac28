// SPDX-License-Identifier: GPL-2.0-or-later
//
// TSS and IDT of the images, and what they consist of in 64-bit mode.
#pragma once

#include <stdint.h>

typedef struct __attribute__((packed)) {
  uint32_t reserved0;
  uint64_t rsp[3];
  uint64_t reserved1;
  uint64_t ist[7];  // IST1 to IST7
  uint64_t reserved2;
  uint16_t reserved3;
  uint16_t io_map_base;
} TaskStateSegment;
_Static_assert(sizeof(TaskStateSegment) == 104, "64-bit TSS");

typedef struct {
  uint16_t offset_low;
  uint16_t selector;
  uint8_t ist;
  uint8_t type;
  uint16_t offset_middle;
  uint32_t offset_high;
  uint32_t reserved;
} InterruptGate;
_Static_assert(sizeof(InterruptGate) == 16, "64-bit IDT gate");

// An interrupt gate for CPL 0 to HANDLER, in the images' code segment. IST: 0, or the number of the
// stack in the TSS.
InterruptGate interrupt_gate(uint64_t handler, uint8_t ist);

// Loads TR and IDTR. From then on an exception is reported on the console and ends the image.
void descriptor_tables_load(void);

// Linear address of the TSS in use, for the VMCS's host state.
uint64_t tss_base(void);
