// SPDX-License-Identifier: GPL-2.0-or-later
//
// Runs VM entries that a Multiboot module describes, and prints what the processor makes of them.
#include <stdbool.h>
#include <stddef.h>

#include "guest-images/abi/machine_ports.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/memory.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/selectors.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_instructions.h"
#include "guest-images/vmx-case/case_abi.h"
#include "guest-images/vmx-case/report.h"
#include "guest-images/vmx-case/text.h"

static const char kImage[] = "vmx-case";

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));

// The arena as the base section describes it, and what it does to the VMCS and the registers.
static uint64_t pristine[NESTOR_CASE_ARENA_SIZE / 8];
static struct { uint64_t encoding, value; } base_fields[256];
static unsigned base_field_count;
static GuestRegisters base_registers;

static GuestRegisters registers;
static unsigned exits;

// What is read while there is no case belongs to the base.
static bool in_base = true;

static void set_field(uint64_t encoding, uint64_t value) {
  if (in_base) {
    if (base_field_count == sizeof base_fields / sizeof base_fields[0])
      give_up("too many fields in the base");
    base_fields[base_field_count].encoding = encoding;
    base_fields[base_field_count++].value = value;
  } else if (vmx_write(encoding, value) != kVmSucceed) {
    report_missing_field(encoding);
  }
}

static void flip_field(uint64_t encoding, uint64_t bits) {
  uint64_t value;
  if (in_base || vmx_read(encoding, &value) != kVmSucceed) give_up("cannot flip %#lx", encoding);
  vmx_write(encoding, value ^ bits);
}

static void set_register(uint64_t number, uint64_t value) {
  GuestRegisters* target = in_base ? &base_registers : &registers;
  if (number >= sizeof *target / sizeof target->rax) give_up("there is no register %lu", number);
  (&target->rax)[number] = value;
}

static void set_memory(uint64_t address, const char* digits) {
  uint8_t* base = in_base ? (uint8_t*)pristine : (uint8_t*)NESTOR_CASE_ARENA;
  uint64_t offset = address - NESTOR_CASE_ARENA;
  for (; *digits > ' '; digits += 2, offset++) {
    if (offset >= NESTOR_CASE_ARENA_SIZE) give_up("%#lx is outside the arena", address);
    base[offset] = (uint8_t)(text_digit(digits[0]) << 4 | text_digit(digits[1]));
  }
}

// A guest's DR0 to DR3 are what L1 leaves there. DR7 of L1 enables none of them.
static void set_debug_register(uint64_t number, uint64_t address) {
  if (number >= kDebugAddresses) give_up("there is no DR%lu to set", number);
  if (read_debug_address((unsigned)number) != address)
    write_debug_address((unsigned)number, address);
}

// What guests change and no VM exit restores.
static uint64_t first_cr0, first_pat, first_efer;

static void remember_registers(void) {
  first_cr0 = read_cr0();
  first_pat = read_msr(kMsrPat);
  first_efer = read_msr(kMsrEfer);
}

static void restore_registers(void) {
  if (read_cr0() != first_cr0) write_cr0(first_cr0);
  write_cr2(0);
  if (read_dr6() != kDr6Initial) write_dr6(kDr6Initial);
  for (unsigned number = 0; number < kDebugAddresses; number++) set_debug_register(number, 0);
  if (read_msr(kMsrPat) != first_pat) write_msr(kMsrPat, first_pat);
  if (read_msr(kMsrEfer) != first_efer) write_msr(kMsrEfer, first_efer);
}

// NMIs that guests send reach L1 when no guest takes them: at any time, and they mean nothing.
__asm__("ignore_nmi: iretq");
extern const uint8_t ignore_nmi[];

static void ignore_nmis(void) {
  const uint64_t handler = (uint64_t)ignore_nmi;
  // The gate of vector 2 of 64-bit mode: bits 15:0 of the offset, and at 6 bits 63:16.
  uint8_t* const gate = (uint8_t*)read_idtr().base + 2 * 16;
  memcpy(gate, &handler, 2);
  memcpy(gate + 6, (const uint8_t*)&handler + 2, 6);
}

