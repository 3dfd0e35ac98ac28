// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/l0/machine_map.h"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "emu/memory/page_size.h"

namespace nestor::emu {

L0Pages::L0Pages(Core& core, uint64_t first, uint64_t end) : core_(core), first_(first), end_(end) {
  for (uint64_t page = end; page != first; page -= kPageSize) free_.push_back(page - kPageSize);
}

bool L0Pages::allocate(Address& page) {
  if (free_.empty() || used_ >= limit) return false;
  page = {free_.back()};
  free_.pop_back();
  ++used_;
  ++built;
  static constexpr std::array<uint8_t, kPageSize> kZeros{};
  core_.write_physical({page.value}, kZeros);
  return true;
}

void L0Pages::release(Address page) {
  free_.push_back(page.value);
  --used_;
  ++zapped;
}

bool L0Pages::read64(Address address, uint64_t& out) {
  return core_.read_physical({address.value},
                             std::span(reinterpret_cast<uint8_t*>(&out), sizeof out));
}

void L0Pages::write64(Address address, uint64_t value) {
  core_.write_physical({address.value},
                       std::span(reinterpret_cast<const uint8_t*>(&value), sizeof value));
}

void L0Pages::serialize(Archive& archive) {
  const uint64_t pages = (end_ - first_) / kPageSize;
  archive.sequence(free_, pages);
  archive(used_, built, zapped);
  archive.require(used_ + free_.size() == pages);
  std::vector<bool> seen(pages);
  for (const uint64_t page : free_) {
    archive.require(owns({page}));
    if (!archive.ok()) return;
    const uint64_t number = (page - first_) / kPageSize;
    archive.require(!seen[number]);
    seen[number] = true;
  }
}

uint64_t L0Pages::take() {
  Address page;
  if (!allocate(page)) throw std::logic_error("L0 has no memory left for its own structures");
  --used_;
  --built;
  return page.value;
}

bool L1Memory::read(Address address, std::span<uint8_t> out) {
  for (size_t done = 0; done < out.size();) {
    const Address at{address.value + done};
    const size_t part = std::min<size_t>(out.size() - done, kPageSize - at.page_offset());
    if (!core_.read_physical({map_.machine(at).value}, out.subspan(done, part))) {
      std::fill(out.begin() + static_cast<std::ptrdiff_t>(done), out.end(), uint8_t{0xff});
      return false;
    }
    done += part;
  }
  return true;
}

bool L1Memory::write(Address address, std::span<const uint8_t> data) {
  const Address last{address.value + data.size() - 1};
  if (!map_.is_ram(address) || !map_.is_ram(last)) return false;
  for (size_t done = 0; done < data.size();) {
    const Address at{address.value + done};
    const size_t part = std::min<size_t>(data.size() - done, kPageSize - at.page_offset());
    core_.write_physical({map_.machine(at).value}, data.subspan(done, part));
    done += part;
  }
  return true;
}

}  // namespace nestor::emu
