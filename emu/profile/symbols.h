// SPDX-License-Identifier: GPL-2.0-or-later
//
// The names of code, by linear address.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nestor::emu::profile {

// A function: [first, end).
struct Symbol {
  uint64_t first = 0, end = 0;
  std::string name;
};

class SymbolTable {
 public:
  SymbolTable() = default;
  // In any order. Where they overlap, the one that begins last counts; of those that begin at one
  // address, the first.
  explicit SymbolTable(std::vector<Symbol> symbols);

  // Null: no function is there. Stays valid as long as the table.
  const Symbol* find(uint64_t address) const;

 private:
  std::vector<Symbol> symbols_;  // by address
};

}  // namespace nestor::emu::profile
