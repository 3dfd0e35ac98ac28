// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/memory_port.h"

#include <algorithm>
#include <array>

#include "emu/cpu/segments.h"
#include "emu/memory/page_size.h"

namespace nestor::emu {

ept::Access MemoryPort::access(ept::Access::Kind kind, Privilege privilege) const {
  return {kind, state_.cpl() == 3, privilege == Privilege::kSupervisor};
}

template <class Use>
std::optional<Fault> MemoryPort::for_each_page(uint64_t linear, size_t size, ept::Access access,
                                               const Use& use) {
  // No operand is longer than a page, so it touches two at most.
  struct Part {
    uint64_t physical;
    size_t offset, size;
  };
  std::array<Part, 3> parts{};
  size_t count = 0;
  // In IA-32e mode descriptor tables, the TSS and the stacks of handlers may lie above 4 GBytes,
  // whatever the width of the code is.
  const bool wraps = !state_.long_mode_active() || (!state_.code_64bit() && linear <= 0xffffffff);
  for (size_t done = 0; done < size && count < parts.size();) {
    uint64_t address = linear + done;
    if (wraps) address &= 0xffffffff;
    // The processor's own accesses; an instruction's operand has been checked with its segment.
    if (!is_canonical(address, state_)) return vmx::exception(vmx::kGp, 0);
    const size_t part = std::min<size_t>(size - done, kPageSize - address % kPageSize);
    access.size = static_cast<uint16_t>(part);
    const auto result = translate(address, access);
    if (const auto* fault = std::get_if<Fault>(&result)) return *fault;
    parts[count++] = {std::get<uint64_t>(result), done, part};
    done += part;
  }
  for (size_t i = 0; i < count; ++i) use(parts[i].physical, parts[i].offset, parts[i].size);
  return std::nullopt;
}

std::optional<Fault> MemoryPort::read(uint64_t linear, std::span<uint8_t> out,
                                      Privilege privilege) {
  return for_each_page(linear, out.size(), access(ept::Access::kRead, privilege),
                       [&](uint64_t physical, size_t offset, size_t size) {
                         read_data(physical, out.subspan(offset, size));
                       });
}

std::optional<Fault> MemoryPort::write(uint64_t linear, std::span<const uint8_t> data,
                                       Privilege privilege) {
  return for_each_page(linear, data.size(), access(ept::Access::kWrite, privilege),
                       [&](uint64_t physical, size_t offset, size_t size) {
                         write_data(physical, data.subspan(offset, size));
                       });
}

std::optional<Fault> MemoryPort::probe_write(uint64_t linear, uint64_t size, Privilege privilege) {
  return for_each_page(linear, size, access(ept::Access::kWrite, privilege),
                       [](uint64_t, size_t, size_t) {});
}

std::optional<Fault> MemoryPort::fetch(uint64_t linear, std::span<uint8_t> out, size_t& fetched) {
  fetched = 0;
  while (fetched < out.size()) {
    uint64_t address = linear + fetched;
    if (!state_.code_64bit()) address &= 0xffffffff;
    const auto result = translate_code(address);
    if (const auto* fault = std::get_if<Fault>(&result)) return *fault;
    const size_t part = std::min<size_t>(out.size() - fetched, kPageSize - address % kPageSize);
    read_code(std::get<uint64_t>(result), out.subspan(fetched, part));
    fetched += part;
  }
  return std::nullopt;
}

}  // namespace nestor::emu
