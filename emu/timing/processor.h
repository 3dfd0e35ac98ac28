// SPDX-License-Identifier: GPL-2.0-or-later
//
// What of a processor's core its prices depend on.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "emu/timing/tables.h"
#include "emu/timing/tag_array.h"
#include "vmx/processor_type.h"

namespace nestor::emu::timing {

// Sources: Intel 64 and IA-32 Architectures Optimization Reference Manual (248966), the sections on
// each microarchitecture; A. Abel and J. Reineke, "uiCA: Accurate Throughput Prediction of Basic
// Blocks on Recent Intel Microarchitectures" (arXiv 2107.14210), table 1; others where they are
// used.
struct Processor {
  vmx::Generation generation;
  PriceTable table;
  uint8_t issue_width;      // fused micro-operations a cycle
  uint8_t decoders;         // of which the first takes all instructions, the others simple ones
  bool last_decoder_waits;  // it leaves what might be fused with a jump to the next cycle
  uint8_t decoded_uops;     // a cycle, from all decoders
  uint8_t predecode_width;  // instructions a cycle
  uint8_t dsb_width;        // micro-operations a cycle from the decoded ICache
  uint8_t idq_size;         // micro-operations that the loop stream detector replays; 0: it is off
  uint16_t reorder_window;  // micro-operations
  bool eliminates_moves;    // of general registers; those of vector registers always are
  bool indexed_store_port_7;  // false: an indexed store takes a load port for its address
  bool slow_lea;  // with three components, RIP-relative or RBP and R13: port 1, 3 cycles
  bool popcnt_waits, tzcnt_waits;  // for the destination, though they do not read it
  bool cmov_complex;               // CMOVcc is for the first decoder
  bool jcc_erratum;       // a jump at the end of 32 bytes keeps them out of the decoded ICache
  uint8_t forwarding;     // cycles from a store's data to a load of it, general registers
  uint8_t misprediction;  // cycles that a branch costs that was not foreseen and waits for nothing
  // What accesses to memory cost, and their translations.
  struct Memory {
    // Of pages of 4 KBytes, of 2 and 4 MBytes, and of 1 GByte. No way: there is no such TLB.
    CacheSize instruction_tlb, large_instruction_tlb;
    CacheSize data_tlb, large_data_tlb, huge_data_tlb;
    CacheSize second_tlb, huge_second_tlb;  // all but the huge ones share
    // Paging-structure caches, of each dimension: of entries that lead to page-directory-pointer
    // tables, to page directories and to page tables. And the TLB of guest-physical pages.
    CacheSize pml4_cache, pdpte_cache, pde_cache, nested_tlb;
    CacheSize code_cache, first_cache, second_cache, third_cache;  // of 64 bytes a line
    uint16_t second_tlb_cycles, walk_cycles;  // a hit; a walk beside its references
    // From the address of a load to its data.
    uint16_t first_cache_cycles, second_cache_cycles, third_cache_cycles, memory_cycles;
    uint8_t fill_buffers;  // lines that may be on their way to the first-level data cache
    uint8_t store_buffer;  // stores that have been issued and are not in that cache
    uint8_t page_walkers;
  } memory;
  uint16_t load_ports, store_address_ports, store_data_ports, branch_ports;
};

std::span<const Processor> processors();

// The one that others are priced as.
inline constexpr vmx::Generation kStandIn = vmx::Generation::kSkylake;

// Null: there are no prices for it.
const Processor* find_processor(vmx::Generation generation);

}  // namespace nestor::emu::timing
