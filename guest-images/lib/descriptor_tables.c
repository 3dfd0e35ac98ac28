// SPDX-License-Identifier: GPL-2.0-or-later
#include "guest-images/lib/descriptor_tables.h"

#include "guest-images/lib/processor.h"
#include "guest-images/lib/selectors.h"

enum { kExceptionVectors = 32, kDescriptorTss64Available = 0x89, kGateInterrupt64 = 0x8e };

extern uint64_t boot_gdt[];                        // boot.S
extern const uint64_t exception_stub_addresses[];  // exception_stubs.S

static TaskStateSegment tss;
static InterruptGate idt[kExceptionVectors];
static uint8_t double_fault_stack[4096] __attribute__((aligned(16)));

uint64_t tss_base(void) { return (uint64_t)&tss; }

InterruptGate interrupt_gate(uint64_t handler, uint8_t ist) {
  return (InterruptGate){
      .offset_low = (uint16_t)handler,
      .selector = SELECTOR_CODE64,
      .ist = ist,
      .type = kGateInterrupt64,
      .offset_middle = (uint16_t)(handler >> 16),
      .offset_high = (uint32_t)(handler >> 32),
  };
}

void descriptor_tables_load(void) {
  tss.ist[0] = (uint64_t)(double_fault_stack + sizeof double_fault_stack);
  tss.io_map_base = sizeof tss;

  const uint64_t base = tss_base();
  const uint64_t limit = sizeof tss - 1;
  uint64_t* descriptor = &boot_gdt[SELECTOR_TSS / 8];
  descriptor[0] = limit | (base & 0xffffff) << 16 | (uint64_t)kDescriptorTss64Available << 40 |
                  (base >> 24 & 0xff) << 56;
  descriptor[1] = base >> 32;
  __asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS) : "memory");

  for (unsigned vector = 0; vector < kExceptionVectors; vector++) {
    idt[vector] = interrupt_gate(exception_stub_addresses[vector], vector == 8);
  }
  const DescriptorTableRegister idtr = {sizeof idt - 1, (uint64_t)idt};
  __asm__ volatile("lidt %0" : : "m"(idtr));
}
