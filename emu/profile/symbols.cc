// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/profile/symbols.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace nestor::emu::profile {

SymbolTable::SymbolTable(std::vector<Symbol> symbols) : symbols_(std::move(symbols)) {
  std::ranges::stable_sort(symbols_, {}, &Symbol::first);
  const auto same = [](const Symbol& one, const Symbol& other) { return one.first == other.first; };
  symbols_.erase(std::unique(symbols_.begin(), symbols_.end(), same), symbols_.end());
}

const Symbol* SymbolTable::find(uint64_t address) const {
  const auto after = std::ranges::upper_bound(symbols_, address, {}, &Symbol::first);
  if (after == symbols_.begin()) return nullptr;
  const Symbol& last = *std::prev(after);
  return address < last.end ? &last : nullptr;
}

}  // namespace nestor::emu::profile
