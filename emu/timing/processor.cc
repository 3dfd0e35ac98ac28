// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/processor.h"

#include <algorithm>

namespace nestor::emu::timing {
namespace {

constexpr uint16_t ports(std::initializer_list<unsigned> numbers) {
  uint16_t mask = 0;
  for (const unsigned number : numbers) mask |= static_cast<uint16_t>(1u << number);
  return mask;
}

// Store forwarding: T. Downs, "Store forwarding of split accesses" (a gist with measurements of
// Haswell, Skylake and Ice Lake), and the discussion in Agner Fog's blog, "32B store-forwarding is
// slower than 16B". The loop stream detector is off on Skylake (errata SKL150, SKZ7). POPCNT, TZCNT
// and LZCNT: errata HSD146, BDM104 and SKL029. Jumps at the end of 32 bytes: Intel, "Mitigations
// for Jump Conditional Code Erratum". MOV elimination in Ice Lake: erratum ICL065.
// Mispredictions: LLVM 22's scheduling models have 16 cycles for Haswell and Broadwell (the member
// MispredictPenalty, "the typical number of extra cycles"); 7-cpu.com measured 16.5 on Skylake, as
// the discussion of D. Lemire's blog cites it in December 2019, where LLVM's model has 14. Ice
// Lake's is a parameter: Skylake's.
// TLBs: the same manual, tables of "TLB parameters" or "cache and TLB parameters", as are the sizes
// of first- and second-level caches and of store buffers; that Haswell has one page walker and its
// successors two is there, too. Third-level caches are those of parts with 8 cores, by Intel's ARK:
// Xeon E5-2630 v3, E5-2620 v4, Silver 4110 and Silver 4309Y. Latencies: LMBench figures of Skylake
// servers, 4, 14 and 54 to 56 cycles and 89 to 91 ns of DRAM, which are 180 cycles of a TSC of 2.0
// GHz; of Ice Lake servers 5, 13 to 14 and 66.5 ns. The second level of Haswell and Broadwell: the
// manual.
// Paging-structure caches: Intel has published that there are three (the manual of the
// architecture, volume 3, "Caches for Paging Structures"), and no size. github.com/vusec/revanc,
// the program of those who have measured them ("RevAnC", EuroSec 2017; the paper was not looked
// up), says 4 entries for PDPTEs up to Ivy Bridge; for later processors it takes what CPUID says of
// the TLBs of large pages: 32 of 2 MBytes, 4 of 1 GByte. Parameters, of the right size, as no
// published figure was found: the size of the PML4 cache, all three of Ice Lake, the ways of the
// PDE cache, that the caches of guest-physical addresses are as large as those of linear ones, the
// nested TLB, how long a walk takes beside its references, fill buffers, the third level of all but
// Skylake, and DRAM of Haswell and Broadwell.
struct Hierarchy {
  CacheSize first, second, third;
  uint16_t first_cycles, second_cycles, third_cycles, memory_cycles;
  uint8_t fill_buffers, store_buffer, page_walkers;
};
struct Tlbs {
  CacheSize instruction, large_instruction, huge_data, second, huge_second;
};

constexpr Processor::Memory memory_of(const Hierarchy& caches, const Tlbs& tlbs) {
  return {.instruction_tlb = tlbs.instruction,
          .large_instruction_tlb = tlbs.large_instruction,
          .data_tlb = {16, 4},
          .large_data_tlb = {8, 4},
          .huge_data_tlb = tlbs.huge_data,
          .second_tlb = tlbs.second,
          .huge_second_tlb = tlbs.huge_second,
          .pml4_cache = {1, 2},
          .pdpte_cache = {1, 4},
          .pde_cache = {8, 4},
          .nested_tlb = {16, 4},
          .code_cache = {64, 8},
          .first_cache = caches.first,
          .second_cache = caches.second,
          .third_cache = caches.third,
          .second_tlb_cycles = 7,
          .walk_cycles = 10,
          .first_cache_cycles = caches.first_cycles,
          .second_cache_cycles = caches.second_cycles,
          .third_cache_cycles = caches.third_cycles,
          .memory_cycles = caches.memory_cycles,
          .fill_buffers = caches.fill_buffers,
          .store_buffer = caches.store_buffer,
          .page_walkers = caches.page_walkers};
}

constexpr Processor::Memory kHaswellMemory =
    memory_of({{64, 8}, {512, 8}, {16384, 20}, 4, 12, 50, 180, 10, 42, 1},
              {{32, 4}, {1, 8}, {1, 4}, {128, 8}, {1, 0}});
constexpr Processor::Memory kBroadwellMemory =
    memory_of({{64, 8}, {512, 8}, {16384, 20}, 4, 12, 50, 180, 10, 42, 2},
              {{32, 4}, {1, 8}, {1, 4}, {256, 6}, {4, 4}});
constexpr Processor::Memory kSkylakeMemory =
    memory_of({{64, 8}, {1024, 16}, {16384, 11}, 4, 14, 55, 180, 12, 56, 2},
              {{16, 8}, {1, 8}, {1, 4}, {128, 12}, {4, 4}});
constexpr Processor::Memory kIceLakeMemory =
    memory_of({{64, 12}, {1024, 20}, {16384, 12}, 5, 14, 70, 133, 12, 72, 2},
              {{16, 8}, {1, 16}, {1, 8}, {128, 16}, {64, 16}});

constexpr Processor kProcessors[] = {
    {.generation = vmx::Generation::kHaswell,
     .table = PriceTable::kHaswell,
     .issue_width = 4,
     .decoders = 4,
     .last_decoder_waits = true,
     .decoded_uops = 4,
     .predecode_width = 5,
     .dsb_width = 4,
     .idq_size = 56,
     .reorder_window = 192,
     .eliminates_moves = true,
     .indexed_store_port_7 = false,
     .slow_lea = true,
     .popcnt_waits = true,
     .tzcnt_waits = true,
     .cmov_complex = false,
     .jcc_erratum = false,
     .forwarding = 5,
     .misprediction = 16,
     .memory = kHaswellMemory,
     .load_ports = ports({2, 3}),
     .store_address_ports = ports({2, 3, 7}),
     .store_data_ports = ports({4}),
     .branch_ports = ports({0, 6})},
    {.generation = vmx::Generation::kBroadwell,
     .table = PriceTable::kBroadwell,
     .issue_width = 4,
     .decoders = 4,
     .last_decoder_waits = true,
     .decoded_uops = 4,
     .predecode_width = 5,
     .dsb_width = 4,
     .idq_size = 56,
     .reorder_window = 192,
     .eliminates_moves = true,
     .indexed_store_port_7 = false,
     .slow_lea = true,
     .popcnt_waits = true,
     .tzcnt_waits = true,
     .cmov_complex = true,
     .jcc_erratum = false,
     .forwarding = 5,
     .misprediction = 16,
     .memory = kBroadwellMemory,
     .load_ports = ports({2, 3}),
     .store_address_ports = ports({2, 3, 7}),
     .store_data_ports = ports({4}),
     .branch_ports = ports({0, 6})},
    {.generation = vmx::Generation::kSkylake,
     .table = PriceTable::kSkylakeServer,
     .issue_width = 4,
     .decoders = 4,
     .last_decoder_waits = false,
     .decoded_uops = 5,
     .predecode_width = 5,
     .dsb_width = 6,
     .idq_size = 0,
     .reorder_window = 224,
     .eliminates_moves = true,
     .indexed_store_port_7 = false,
     .slow_lea = true,
     .popcnt_waits = true,
     .tzcnt_waits = false,
     .cmov_complex = true,
     .jcc_erratum = true,
     .forwarding = 4,
     .misprediction = 17,
     .memory = kSkylakeMemory,
     .load_ports = ports({2, 3}),
     .store_address_ports = ports({2, 3, 7}),
     .store_data_ports = ports({4}),
     .branch_ports = ports({0, 6})},
    {.generation = vmx::Generation::kIceLake,
     .table = PriceTable::kIceLake,
     .issue_width = 5,
     .decoders = 4,
     .last_decoder_waits = false,
     .decoded_uops = 5,
     .predecode_width = 5,
     .dsb_width = 6,
     .idq_size = 70,
     .reorder_window = 352,
     .eliminates_moves = false,
     .indexed_store_port_7 = true,
     .slow_lea = false,
     .popcnt_waits = false,
     .tzcnt_waits = false,
     .cmov_complex = true,
     .jcc_erratum = false,
     .forwarding = 5,
     .misprediction = 17,
     .memory = kIceLakeMemory,
     .load_ports = ports({2, 3}),
     .store_address_ports = ports({7, 8}),
     .store_data_ports = ports({4, 9}),
     .branch_ports = ports({0, 6})},
};

}  // namespace

std::span<const Processor> processors() { return kProcessors; }

const Processor* find_processor(vmx::Generation generation) {
  const auto* found = std::ranges::find(kProcessors, generation, &Processor::generation);
  return found == std::end(kProcessors) ? nullptr : found;
}

}  // namespace nestor::emu::timing
