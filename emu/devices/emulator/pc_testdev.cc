// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/emulator/pc_testdev.h"

#include <algorithm>
#include <utility>

#include "emu/devices/emulator/debug_console.h"

namespace nestor::emu {
namespace {

uint64_t load(const uint8_t* from, uint64_t size) {
  uint64_t value = 0;
  for (uint64_t i = 0; i < size; ++i) value |= uint64_t{from[i]} << (8 * i);
  return value;
}

void store(uint8_t* to, uint64_t size, uint64_t value) {
  for (uint64_t i = 0; i < size; ++i) to[i] = static_cast<uint8_t>(value >> (8 * i));
}

}  // namespace

PcTestdev::PcTestdev(std::function<void(unsigned, bool)> set_line,
                     std::function<void(uint64_t)> flush)
    : set_line_(std::move(set_line)), flush_(std::move(flush)) {}

bool PcTestdev::attach(Bus& bus) {
  // The debug console has its port in the middle of the byte data ports.
  constexpr uint16_t kBefore = DebugConsole::kPort - kByteDataPort;
  return bus.claim_ports(kDataPort, 8, *this) && bus.claim_ports(kByteDataPort, kBefore, *this) &&
         bus.claim_ports(DebugConsole::kPort + 1, 4 - kBefore - 1, *this) &&
         bus.claim_ports(kLinePort, kLineCount, *this) &&
         bus.claim_memory(kMemory, kMemorySize, *this);
}

uint32_t PcTestdev::read_port(uint16_t port, unsigned size) {
  if (port >= kLinePort || (port & ~3) == kFlushPort) return 0xffffffff;  // write-only
  const unsigned first = port & 3;
  return static_cast<uint32_t>(load(&register_[first], std::min(size, 4 - first)));
}

void PcTestdev::write_port(uint16_t port, unsigned size, uint32_t value) {
  if (port >= kLinePort) {
    if (size == 1 && set_line_) set_line_(port - kLinePort, value != 0);
  } else if ((port & ~3) == kFlushPort) {
    if (size == 4 && flush_) flush_(value & ~0xfffu);
  } else {
    const unsigned first = port & 3;
    store(&register_[first], std::min(size, 4 - first), value);
  }
}

uint64_t PcTestdev::read_memory(uint64_t offset, unsigned size) {
  return load(&memory_[offset], std::min<uint64_t>(size, kMemorySize - offset));
}

void PcTestdev::write_memory(uint64_t offset, unsigned size, uint64_t value) {
  store(&memory_[offset], std::min<uint64_t>(size, kMemorySize - offset), value);
}

}  // namespace nestor::emu
