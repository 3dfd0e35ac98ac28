// SPDX-License-Identifier: MIT

// Walks to be looked at as machine code: check-generated-code disassembles the object. It is built
// three times: NESTOR_WALKS is 1 for formats with accessed and dirty flags, 0 for the same formats
// without them, 2 for the whole library as an emulator uses it.

#include <cstdint>

#include "ept/walk.h"

namespace {

using namespace nestor::ept;

/// Memory at address 0 of the process: nothing but the accesses themselves.
struct RawMemory {
  using Address = PhysicalAddress;

  bool read32(Address address, std::uint32_t& out) { return load(address, out); }
  bool read64(Address address, std::uint64_t& out) { return load(address, out); }
  Exchange compare_exchange(Address address, std::uint32_t expected, std::uint32_t desired) {
    return exchange(address, expected, desired);
  }
  Exchange compare_exchange(Address address, std::uint64_t expected, std::uint64_t desired) {
    return exchange(address, expected, desired);
  }

 private:
  template <class Entry>
  bool load(Address address, Entry& out) {
    out = *reinterpret_cast<const volatile Entry*>(address.value);
    return true;
  }
  template <class Entry>
  Exchange exchange(Address address, Entry expected, Entry desired) {
    return __atomic_compare_exchange_n(reinterpret_cast<Entry*>(address.value), &expected, desired,
                                       false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
               ? Exchange::kDone
               : Exchange::kChanged;
  }
};

}  // namespace

#if NESTOR_WALKS == 2

extern "C" NestedWalk<PhysicalAddress> walk_two_dimensions(const PagingState& paging,
                                                           const EptState& ept,
                                                           std::uint64_t linear, Access access) {
  RawMemory memory;
  return walk_nested(memory, paging, ept, LinearAddress{linear}, access);
}

extern "C" NestedWalk<PhysicalAddress> walk_and_record(
    const PagingState& paging, const EptState& ept, std::uint64_t linear, Access access,
    RecordSteps<kLongestNestedWalk + kLongestSubPageWalk>& steps) {
  RawMemory memory;
  return walk_nested(memory, paging, ept, LinearAddress{linear}, access, steps);
}

extern "C" LinearWalk<PhysicalAddress> walk_one_dimension(const PagingState& paging,
                                                          std::uint64_t linear, Access access) {
  RawMemory memory;
  return walk_linear(memory, paging, LinearAddress{linear}, access);
}

#else

namespace {

#if NESTOR_WALKS == 1
using EptFormat = Ept<4>;
using PagingFormat = Pt64<4>;
#else
using EptFormat = Ept<4, NoAccessedDirtyFlags>;
struct PagingFormat : Pt64<4> {
  using Flags = NoAccessedDirtyFlags;
};
#endif

template <class F>
Descent walk(const typename F::Rules& rules, std::uint64_t root, std::uint64_t input,
             std::uint64_t needed, bool writes) {
  RawMemory memory;
  WalkCounts counts;
  NoSteps none;
  const auto allows = [needed](const Descent& at, std::uint64_t) {
    return (at.rights & needed) == needed;
  };
  return descend<F, UpdateFlags>(memory, root, input, rules, writes, allows, counts, none);
}

}  // namespace

extern "C" Descent walk_ept_tables(const EptFormat::Rules& rules, std::uint64_t root,
                                   std::uint64_t input, std::uint64_t needed, bool writes) {
  return walk<EptFormat>(rules, root, input, needed, writes);
}

extern "C" Descent walk_paging_tables(const PagingFormat::Rules& rules, std::uint64_t root,
                                      std::uint64_t input, std::uint64_t needed, bool writes) {
  return walk<PagingFormat>(rules, root, input, needed, writes);
}

#endif