// A VM exit may leave them blocked; IRET ends that, and takes one that has been held back.
static void unblock_nmis(void) {
  __asm__ volatile(
      "movq %%rsp, %%rax\n\t"
      "pushq %0\n\t"
      "pushq %%rax\n\t"
      "pushfq\n\t"
      "pushq %1\n\t"
      "pushq $1f\n\t"
      "iretq\n"
      "1:"
      :
      : "i"(SELECTOR_DATA), "i"(SELECTOR_CODE64)
      : "rax", "memory");
}

// A timer that the firmware left running must not interrupt a guest.
static void mask_legacy_interrupts(void) {
  port_write8(0x21, 0xff);
  port_write8(0xa1, 0xff);
}

static void begin_case(void) {
  in_base = false;
  exits = NESTOR_CASE_EXITS;
  unblock_nmis();
  restore_registers();
  registers = base_registers;
  // Few words differ, and writing the others would cost the machine its decoded code.
  volatile uint64_t* arena = (volatile uint64_t*)NESTOR_CASE_ARENA;
  for (size_t i = 0; i < NESTOR_CASE_ARENA_SIZE / 8; i++) {
    if (arena[i] != pristine[i]) arena[i] = pristine[i];
  }
  if (vmx_clear((uint64_t)vmcs_region) != kVmSucceed) give_up("VMCLEAR failed");
  memset(vmcs_region, 0, sizeof vmcs_region);
  vmcs_make_current(vmcs_region);
  vmcs_write_host_state();
  for (unsigned i = 0; i < base_field_count; i++) {
    set_field(base_fields[i].encoding, base_fields[i].value);
  }
}

// Translations of an earlier case must not be left.
static void forget_translations(void) {
  const InvalidationDescriptor everything = {0, 0};
  const uint64_t offered = read_msr(0x48c);
  if (offered & 1u << 20) vmx_invalidate_ept(kInveptAllContexts, everything);
  if (offered & 1ull << 32) vmx_invalidate_vpid(kInveptAllContexts, everything);
}

static void run_case(void) {
  forget_translations();
  report_entry_state();
  bool resume = false;
  for (unsigned i = 0; i < exits; i++) {
    const VmxResult result = vm_enter(&registers, resume);
    if (result != kVmSucceed) {
      report_failure(result);
      return;
    }
    report_exit(&registers);
    if (!prepare_to_resume()) return;
    resume = true;
  }
}

void image_main(void) {
  Text text = text_open(kImage);
  mask_legacy_interrupts();
  ignore_nmis();
  remember_registers();
  vmx_operation_enter(vmxon_region);
  report_open(text_option("e9"), text_option("quiet"), text_option("all"));
  report_machine();
  vmcs_make_current(vmcs_region);
  while (text_next_line(&text)) {
    const char* const word = text.word;
    if (text_is(word, "field")) {
      const uint64_t encoding = text_number(&text);
      set_field(encoding, text_number(&text));
    } else if (text_is(word, "flip")) {
      const uint64_t encoding = text_number(&text);
      flip_field(encoding, text_number(&text));
    } else if (text_is(word, "debug")) {
      const uint64_t number = text_number(&text);
      set_debug_register(number, text_number(&text));
    } else if (text_is(word, "memory")) {
      const uint64_t address = text_number(&text);
      set_memory(address, text_word(&text));
    } else if (text_is(word, "register")) {
      const uint64_t number = text_number(&text);
      set_register(number, text_number(&text));
    } else if (text_is(word, "exits")) {
      exits = (unsigned)text_number(&text);
    } else if (text_is(word, "case")) {
      begin_case();
      report_case(text_number(&text));
    } else if (text_is(word, "run")) {
      if (in_base) give_up("line %u: there is no case to run", text.line);
      run_case();
    } else {
      give_up("line %u: an unknown word", text.line);
    }
  }
  finish(kImage, 0);
}
