// SPDX-License-Identifier: GPL-2.0-or-later
//
// A tour of the machine without VMX: an ELF64 image, entered in 64-bit mode.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest-images/abi/machine_ports.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/processor.h"

enum {
  kCodeSelector = 0x18,  // the boot loader's 64-bit code segment
  kGatePresentInterrupt = 0x8e,
  kVectorUd = 6,
  kVectorPf = 14,
  kVectorPit = 0x20,  // PIC input 0
  kVectorApicTimer = 0x40,
  kVectorIoApic = 0x41,
  kVectors = 0x42,
};

enum {
  kPicCommand = NESTOR_PORT_PIC_MASTER,
  kPicData = NESTOR_PORT_PIC_MASTER + 1,
  kPicEndOfInterrupt = 0x20,
  kPitChannel0 = 0x40,
  kPitChannel2 = 0x42,
  kPitControl = 0x43,
  kPortB = 0x61,
  kPortBGate = 1 << 0,
  kPortBOutput = 1 << 5,
  kPitFrequency = 1193182,
  kRtcIndex = 0x70,
  kRtcData = 0x71,
  kTestdevLines = 0x2000,
  kIoApicPin = 20,
  kUnclaimedPort = 0x1234,
};

static volatile uint32_t* const kApic = (volatile uint32_t*)0xfee00000;
static volatile uint32_t* const kIoApic = (volatile uint32_t*)0xfec00000;
static uint8_t* const kDeviceMemory = (uint8_t*)0xff000000;
static volatile uint64_t* const kUnclaimedMemory = (volatile uint64_t*)0xd0000000;
static volatile uint64_t* const kNotMapped = (volatile uint64_t*)0x140000000;

typedef struct __attribute__((packed)) {
  uint16_t offset_low, selector;
  uint8_t stack, type;
  uint16_t offset_middle;
  uint32_t offset_high, reserved;
} Gate;

// What an interrupt or exception leaves on the stack.
typedef struct {
  uint64_t rip, cs, rflags, rsp, ss;
} Frame;

static Gate idt[kVectors];
static uint64_t memory[1 << 17];
static unsigned failures;
static volatile unsigned pit_ticks, apic_ticks, io_apic_ticks, page_faults, invalid_opcodes;
static volatile uint64_t fault_error, fault_address;

static void expect(bool condition, const char* what) {
  print("%s: %s\n", what, condition ? "ok" : "WRONG");
  if (!condition) failures++;
}

__attribute__((interrupt)) static void on_invalid_opcode(Frame* frame) {
  invalid_opcodes++;
  frame->rip += 2;  // over UD2
}

__attribute__((interrupt)) static void on_page_fault(Frame* frame, uint64_t error) {
  uint64_t address;
  __asm__ volatile("mov %%cr2, %0" : "=r"(address));
  page_faults++;
  fault_error = error;
  fault_address = address;
  frame->rip += 3;  // over MOV (%rax), %rax
}

__attribute__((interrupt)) static void on_pit(Frame* frame) {
  (void)frame;
  pit_ticks++;
  port_write8(kPicCommand, kPicEndOfInterrupt);
}

static void end_of_interrupt(void) { kApic[0xb0 / 4] = 0; }

__attribute__((interrupt)) static void on_apic_timer(Frame* frame) {
  (void)frame;
  apic_ticks++;
  end_of_interrupt();
}

__attribute__((interrupt)) static void on_io_apic(Frame* frame) {
  (void)frame;
  io_apic_ticks++;
  end_of_interrupt();
}

static void set_gate(unsigned vector, uint64_t handler) {
  idt[vector] = (Gate){(uint16_t)handler,
                       kCodeSelector,
                       0,
                       kGatePresentInterrupt,
                       (uint16_t)(handler >> 16),
                       (uint32_t)(handler >> 32),
                       0};
}

static void load_idt(void) {
  set_gate(kVectorUd, (uint64_t)on_invalid_opcode);
  set_gate(kVectorPf, (uint64_t)on_page_fault);
  set_gate(kVectorPit, (uint64_t)on_pit);
  set_gate(kVectorApicTimer, (uint64_t)on_apic_timer);
  set_gate(kVectorIoApic, (uint64_t)on_io_apic);
  const DescriptorTableRegister idtr = {sizeof idt - 1, (uint64_t)idt};
  __asm__ volatile("lidt %0" : : "m"(idtr));
}

// Halts until interrupts have brought *COUNT to WANTED.
static void wait_for(volatile unsigned* count, unsigned wanted) {
  for (;;) {
    __asm__ volatile("cli");
    if (*count >= wanted) return;
    __asm__ volatile("sti; hlt");
  }
}

static uint64_t read_tsc(void) {
  uint32_t low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  return (uint64_t)high << 32 | low;
}

static void show_processor(void) {
  print("CR0 %#lx, CR4 %#lx, EFER %#lx\n", read_cr0(), read_cr4(), read_msr(kMsrEfer));
  expect((cpuid(0x80000001, 0).edx & 1u << 29) != 0, "CPUID has 64-bit mode");
  expect(cpuid(1, 0).ebx >> 24 == 0, "the initial APIC ID is 0");
}

