// SPDX-License-Identifier: GPL-2.0-or-later
//
// L2's workloads. Each mixes what it reads, the page faults it gets and the flags it finds in its
// page tables into a checksum: none of them may depend on how its memory is virtualized.
#include "guest-images/mmu-modes/guest.h"

#include <stdbool.h>

#include "guest-images/abi/machine_ports.h"
#include "guest-images/lib/processor.h"
#include "guest-images/mmu-modes/guest_tables.h"

enum {
  kFaultRounds = 40,
  kFaultPages = 8,  // mapped by faults in a round, and unmapped at its end
  kMissRounds = 8,
  kMissPages = 256,
  kComputationSteps = 400000,
  kTableWords = 1024,
  kCpuids = 256,
};

static uint64_t checksum;
// The handler's own, as it may come between any two instructions.
static volatile uint64_t faults, fault_checksum;
static uint64_t table[kTableWords];

static uint64_t mixed(uint64_t sum, uint64_t value) {
  sum = (sum ^ value) * 0x100000001b3ull;
  return sum ^ sum >> 29;
}

static void mix(uint64_t value) { checksum = mixed(checksum, value); }

static void call(uint64_t what, uint64_t first, uint64_t second) {
  __asm__ volatile("vmcall" : "+a"(what), "+b"(first), "+c"(second) : : "memory");
}

static void begin(uint8_t workload) {
  checksum = workload;
  port_write8(NESTOR_PORT_WORKLOAD, workload);
}

static void end(uint8_t workload) {
  port_write8(NESTOR_PORT_WORKLOAD, NESTOR_WORKLOAD_END);
  mix(fault_checksum);
  call(kCallReport, workload, checksum);
}

static volatile uint64_t* window_word(unsigned page) {
  return (volatile uint64_t*)(GUEST_WINDOW + page * PAGE_BYTES + page % 64 * 8);
}

// Which page of the pool is behind a page of the window.
static uint64_t pool_page(unsigned page) {
  return GUEST_POOL + page * 5 % GUEST_POOL_PAGES * PAGE_BYTES;
}

static uint32_t guest_cpuid(uint32_t leaf) { return cpuid(leaf, 0).eax; }

// Every fourth page becomes writable only when it is written, by a second fault.
static bool late_write(unsigned page) { return page % 4 == 1; }

void guest_page_fault(uint64_t error_code, uint64_t linear) {
  const uint64_t page = (linear - GUEST_WINDOW) / PAGE_BYTES;
  if (linear < GUEST_WINDOW || page >= GUEST_POOL_PAGES) call(kCallFailed, linear, error_code);
  const unsigned number = (unsigned)page;
  const bool write = error_code & FAULT_WRITE;
  if (error_code & FAULT_PRESENT) {
    if (!write || !late_write(number)) call(kCallFailed, linear, error_code);
    window_table[number] |= PTE_WRITABLE;
  } else {
    const bool writable = write || !late_write(number);
    window_table[number] = pool_page(number) | PTE_PRESENT | (writable ? PTE_WRITABLE : 0);
  }
  faults = faults + 1;
  fault_checksum = mixed(fault_checksum, linear ^ error_code);
}

static void page_faults(void) {
  for (unsigned round = 0; round < kFaultRounds; round++) {
    const unsigned first = round * 11;
    for (unsigned i = 0; i < kFaultPages; i++) {
      volatile uint64_t* word = window_word(first + i);
      if (i % 2) mix(*word);
      if (i % 8 != 3) *word = checksum;
    }
    for (unsigned i = 0; i < kFaultPages; i++) {
      mix(*window_word(first + i));
      // The processor's flags tell which pages were written.
      mix(window_table[first + i]);
      window_table[first + i] = 0;
      invalidate_page((uint64_t)window_word(first + i));
    }
  }
}

static void tlb_misses(void) {
  for (unsigned page = 0; page < kMissPages; page++) {
    window_table[page] = pool_page(page) | PTE_PRESENT | PTE_WRITABLE;
  }
  for (unsigned round = 0; round < kMissRounds; round++) {
    for (unsigned page = 0; page < kMissPages; page++) {
      mix(*window_word(page));
      if (page % 3 == 0 && round % 2) *window_word(page) = checksum;
    }
    write_cr3(guest_cr3());
  }
  for (unsigned page = 0; page < kMissPages; page++) mix(window_table[page]);
}

static void computation(void) {
  uint64_t state = 88172645463325252ull;
  for (unsigned step = 0; step < kComputationSteps; step++) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    table[state % kTableWords] += state;
  }
  for (unsigned i = 0; i < kTableWords; i++) mix(table[i]);
}

static void cpuid_exits(void) {
  for (uint32_t leaf = 0; leaf < kCpuids; leaf++) mix(guest_cpuid(leaf));
}

static void run(uint8_t number, void (*workload)(void)) {
  begin(number);
  workload();
  end(number);
}

void guest_main(void) {
  // A guest that has been running for a while: all of its memory has been used, L1 knows its exits.
  for (uint64_t page = 0; page < GUEST_POOL_PAGES; page++) {
    for (uint64_t word = 0; word < 64; word++) {
      ((volatile uint64_t*)(GUEST_POOL + page * PAGE_BYTES))[word] = page * 64 + word;
    }
  }
  run(NESTOR_WORKLOAD_PAGE_FAULTS, page_faults);
  run(NESTOR_WORKLOAD_TLB_MISSES, tlb_misses);
  run(NESTOR_WORKLOAD_COMPUTATION, computation);
  mix(guest_cpuid(0));
  run(NESTOR_WORKLOAD_CPUID_EXITS, cpuid_exits);
  call(kCallDone, faults, 0);
  for (;;) __asm__ volatile("ud2");
}
