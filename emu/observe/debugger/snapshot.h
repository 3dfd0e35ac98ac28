// SPDX-License-Identifier: GPL-2.0-or-later
//
// A state of a machine in memory. It shares the pages that have not changed since another one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "emu/machine/machine.h"
#include "emu/memory/page_size.h"

namespace nestor::emu {

class Snapshot {
 public:
  // Of a machine that has stopped. `before`: a state of the same machine that may have pages in
  // common with it, best of all the last one; may be null. `live_pages` outlives all snapshots, and
  // counts the pages that they have together.
  Snapshot(Machine& machine, const Snapshot* before, uint64_t& live_pages);
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  // Into the same machine.
  void load(Machine& machine) const;
  // Beside the pages.
  uint64_t bytes() const { return rest_.size() + pages_.size() * sizeof pages_[0]; }

  using Page = std::array<uint8_t, kPageSize>;
  struct KeptPage {
    uint64_t key = 0;  // the number that was saved before it: its place in memory
    std::shared_ptr<const Page> content;
  };

 private:
  std::vector<KeptPage> pages_;  // in the order in which they were saved
  std::vector<uint8_t> rest_;    // all that is no page
};

}  // namespace nestor::emu
