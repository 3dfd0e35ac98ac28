// SPDX-License-Identifier: GPL-2.0-or-later
#include "guest-images/vmx-case/report.h"

#include <stddef.h>

#include "guest-images/abi/machine_ports.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/vmx-case/case_abi.h"

static bool to_debug_port, is_quiet, prints_all;

// VM-exit information, and of the controls what VM exits change.
static const uint16_t kExitFields[] = {0x4402, 0x6400, 0x4404, 0x4406, 0x4408, 0x440a,
                                       0x440c, 0x440e, 0x2400, 0x640a, 0x4016, 0x4012};
// Guest state, but for what depends on time. Ends with 0.
static const uint16_t kGuestFields[] = {
    0x0800, 0x0802, 0x0804, 0x0806, 0x0808, 0x080a, 0x080c, 0x080e, 0x0810, 0x0812, 0x2802, 0x2804,
    0x2806, 0x280a, 0x280c, 0x280e, 0x2810, 0x4800, 0x4802, 0x4804, 0x4806, 0x4808, 0x480a, 0x480c,
    0x480e, 0x4810, 0x4812, 0x4814, 0x4816, 0x4818, 0x481a, 0x481c, 0x481e, 0x4820, 0x4822, 0x4824,
    0x4826, 0x482a, 0x6800, 0x6802, 0x6804, 0x6806, 0x6808, 0x680a, 0x680c, 0x680e, 0x6810, 0x6812,
    0x6814, 0x6816, 0x6818, 0x681a, 0x681c, 0x681e, 0x6820, 0x6822, 0x6824, 0x6826};
enum { kGuestFieldCount = sizeof kGuestFields / sizeof kGuestFields[0] };
static uint64_t last_seen[kGuestFieldCount];

// The arena before the first VM entry.
enum { kWordsOfPage = 512, kArenaWords = NESTOR_CASE_ARENA_SIZE / 8 };
static uint64_t arena_at_entry[kArenaWords];

static void put_text(const char* text) {
  if (!to_debug_port) {
    print("%s", text);
    return;
  }
  for (; *text; text++) port_write8(NESTOR_PORT_DEBUG_CONSOLE, (uint8_t)*text);
}

static void put_hex(uint64_t value) {
  char digits[17];
  unsigned start = sizeof digits - 1;
  digits[start] = 0;
  do {
    digits[--start] = "0123456789abcdef"[value & 0xf];
    value >>= 4;
  } while (value);
  put_text(digits + start);
}

static void put_pair(uint64_t name, uint64_t value) {
  put_text(" ");
  put_hex(name);
  put_text("=");
  put_hex(value);
}

void report_open(bool debug_port, bool quiet, bool all) {
  to_debug_port = debug_port;
  is_quiet = quiet;
  prints_all = all;
}

static void put_json(uint32_t msr, uint64_t value, const char* before) {
  put_text(before);
  put_text("\"0x");
  put_hex(msr);
  put_text("\":\"0x");
  put_hex(value);
  put_text("\"");
}

void report_machine(void) {
  if (is_quiet) return;
  const uint64_t basic = read_msr(0x480);
  const uint64_t primary = read_msr(0x482), exit = read_msr(0x483);
  const bool secondary = primary >> 63, true_controls = basic >> 55 & 1;
  const uint64_t secondary_controls = secondary ? read_msr(0x48b) : 0;
  put_json(0x480, basic, "machine {\"capabilities\":{");
  for (uint32_t msr = 0x481; msr <= 0x48a; msr++) put_json(msr, read_msr(msr), ",");
  if (secondary) put_json(0x48b, secondary_controls, ",");
  // "Enable EPT" or "enable VPID", "enable VM functions".
  if (secondary_controls >> 32 & 0x22) put_json(0x48c, read_msr(0x48c), ",");
  for (uint32_t msr = 0x48d; true_controls && msr <= 0x490; msr++)
    put_json(msr, read_msr(msr), ",");
  if (secondary_controls >> 45 & 1) put_json(0x491, read_msr(0x491), ",");
  if (primary >> 49 & 1) put_json(0x492, read_msr(0x492), ",");
  if (exit >> 63) put_json(0x493, read_msr(0x493), ",");
  const uint32_t widths = cpuid(0x80000008, 0).eax;
  put_text(",\"physical_address_width\":\"0x");
  put_hex(widths & 0xff);
  put_text("\",\"linear_address_width\":\"0x");
  put_hex(widths >> 8 & 0xff);
  put_text("\"}}\n");
}