static void try_memory(void) {
  uint64_t value = 1, sum = 0;
  for (unsigned i = 0; i < sizeof memory / sizeof *memory; i++) {
    value = value * 6364136223846793005 + 1442695040888963407;
    memory[i] = value;
  }
  for (unsigned i = 0; i < sizeof memory / sizeof *memory; i++) sum += memory[i] >> 32;
  print("the sum of 1 MiB of numbers is %#lx\n", sum);
}

static void try_ports(void) {
  static const char kText[] = "the debug console takes a string instruction\n";
  const char* text = kText;
  uint64_t left = sizeof kText - 1;
  __asm__ volatile("rep outsb"
                   : "+S"(text), "+c"(left)
                   : "d"((uint16_t)NESTOR_PORT_DEBUG_CONSOLE)
                   : "memory");
  char signature[5] = {0};
  char* to = signature;
  left = 4;
  __asm__ volatile("outw %w0, %w1" : : "a"(0), "Nd"((uint16_t)NESTOR_PORT_FW_CFG_SELECTOR));
  __asm__ volatile("rep insb"
                   : "+D"(to), "+c"(left)
                   : "d"((uint16_t)NESTOR_PORT_FW_CFG_DATA)
                   : "memory");
  print("fw_cfg says %s\n", signature);
  expect(port_read8(kUnclaimedPort) == 0xff, "a port without a device reads as ones");
  port_write8(kRtcIndex, 0x34);
  unsigned blocks = port_read8(kRtcData);
  port_write8(kRtcIndex, 0x35);
  blocks |= (unsigned)port_read8(kRtcData) << 8;
  print("the CMOS tells of %u MiB\n", (blocks >> 4) + 16);
}

static void try_device_memory(void) {
  *(volatile uint64_t*)kDeviceMemory = 0x1122334455667788;
  *(volatile uint8_t*)(kDeviceMemory + 1) = 0xaa;
  *(volatile uint16_t*)(kDeviceMemory + 2) = 0xbbcc;
  *(volatile uint32_t*)(kDeviceMemory + 4) = 0xdeadbeef;
  print("device memory holds %#lx\n", *(volatile uint64_t*)kDeviceMemory);
  expect(*kUnclaimedMemory == ~0ul, "memory without a device reads as ones");
}

static void try_exceptions(void) {
  __asm__ volatile("ud2");
  expect(invalid_opcodes == 1, "UD2 raises #UD");
  uint64_t value = (uint64_t)kNotMapped;
  __asm__ volatile(".byte 0x48, 0x8b, 0x00" : "+a"(value) : : "memory");  // mov (%rax), %rax
  print("page faults: %u, error code %#lx, CR2 %#lx\n", page_faults, fault_error, fault_address);
}

static void try_timers(void) {
  const uint64_t before = read_tsc();
  // Channel 2 counts 1/1000 second once its gate opens; its output says when.
  const uint16_t count = kPitFrequency / 1000;
  port_write8(kPortB, 0);
  port_write8(kPitControl, 0xb0);
  port_write8(kPitChannel2, (uint8_t)count);
  port_write8(kPitChannel2, count >> 8);
  port_write8(kPortB, kPortBGate);
  while (!(port_read8(kPortB) & kPortBOutput)) {
  }
  expect(read_tsc() > before, "the TSC counts while the PIT does");

  // Input 0 of the 8259 is vector 20H, all others are masked.
  port_write8(kPicCommand, 0x11);
  port_write8(kPicData, kVectorPit);
  port_write8(kPicData, 4);
  port_write8(kPicData, 1);
  port_write8(kPicData, 0xfe);
  port_write8(kPitControl, 0x34);
  port_write8(kPitChannel0, (uint8_t)count);
  port_write8(kPitChannel0, count >> 8);
  wait_for(&pit_ticks, 3);
  port_write8(kPicData, 0xff);
  expect(pit_ticks >= 3, "the PIT interrupts through the 8259");

  kApic[0x3e0 / 4] = 0xb;               // divide by 1
  kApic[0x320 / 4] = kVectorApicTimer;  // one-shot
  kApic[0x380 / 4] = 1000000;
  wait_for(&apic_ticks, 1);
  expect(apic_ticks == 1, "the APIC timer interrupts once");
}

static void try_io_apic(void) {
  kIoApic[0] = 0x10 + 2 * kIoApicPin;
  kIoApic[4] = kVectorIoApic;  // edge-triggered, physical destination 0
  kIoApic[0] = 0x11 + 2 * kIoApicPin;
  kIoApic[4] = 0;
  port_write8(kTestdevLines + kIoApicPin, 1);
  wait_for(&io_apic_ticks, 1);
  port_write8(kTestdevLines + kIoApicPin, 0);
  expect(io_apic_ticks == 1, "a line of the I/O APIC interrupts once");
}

// INFORMATION is a Multiboot 2 structure, whose first tag is the command line.
// What the loader enters, as the linker script says.
_Noreturn void image_entry(uint64_t information);

void image_entry(uint64_t information) {
  console_open();
  print("%s\n", (const char*)(information + 16));
  show_processor();
  load_idt();
  try_memory();
  try_ports();
  try_device_memory();
  try_exceptions();
  try_timers();
  try_io_apic();
  finish("plain-pc", failures);
}
