// SPDX-License-Identifier: GPL-2.0-or-later
//
// Guest-physical pages outside RAM are seen by the engine through a window, in the order of their
// first use.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "emu/engine/unicorn/guest_mode.h"

namespace nestor::emu {

class DeviceWindow {
 public:
  // Where the page at `physical` appears; std::nullopt: the window is full.
  std::optional<uint64_t> page(uint64_t physical) {
    const auto [place, added] = index_.try_emplace(physical, pages_.size());
    if (added) {
      if (pages_.size() == svm::kWindowPages) {
        index_.erase(place);
        return std::nullopt;
      }
      pages_.push_back(physical);
    }
    return svm::kWindow + (place->second << 12);
  }
  // What is behind a byte of the window.
  uint64_t physical(uint64_t offset) const { return pages_[offset >> 12] | (offset & 0xfff); }
  // Once no cached translation leads to it any more.
  void forget() {
    if (pages_.empty()) return;
    pages_.clear();
    index_.clear();
  }

 private:
  std::vector<uint64_t> pages_;  // guest-physical
  std::unordered_map<uint64_t, uint64_t> index_;
};

}  // namespace nestor::emu
