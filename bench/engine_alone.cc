// SPDX-License-Identifier: GPL-2.0-or-later
//
// The loops of the image `speed` in Unicorn itself: no paging, no device, no hook on what is
// executed. It prints the marks that the image prints. With `virtual-tlb`, a handler of TLB misses
// grants what an access asks for and no more: the engine's own makes every page executable, and
// stores to such pages take a slow path.

#include <unicorn/unicorn.h>

#include <array>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "bench/images/speed/loops.h"

namespace {

constexpr uint64_t kCode = 0x100000, kMemory = 0x2000000, kMemoryBytes = 0x6000000;
constexpr uint64_t kOnce = 0x6400000;
constexpr uint64_t kStack = kMemory + kMemoryBytes;
constexpr uint8_t kHlt = 0xf4;

struct Item {
  const char* name;
  uint64_t (*loop)(uint64_t, void*);
  const uint8_t* end;
  uint64_t rounds, units, memory;  // these and `once` as in images/speed/main.c
  bool once;
};

const std::array kItems = {
    Item{"compute", loop_compute, loop_compute_end, 20000000, 1, kMemory, false},
    Item{"sieve", loop_sieve, loop_sieve_end, 2000, 1, kMemory, false},
    Item{"touch", loop_touch, loop_touch_end, 64, LOOP_TOUCH_PAGES, kMemory, false},
    Item{"once", loop_once, loop_once_end, 200000, 1, kOnce, true},
};

void require(uc_err error, const char* what) {
  if (error == UC_ERR_OK) return;
  std::fprintf(stderr, "engine_alone: %s: %s\n", what, uc_strerror(error));
  std::exit(1);
}

bool grant(uc_engine*, uint64_t linear, uc_mem_type type, uc_tlb_entry* entry, void*) {
  entry->paddr = linear;
  entry->perms =
      type == UC_MEM_FETCH ? UC_PROT_EXEC : static_cast<uc_prot>(UC_PROT_READ | UC_PROT_WRITE);
  return true;
}

uint64_t run(uc_engine* uc, const Item& item, uint64_t rounds) {
  static const std::array<uint8_t, LOOP_COMPUTE_BYTES> zeros{};
  require(uc_mem_write(uc, kMemory, zeros.data(), zeros.size()), "clearing the memory");
  const auto* begin = reinterpret_cast<const uint8_t*>(item.loop);
  // A page of its own for each loop; it returns to a HLT, which ends the run without a hook.
  const uint64_t entry = kCode + 0x1000 * static_cast<uint64_t>(&item - kItems.data());
  const uint64_t landing = kCode + 0x8000, stack = kStack - 64;
  require(uc_mem_write(uc, entry, begin, static_cast<size_t>(item.end - begin)), "writing code");
  uint64_t memory = item.memory, result = 0;
  require(uc_mem_write(uc, landing, &kHlt, 1), "writing code");
  require(uc_mem_write(uc, stack, &landing, sizeof landing), "writing the stack");
  require(uc_reg_write(uc, UC_X86_REG_RSP, &stack), "setting RSP");
  require(uc_reg_write(uc, UC_X86_REG_RDI, &rounds), "setting RDI");
  require(uc_reg_write(uc, UC_X86_REG_RSI, &memory), "setting RSI");
  require(uc_emu_start(uc, entry, 0, 0, 0), "running");
  require(uc_reg_read(uc, UC_X86_REG_RAX, &result), "reading RAX");
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  constexpr std::string_view kDivide = "divide=";
  uint64_t divide = 1;
  bool virtual_tlb = false, understood = true;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "virtual-tlb") {
      virtual_tlb = true;
    } else if (argument.starts_with(kDivide)) {
      divide = std::strtoull(argv[i] + kDivide.size(), nullptr, 10);
    } else {
      understood = false;
    }
  }
  if (!understood || divide == 0) {
    std::fprintf(stderr, "usage: engine_alone [divide=NUMBER] [virtual-tlb]\n");
    return 2;
  }
  uc_engine* uc = nullptr;
  require(uc_open(UC_ARCH_X86, UC_MODE_64, &uc), "opening the engine");
  require(uc_mem_map(uc, kCode, 0x10000, UC_PROT_ALL), "mapping code");
  require(uc_mem_map(uc, kMemory, kMemoryBytes, UC_PROT_ALL), "mapping memory");
  if (virtual_tlb) {
    uc_hook handle;
    require(uc_ctl_tlb_mode(uc, UC_TLB_VIRTUAL), "choosing the virtual TLB");
    require(
        uc_hook_add(uc, &handle, UC_HOOK_TLB_FILL, reinterpret_cast<void*>(grant), nullptr, 1, 0),
        "handling TLB misses");
  }
  for (const Item& item : kItems) {
    const uint64_t rounds = item.rounds > divide ? item.rounds / divide : 1;
    if (!item.once) run(uc, item, rounds > 16 ? rounds / 16 : 1);
    std::printf("begin %s alone %" PRIu64 "\n", item.name, rounds * item.units);
    std::fflush(stdout);
    const uint64_t result = run(uc, item, rounds);
    std::printf("end %s alone %" PRIu64 "\n", item.name, result);
    std::fflush(stdout);
  }
  std::printf("speed: PASS\n");
  uc_close(uc);
}
