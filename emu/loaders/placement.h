// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which parts of RAM are taken while an image is laid out.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "emu/loaders/image.h"

namespace nestor::emu {

inline constexpr uint64_t kPageBytes = 0x1000;
// Images and all that comes with them lie below this address, where 32-bit code reaches them.
inline constexpr uint64_t kFourGiB = 1ull << 32;

class Placement {
 public:
  // `memory` outlives the placement.
  explicit Placement(const MemoryMap& memory) : memory_(memory) {}

  // Takes `size` bytes at `first` for `owner` ("segment 1"). Nothing is taken when there is an
  // error: outside RAM, beyond 4 GiB, or already taken. `size` 0 takes nothing and is no error.
  [[nodiscard]] std::optional<LoadError> claim(uint64_t first, uint64_t size, std::string owner);

  // The lowest page-aligned place for `size` bytes from `lowest` on that ends at or below `limit`;
  // it is not taken yet. nullopt: there is none.
  [[nodiscard]] std::optional<uint64_t> find(uint64_t size, uint64_t lowest, uint64_t limit) const;

  // One past the highest byte taken; 0: nothing is.
  uint64_t end() const;

 private:
  struct Claim {
    uint64_t size;
    std::string owner;
  };

  const MemoryMap& memory_;
  std::map<uint64_t, Claim> claims_;  // by first byte
};

// "0x100000-0x1fffff, ..." for messages.
std::string to_string(const MemoryMap& memory);

}  // namespace nestor::emu
