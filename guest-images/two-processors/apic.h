// SPDX-License-Identifier: GPL-2.0-or-later
//
// The local APIC in x2APIC mode: Intel SDM, "Extended XAPIC (x2APIC)".
#pragma once

#include <stdint.h>

#include "guest-images/lib/processor.h"

enum {
  kMsrApicBase = 0x1b,
  kMsrApicId = 0x802,
  kMsrApicEoi = 0x80b,
  kMsrApicSpurious = 0x80f,
  kMsrApicCommand = 0x830,
};

enum {
  kApicBaseX2apic = 3 << 10,  // globally enabled, in x2APIC mode
  kApicSoftwareEnable = 1 << 8,
  kCpuid1EcxX2apic = 1 << 21,
};

// Interrupt command register: delivery modes, all with the level asserted.
enum {
  kIpiFixed = 0x4000,
  kIpiNmi = 0x4400,
  kIpiInit = 0x4500,
  kIpiStartUp = 0x4600,  // the page to start at is the vector
  kIpiToAllOthers = 3 << 18,
};

static inline void apic_enable(void) {
  write_msr(kMsrApicBase, read_msr(kMsrApicBase) | kApicBaseX2apic);
  write_msr(kMsrApicSpurious, kApicSoftwareEnable | 0xff);
}

static inline void apic_send(uint32_t to, uint32_t command) {
  write_msr(kMsrApicCommand, (uint64_t)to << 32 | command);
}

static inline void apic_send_to_all_others(uint32_t command) {
  write_msr(kMsrApicCommand, kIpiToAllOthers | command);
}

static inline void pause(void) { __asm__ volatile("pause" : : : "memory"); }
