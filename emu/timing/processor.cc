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
// for Jump Conditional Code Erratum". MOV elimination in Ice Lake: erratum ICL065. The cost of a
// misprediction is a parameter: 16 to 20 cycles are what the literature has.
// TLBs: the same manual, tables of "TLB parameters". Sizes of the paging-structure caches and the
// nested TLB, how long a walk takes beside its references, and the share of the third-level cache
// that page tables have are parameters. Latencies of caches: LMBench figures of Skylake servers,
// 4, 14 and 54 to 56 cycles and 89 to 91 ns of DRAM, which are 180 cycles of a TSC of 2.0 GHz.
constexpr Processor::Memory memory_of(CacheSize second_tlb, CacheSize second_cache,
                                      uint16_t first_cache_cycles, CacheSize first_cache) {
  return {.instruction_tlb = {16, 8},
          .data_tlb = {16, 4},
          .second_tlb = second_tlb,
          .structure_cache = {8, 4},
          .nested_tlb = {16, 4},
          .first_cache = first_cache,
          .second_cache = second_cache,
          .third_cache = {2048, 11},
          .second_tlb_cycles = 7,
          .walk_cycles = 10,
          .first_cache_cycles = first_cache_cycles,
          .second_cache_cycles = 14,
          .third_cache_cycles = 55,
          .memory_cycles = 180};
}

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
     .memory = memory_of({128, 8}, {512, 8}, 4, {64, 8}),
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
     .memory = memory_of({256, 6}, {512, 8}, 4, {64, 8}),
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
     .misprediction = 16,
     .memory = memory_of({128, 12}, {1024, 16}, 4, {64, 8}),
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
     .misprediction = 16,
     .memory = memory_of({128, 16}, {1024, 20}, 5, {64, 12}),
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
