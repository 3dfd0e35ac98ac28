// SPDX-License-Identifier: GPL-2.0-or-later
//
// Loops in L1 and in L2, and VM exits, between marks on the serial port that whoever measures takes
// the time at. A mark is "begin ITEM WHERE COUNT" or "end ITEM WHERE RESULT".
#include "bench/images/speed/command_line.h"
#include "bench/images/speed/loops.h"
#include "bench/images/speed/small_pages.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/memory.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_instructions.h"
#include "guest-images/lib/vmx_names.h"

enum { kCpuid1EcxVmx = 1 << 5 };
#define TOUCHED ((void*)0x2000000)  // the pages that are touched: 65 MiB, zeros
#define ONCE ((void*)0x6400000)     // what is written there and executed: 28 MiB

// guest.S
extern const char guest_call[], guest_cpuid[], guest_cpuid_pages[], guest_store[];
uint64_t exits_resume(uint64_t count, void* pages, uint32_t reason);
uint64_t exits_advance(uint64_t count, void* pages, uint32_t reason);

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[4096] __attribute__((aligned(16)));
static uint8_t work[LOOP_COMPUTE_BYTES] __attribute__((aligned(4096)));

typedef uint64_t (*Loop)(uint64_t rounds, void* memory);

typedef struct {
  const char* name;
  Loop loop;
  void* memory;
  uint64_t rounds;
  uint64_t units;  // of work in a round
  bool small_pages;
  bool once;  // memory that was written to before is not fresh: L1 alone, without warming up
} LoopItem;

static const LoopItem kLoops[] = {
    {"compute", loop_compute, work, 20000000, 1, false, false},
    {"sieve", loop_sieve, work, 2000, 1, false, false},
    {"touch", loop_touch, TOUCHED, 64, LOOP_TOUCH_PAGES, true, false},
    {"once", loop_once, ONCE, 200000, 1, false, true},
};

typedef struct {
  const char* name;
  uint64_t (*handler)(uint64_t count, void* pages, uint32_t reason);
  const char* guest;
  uint64_t count;
  bool violates_ept;  // else it executes CPUID
} ExitItem;

static const ExitItem kExits[] = {
    {"exit", exits_advance, guest_cpuid, 200000, false},
    {"exit-resume", exits_resume, guest_cpuid, 200000, false},
    {"exit-32-pages", exits_advance, guest_cpuid_pages, 50000, false},
    {"ept-violation", exits_advance, guest_store, 100000, true},
};

static uint64_t divide;
static unsigned failures;

static uint64_t scaled(uint64_t count) { return count > divide ? count / divide : 1; }
// Enough for translations and tables to settle.
static uint64_t warm_up(uint64_t count) { return count > 16 ? count / 16 : 1; }

static uint64_t loop_in_l1(const LoopItem* item, uint64_t rounds) {
  memset(work, 0, sizeof work);
  return item->loop(rounds, item->memory);
}

// A guest that starts at RIP with L1's page tables, or with small pages in both dimensions.
static void prepare_guest(const char* rip, bool small_pages) {
  vmcs_make_current(vmcs_region);
  const bool vpid = controls_offered(kControlsProcessorBased2, kCpu2Vpid);
  vmcs_write_controls_64bit(kCpu2Ept | (vpid ? kCpu2Vpid : 0));
  if (vpid) vmcs_write(kVpid, 1);
  vmcs_write(kEptPointer, small_pages ? small_pages_eptp() : ept_identity_map());
  vmcs_write_host_state();
  // As if guest_call had been called: the stack is that of a function.
  vmcs_write_guest_state_64bit((uint64_t)rip, (uint64_t)(guest_stack + sizeof guest_stack));
  if (small_pages) vmcs_write(kGuestCr3, small_pages_cr3());
}

static void enter_until(uint32_t reason, GuestRegisters* guest) {
  if (vm_enter(guest, false) != kVmSucceed) give_up("VMLAUNCH failed");
  const uint32_t found = (uint32_t)vmcs_read(kExitReason);
  if (found != reason) {
    give_up("VM exit for %s (%#x), qualification %#lx, RIP %#lx", exit_reason_name(found), found,
            vmcs_read(kExitQualification), vmcs_read(kGuestRip));
  }
}

static uint64_t loop_in_l2(const LoopItem* item, uint64_t rounds) {
  memset(work, 0, sizeof work);
  GuestRegisters guest = {
      .rax = (uint64_t)item->loop, .rdi = rounds, .rsi = (uint64_t)item->memory};
  prepare_guest(guest_call, item->small_pages);
  enter_until(kExitVmcall, &guest);
  return guest.rax;
}

static void measure_loop(const LoopItem* item, const char* where,
                         uint64_t (*run)(const LoopItem*, uint64_t)) {
  const uint64_t rounds = scaled(item->rounds);
  if (!item->once) run(item, warm_up(rounds));
  print("begin %s %s %lu\n", item->name, where, rounds * item->units);
  const uint64_t result = run(item, rounds);
  print("end %s %s %lu\n", item->name, where, result);
}

static void measure_exits(const ExitItem* item) {
  const uint64_t count = scaled(item->count);
  const uint32_t reason = item->violates_ept ? kExitEptViolation : kExitCpuid;
  void* const pages = item->violates_ept ? (void*)SMALL_PAGES_HOLE : TOUCHED;
  GuestRegisters guest = {.rsi = (uint64_t)pages};
  prepare_guest(item->guest, item->violates_ept);
  enter_until(reason, &guest);
  uint64_t left = item->handler(warm_up(count), pages, reason);
  print("begin %s L2 %lu\n", item->name, count);
  left += item->handler(count, pages, reason);
  print("end %s L2 %lu\n", item->name, left);
  if (left) failures++;
}

// An instruction that does not exit, but that few engines execute by themselves.
static void measure_vmread(void) {
  const uint64_t count = scaled(1000000);
  prepare_guest(guest_cpuid, false);
  print("begin vmread L1 %lu\n", count);
  uint64_t sum = 0;
  for (uint64_t i = 0; i < count; i++) sum += vmcs_read(kGuestRip);
  print("end vmread L1 %lu\n", sum);
}

void image_main(void) {
  divide = option_number("divide", 1);
  if (!divide) divide = 1;
  const uint64_t large_pages = read_cr3();

  for (unsigned i = 0; i < sizeof kLoops / sizeof kLoops[0]; i++) {
    if (!option_allows("item", kLoops[i].name) || !option_allows("where", "L1")) continue;
    if (kLoops[i].small_pages) write_cr3(small_pages_cr3());
    measure_loop(&kLoops[i], "L1", loop_in_l1);
    write_cr3(large_pages);
  }
  if (!(cpuid(1, 0).ecx & kCpuid1EcxVmx)) {
    print("skipped: L2: the processor has no VMX\n");
    finish("speed", failures);
  }
  vmx_operation_enter(vmxon_region);
  for (unsigned i = 0; i < sizeof kLoops / sizeof kLoops[0]; i++) {
    if (kLoops[i].once) continue;
    if (!option_allows("item", kLoops[i].name) || !option_allows("where", "L2")) continue;
    measure_loop(&kLoops[i], "L2", loop_in_l2);
  }
  if (option_allows("item", "vmread")) measure_vmread();
  for (unsigned i = 0; i < sizeof kExits / sizeof kExits[0]; i++) {
    if (option_allows("item", kExits[i].name)) measure_exits(&kExits[i]);
  }
  finish("speed", failures);
}