void report_case(uint64_t number) {
  put_text("case ");
  put_hex(number);
  put_text("\n");
}

void report_missing_field(uint64_t encoding) {
  if (is_quiet) return;
  put_text("no field ");
  put_hex(encoding);
  put_text("\n");
}

void report_entry_state(void) {
  if (is_quiet) return;
  const volatile uint64_t* arena = (const volatile uint64_t*)NESTOR_CASE_ARENA;
  for (size_t i = 0; i < kArenaWords; i++) arena_at_entry[i] = arena[i];
  for (unsigned i = 0; i < kGuestFieldCount; i++) vmx_read(kGuestFields[i], &last_seen[i]);
}

// Without accessed and dirty flags: when they are set is up to the processor. They are those of
// EPT entries and of guest entries of 8 and of 4 bytes.
static uint64_t without_flags(uint64_t word) { return word & ~UINT64_C(0x6000000360); }

// The pages of the arena that differ from what they were, each with a sum of its words; with `all`
// the words.
static void report_memory(void) {
  const volatile uint64_t* arena = (const volatile uint64_t*)NESTOR_CASE_ARENA;
  put_text("\nmemory");
  for (size_t page = 0; page < kArenaWords; page += kWordsOfPage) {
    uint64_t sum = 0;
    bool same = true;
    for (size_t i = page; i < page + kWordsOfPage; i++) {
      const uint64_t word = without_flags(arena[i]);
      const bool changed = word != without_flags(arena_at_entry[i]);
      if (changed && prints_all) put_pair(NESTOR_CASE_ARENA + 8 * i, arena[i]);
      same = same && !changed;
      sum = sum * 31 + word;
    }
    if (!same && !prints_all) put_pair(NESTOR_CASE_ARENA + 8 * page, sum);
  }
}

void report_exit(const GuestRegisters* registers) {
  if (is_quiet) return;
  put_text("exit");
  for (unsigned i = 0; i < sizeof kExitFields / sizeof kExitFields[0]; i++) {
    uint64_t value;
    if (vmx_read(kExitFields[i], &value) == kVmSucceed) put_pair(kExitFields[i], value);
  }
  put_text("\nguest");
  for (unsigned i = 0; i < kGuestFieldCount; i++) {
    uint64_t value;
    if (vmx_read(kGuestFields[i], &value) != kVmSucceed) continue;
    if (prints_all || value != last_seen[i]) put_pair(kGuestFields[i], value);
    last_seen[i] = value;
  }
  put_text("\nregisters");
  for (unsigned i = 0; i < sizeof *registers / sizeof registers->rax; i++)
    put_pair(i, (&registers->rax)[i]);
  report_memory();
  put_text("\n");
}

void report_failure(VmxResult result) {
  if (is_quiet) return;
  if (result == kVmFailInvalid) {
    put_text("VMfailInvalid\n");
    return;
  }
  put_text("VMfailValid ");
  put_hex(vmcs_read(kVmInstructionError));
  put_text("\n");
}

enum { kBlockingByStiOrMovSs = 3, kEntryFailed = 1u << 31 };

// Exits that instructions cause on purpose: L1 passes over them.
static bool is_instruction(uint32_t reason) {
  static const uint8_t kReasons[] = {10, 12, 13, 14, 15, 16, 19, 20, 21, 22, 23, 24,
                                     25, 26, 27, 28, 29, 30, 31, 32, 36, 39, 40, 46,
                                     47, 50, 51, 53, 54, 55, 57, 58, 59, 61};
  for (unsigned i = 0; i < sizeof kReasons; i++) {
    if (kReasons[i] == reason) return true;
  }
  return false;
}

// Exits between two instructions that say no more than that they happened.
static bool is_trap(uint32_t reason) {
  return reason == 37 || reason == 43 || reason == 45 || reason == 56;
}

bool prepare_to_resume(void) {
  const uint32_t reason = (uint32_t)vmcs_read(kExitReason);
  if (is_trap(reason)) return true;
  if (!is_instruction(reason)) return false;
  vmcs_skip_instruction();
  vmcs_write(kGuestInterruptibilityState,
             vmcs_read(kGuestInterruptibilityState) & ~(uint64_t)kBlockingByStiOrMovSs);
  return true;
}
