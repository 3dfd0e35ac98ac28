// SPDX-License-Identifier: MIT
#pragma once

#include <compare>
#include <concepts>
#include <cstdint>

namespace nestor::ept {

/// The size of the smallest page, in bytes; every table fills one.
inline constexpr std::uint64_t kPageSize = 4096;

/// An address in one address space. `Tag` names the space, so that an address of one space cannot
/// be passed where another is meant. `value` is in bytes, any 64-bit value.
template <class Tag>
struct Address {
  using Space = Tag;

  std::uint64_t value = 0;

  constexpr auto operator<=>(const Address&) const = default;

  /// The offset inside the naturally aligned page of 2^`bits` bytes; `bits` is 0..63.
  [[nodiscard]] constexpr std::uint64_t page_offset(unsigned bits = 12) const {
    return value & ((std::uint64_t{1} << bits) - 1);
  }
  /// The first byte of that page.
  [[nodiscard]] constexpr Address page_base(unsigned bits = 12) const {
    return {value - page_offset(bits)};
  }
};

template <class A>
concept AnyAddress = std::same_as<A, Address<typename A::Space>>;

/// What a program computes: segment base plus offset. Canonical where the paging mode asks for it.
using LinearAddress = Address<struct LinearSpace>;
/// What the paging structures of a guest produce and EPT translates: an L2 GPA.
using GuestPhysicalAddress = Address<struct GuestPhysicalSpace>;
/// Memory as the hypervisor under test sees it: an L1 GPA. Machine memory when no L0 lies below.
using PhysicalAddress = Address<struct PhysicalSpace>;
/// Machine memory below a virtualised `PhysicalAddress`: an HPA.
using HostPhysicalAddress = Address<struct HostPhysicalSpace>;

static_assert(sizeof(LinearAddress) == sizeof(std::uint64_t));
static_assert(AnyAddress<PhysicalAddress> && !std::convertible_to<LinearAddress, PhysicalAddress>);

}  // namespace nestor::ept
