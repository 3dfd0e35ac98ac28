// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/hardware_port.h"

#include <algorithm>
#include <cstring>

#include "emu/memory/page_size.h"

namespace nestor::emu {

std::variant<uint64_t, Fault> HardwarePort::translate(uint64_t linear, ept::Access access) {
  const uint64_t key = grant_key(state(), linear, access, state().rflags);
  FillCache* const fills = fills_now();
  const TlbGrant* const known = fills != nullptr ? fills->find_allowing(key) : nullptr;
  if (known != nullptr) return known->physical | linear % kPageSize;
  const auto result = mmu_.translate(linear, access, state().rflags);
  if (const auto* fault = std::get_if<Fault>(&result)) {
    if (concerns_cached_translation(*fault)) {
      context_.request_flush_of(mapping_tag(vmx_, state()));
    }
    return *fault;
  }
  const Translation& translation = std::get<Translation>(result);
  if (vmx_.is_apic_access_page(translation.physical)) {
    using Kind = vmx::Vmx::ApicAccess;
    return Fault{ApicPageAccess{access.kind == ept::Access::kWrite ? Kind::kWrite : Kind::kRead,
                                static_cast<uint16_t>(linear % kPageSize)}};
  }
  if (fills != nullptr && !translation.by_sub_page) {
    context_.grant(key, grant_of(translation, access, memory_));
  }
  return translation.physical;
}

FillCache* HardwarePort::fills_now() { return context_.fills_of(address_space(vmx_, state())); }

std::variant<uint64_t, Fault> HardwarePort::translate_code(uint64_t linear) {
  const ept::Access fetch = access(ept::Access::kFetch, Privilege::kCurrent);
  const FillCache* const fills = fills_now();
  const TlbGrant* const known =
      fills != nullptr ? fills->find_allowing(grant_key(state(), linear, fetch, state().rflags))
                       : nullptr;
  if (known != nullptr) return known->physical | linear % kPageSize;
  return mmu_.probe(linear, fetch, state().rflags);
}

void HardwarePort::read_data(uint64_t physical, std::span<uint8_t> out) {
  if (is_device_access(physical, out.size(), false)) {
    const uint64_t value = read_device(physical, static_cast<unsigned>(out.size()));
    std::memcpy(out.data(), &value, out.size());
  } else if (!memory_.read(physical, out)) {
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(read_device(physical++, 1));
  }
}

void HardwarePort::write_data(uint64_t physical, std::span<const uint8_t> data) {
  if (is_device_access(physical, data.size(), true)) {
    uint64_t value = 0;
    std::memcpy(&value, data.data(), data.size());
    write_device(physical, static_cast<unsigned>(data.size()), value);
  } else if (!memory_.write(physical, data)) {
    for (const uint8_t byte : data) write_device(physical++, 1, byte);
  }
}

void HardwarePort::read_code(uint64_t physical, std::span<uint8_t> out) {
  if (!memory_.read(physical, out)) std::ranges::fill(out, uint8_t{0xff});
}

uint64_t HardwarePort::read_device(uint64_t physical, unsigned size) {
  ++device_accesses_;
  if (!apic_.holds(physical, size)) {
    prices_.charge(&PriceList::device_load);
    return bus_.read_memory(physical, size);
  }
  const uint64_t value = apic_.read_memory(physical - apic_.base(), size);
  return size == 8 ? value : value & ((1ull << (8 * size)) - 1);
}

void HardwarePort::write_device(uint64_t physical, unsigned size, uint64_t value) {
  ++device_accesses_;
  if (!apic_.holds(physical, size)) return bus_.write_memory(physical, size, value);
  apic_.write_memory(physical - apic_.base(), size, value);
}

// And of a size that a device takes at once.
bool HardwarePort::is_device_access(uint64_t physical, size_t size, bool write) const {
  return memory_.is_device(physical, write) && (size == 1 || size == 2 || size == 4 || size == 8);
}

}  // namespace nestor::emu
