// SPDX-License-Identifier: GPL-2.0-or-later
//
// A target of GDB's protocol without a machine: memory of 256 bytes at 1000H, two registers of 8
// bytes, and a list of what it was asked for.
#pragma once

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "emu/observe/gdb/target.h"

namespace nestor::emu {

class FakeTarget : public GdbTarget {
 public:
  static constexpr uint64_t kMemory = 0x1000;
  std::array<uint8_t, 256> memory{};
  std::array<std::vector<uint8_t>, 2> values = {std::vector<uint8_t>(8), std::vector<uint8_t>(8)};
  std::vector<std::string> asked;
  GdbStop next_stop;
  bool reversible = true;
  unsigned count = 2;

  unsigned processors() const override { return count; }
  std::string describe(unsigned processor) const override {
    return fmt::format("processor {}", processor);
  }
  bool can_go_back() const override { return reversible; }
  std::string target_description() const override { return std::string(5000, 'x'); }
  size_t registers() const override { return values.size(); }
  std::vector<uint8_t> read_register(unsigned /*processor*/, size_t number) const override {
    return number < values.size() ? values[number] : std::vector<uint8_t>();
  }
  std::string write_register(unsigned /*processor*/, size_t number,
                             std::span<const uint8_t> value) override {
    if (number >= values.size() || value.size() != values[number].size()) return "it is not so";
    values[number].assign(value.begin(), value.end());
    return {};
  }
  size_t read_memory(unsigned /*processor*/, uint64_t address,
                     std::span<uint8_t> out) const override {
    const size_t size = available(address, out.size());
    if (size != 0) std::copy_n(memory.begin() + offset(address), size, out.begin());
    return size;
  }
  size_t write_memory(unsigned /*processor*/, uint64_t address,
                      std::span<const uint8_t> data) override {
    const size_t size = available(address, data.size());
    if (size != 0) std::copy_n(data.begin(), size, memory.begin() + offset(address));
    return size;
  }
  bool insert(unsigned /*processor*/, GdbPoint point, uint64_t address, uint64_t size) override {
    note("insert {} {:x} {}", static_cast<int>(point), address, size);
    return address != 0;
  }
  bool remove(unsigned /*processor*/, GdbPoint point, uint64_t address, uint64_t size) override {
    note("remove {} {:x} {}", static_cast<int>(point), address, size);
    return true;
  }
  GdbStop resume(const GdbResume& how) override {
    note("{}{}", how.direction == Direction::kBackward ? "back " : "",
         how.step ? fmt::format("step {}", *how.step) : "continue");
    return next_stop;
  }
  std::string monitor(unsigned processor, std::string_view command) override {
    note("monitor {} {}", processor, command);
    return fmt::format("did {}\n", command);
  }

 private:
  template <class... Args>
  void note(fmt::format_string<Args...> format, Args&&... args) {
    asked.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  static size_t available(uint64_t address, size_t size) {
    if (address < kMemory || address >= kMemory + 256) return 0;
    return std::min<size_t>(size, kMemory + 256 - address);
  }
  static std::ptrdiff_t offset(uint64_t address) {
    return static_cast<std::ptrdiff_t>(address - kMemory);
  }
};

}  // namespace nestor::emu
