// SPDX-License-Identifier: GPL-2.0-or-later
//
// States of one machine in memory. Pages with the same content are there once, whichever states
// have them: states that follow each other share most of their memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "emu/machine/machine.h"
#include "emu/memory/archive.h"
#include "emu/memory/page_size.h"

namespace nestor::emu {

using StatePage = std::array<uint8_t, kPageSize>;

class StatePages {
 public:
  // A page with this content, which is the caller's too until it calls give_back().
  const StatePage* share(std::span<const uint8_t, kPageSize> content);
  void give_back(const StatePage* page);
  // Of all pages.
  uint64_t bytes() const { return pages_.size() * kPageSize; }

 private:
  struct Entry {
    std::unique_ptr<StatePage> page;
    uint64_t owners = 0;
  };
  using Pages = std::unordered_multimap<uint64_t, Entry>;  // by a hash of the content
  Pages::iterator find(std::span<const uint8_t, kPageSize> content, uint64_t hash);
  Pages pages_;
};

class Snapshot {
 public:
  // Of a machine that has stopped. `pages` outlives the snapshot.
  Snapshot(Machine& machine, StatePages& pages);
  ~Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  // Into the same machine.
  void load(Machine& machine) const;
  // Beside the pages.
  uint64_t bytes() const { return rest_.size() + owned_.size() * sizeof owned_[0]; }

 private:
  StatePages& pages_;
  std::vector<const StatePage*> owned_;  // in the order in which they were saved
  std::vector<uint8_t> rest_;            // all that is no page
};

}  // namespace nestor::emu
