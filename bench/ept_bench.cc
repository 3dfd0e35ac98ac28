// SPDX-License-Identifier: MIT

// Cost of a page walk on warm memory: native in every mode, EPT alone, and two-dimensional.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "ept/walk.h"

namespace nestor::ept {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kRights = 7;  // present, writable, user; and read, write, execute of EPT
constexpr std::uint64_t kWriteBack = 6U << 3;

/// Flat memory without bounds, as cheap as an emulator's own can be.
class Ram {
 public:
  using Address = PhysicalAddress;

  Ram() : words_(2 << 20) {}

  bool read32(Address address, std::uint32_t& out) { return load(address, out); }
  bool read64(Address address, std::uint64_t& out) { return load(address, out); }
  Exchange compare_exchange(Address address, std::uint32_t expected, std::uint32_t desired) {
    return exchange(address, expected, desired);
  }
  Exchange compare_exchange(Address address, std::uint64_t expected, std::uint64_t desired) {
    return exchange(address, expected, desired);
  }
  std::uint64_t& word(std::uint64_t address) { return words_[address / 8]; }

 private:
  template <class Entry>
  bool load(Address address, Entry& out) {
    if (address.value + sizeof out > words_.size() * 8) return false;
    std::memcpy(&out, bytes() + address.value, sizeof out);
    return true;
  }
  template <class Entry>
  Exchange exchange(Address address, Entry expected, Entry desired) {
    auto* entry = reinterpret_cast<Entry*>(bytes() + address.value);
    return __atomic_compare_exchange_n(entry, &expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST)
               ? Exchange::kDone
               : Exchange::kChanged;
  }
  char* bytes() { return reinterpret_cast<char*>(words_.data()); }

  std::vector<std::uint64_t> words_;
};

/// 64 pages at linear address 0, mapped by 4-KByte pages in every dimension.
class World {
 public:
  explicit World(PagingMode mode, bool ept_flags = true) {
    state.mode = mode;
    state.wp = state.nxe = state.smep = state.pse = true;
    state.maxphyaddr = 39;
    ept.maxphyaddr = 39;
    const unsigned levels = mode == PagingMode::k5Level ? 5 : mode == PagingMode::k4Level ? 4 : 2;
    state.cr3 = map(levels, 0x10'0000, kRights, 0);
    state.pdptes = {state.cr3 | 1, 0, 0, 0};
    if (mode == PagingMode::k32Bit) narrow(levels);
    ept.eptp.value = map(4, 0x80'0000, kRights, kWriteBack) | 3U << 3 | 6U | (ept_flags ? 0x40 : 0);
  }

  Ram ram;
  PagingState state;
  EptState ept;

 private:
  /// Identity-maps 8 MBytes in tables from `base` on and returns the top one.
  std::uint64_t map(unsigned levels, std::uint64_t base, std::uint64_t table_flags,
                    std::uint64_t page_flags) {
    const std::uint64_t last_tables = base + levels * kPage;
    for (std::uint64_t i = 0; i != 2048; ++i) {
      ram.word(last_tables + 8 * i) = i * kPage | table_flags | page_flags;
    }
    std::uint64_t below = last_tables;
    std::uint64_t count = 4;
    for (unsigned level = 2; level <= levels; ++level) {
      const std::uint64_t table = base + (levels - level) * kPage;
      for (std::uint64_t i = 0; i != count; ++i) {
        ram.word(table + 8 * i) = (below + i * kPage) | table_flags;
      }
      below = table;
      count = 1;
    }
    return below;
  }
  /// Rewrites the first tables of `map` as tables of 32-bit entries.
  void narrow(unsigned levels) {
    const std::uint64_t tables[] = {state.cr3, state.cr3 + levels * kPage};
    for (std::uint64_t i = 0; i != 512; ++i) {
      const std::uint64_t low = 2 * i * kPage | kRights;
      const std::uint64_t high = (2 * i + 1) * kPage | kRights;
      ram.word(tables[1] + 8 * i) = low | high << 32;
    }
    ram.word(tables[0]) = tables[1] | kRights;
  }
};

LinearAddress address_of(std::uint64_t i) { return {(i * 0x9'd123U) & 0x3'fff8U}; }

void native(benchmark::State& bench, PagingMode mode) {
  World world(mode);
  std::uint64_t i = 0;
  unsigned failed = 0;
  for (auto _ : bench) {
    const auto walk = walk_linear(world.ram, world.state, address_of(++i), {Access::kWrite});
    failed += !walk.translated();
    benchmark::DoNotOptimize(walk.address.value);
  }
  if (failed != 0) bench.SkipWithError("a walk did not translate");
}
BENCHMARK_CAPTURE(native, bits32, PagingMode::k32Bit);
BENCHMARK_CAPTURE(native, pae, PagingMode::kPae);
BENCHMARK_CAPTURE(native, level4, PagingMode::k4Level);
BENCHMARK_CAPTURE(native, level5, PagingMode::k5Level);

void ept_alone(benchmark::State& bench) {
  World world(PagingMode::k4Level);
  std::uint64_t i = 0;
  unsigned failed = 0;
  EptAccess access;
  access.write = true;
  for (auto _ : bench) {
    const GuestPhysicalAddress input{address_of(++i).value};
    const auto walk = walk_ept(world.ram, world.ept, input, access);
    failed += !walk.translated();
    benchmark::DoNotOptimize(walk.address.value);
  }
  if (failed != 0) bench.SkipWithError("a walk did not translate");
}
BENCHMARK(ept_alone);

void nested(benchmark::State& bench, PagingMode mode, bool ept_flags) {
  World world(mode, ept_flags);
  std::uint64_t i = 0;
  unsigned failed = 0;
  unsigned references = 0;
  for (auto _ : bench) {
    const auto walk =
        walk_nested(world.ram, world.state, world.ept, address_of(++i), {Access::kWrite});
    failed += !walk.translated();
    references = walk.references();
    benchmark::DoNotOptimize(walk.address.value);
  }
  bench.counters["references"] = references;
  if (failed != 0) bench.SkipWithError("a walk did not translate");
}
BENCHMARK_CAPTURE(nested, bits32, PagingMode::k32Bit, true);
BENCHMARK_CAPTURE(nested, pae, PagingMode::kPae, true);
BENCHMARK_CAPTURE(nested, level4, PagingMode::k4Level, true);
BENCHMARK_CAPTURE(nested, level4_without_ept_flags, PagingMode::k4Level, false);
BENCHMARK_CAPTURE(nested, level5, PagingMode::k5Level, true);

void nested_recorded(benchmark::State& bench) {
  World world(PagingMode::k4Level);
  std::uint64_t i = 0;
  std::size_t steps = 0;
  for (auto _ : bench) {
    RecordSteps<kLongestNestedWalk> recorder;
    const auto walk =
        walk_nested(world.ram, world.state, world.ept, address_of(++i), {Access::kWrite}, recorder);
    benchmark::DoNotOptimize(walk.address.value);
    steps = recorder.total();
  }
  bench.counters["steps"] = static_cast<double>(steps);
}
BENCHMARK(nested_recorded);

}  // namespace
}  // namespace nestor::ept
