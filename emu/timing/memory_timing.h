// SPDX-License-Identifier: GPL-2.0-or-later
//
// When what is accessed is there: lines on their way to the first-level data cache, page walks, and
// stores that wait for their line. Misses overlap as far as there are fill buffers and page
// walkers.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "emu/timing/access_slices.h"
#include "emu/timing/caches.h"
#include "emu/timing/processor.h"
#include "emu/timing/resources.h"

namespace nestor::emu::timing {

// An access as the caches have seen it.
struct MemoryAccess {
  AccessKind kind = AccessKind::kLoad;
  CacheLevel level = CacheLevel::kFirst;
  bool cached = false;       // it was in memory that caches hold, and its address was known
  bool walks = false;        // `translation` is a page walk
  uint32_t translation = 0;  // cycles
  uint64_t line = 0;
};

class MemoryTiming {
 public:
  explicit MemoryTiming(const Processor::Memory& memory) : memory_(memory) {}

  // A line that was missed before has not come at this time.
  bool is_waiting(Ticks now) const { return last_fill_ > now; }
  // This line was missed before, and has not come.
  bool is_on_its_way(uint64_t line, Ticks now) const { return find(line, now) != nullptr; }

  struct Wait {
    Ticks ticks = 0;           // more than a hit of the first-level cache takes
    bool fill_buffer = false;  // it was on its way already
  };
  // Of an access whose address is known at `ready`.
  Wait access(const MemoryAccess& access, Ticks ready) {
    const Ticks translated = ready + translate(access, ready);
    const Ticks hit = memory_.first_cache_cycles * kTicksPerCycle;
    if (access.level == CacheLevel::kFirst) {
      Ticks there = translated + hit;
      const Fill* pending = find(access.line, there);
      if (pending != nullptr) there = pending->there;
      return {there - hit - ready, pending != nullptr};
    }
    Fill& fill = *std::min_element(fills_.begin(), fills_.begin() + memory_.fill_buffers,
                                   [](const Fill& a, const Fill& b) { return a.there < b.there; });
    const Ticks begins = std::max(translated, fill.there);
    fill = {access.line, begins + cycles_of(access.level, memory_) * kTicksPerCycle};
    last_fill_ = std::max(last_fill_, fill.there);
    return {fill.there - hit - ready, false};
  }

  // So many stores more are issued. When there is room for them.
  Ticks store_room(uint32_t stores) {
    stores_ += stores;
    while (first_ != end_ && waiting_[first_ % kWaiting].stores + memory_.store_buffer <= stores_) {
      room_ = waiting_[first_ % kWaiting].time;
      ++first_;
    }
    return room_;
  }
  // The stores up to now have retired at that time. The line of one of them is there then.
  void store(Ticks line, Ticks retired) {
    const Ticks time = std::max({line, retired, stored_});
    stored_ = time;
    if (end_ - first_ == kWaiting) ++first_;
    waiting_[end_++ % kWaiting] = {stores_, time};
  }

  template <typename Archive>
  void serialize(Archive& archive) {
    archive(fills_, walkers_, last_fill_, waiting_, first_, end_, stores_, stored_, room_);
    archive.require(end_ - first_ <= kWaiting);
  }

 private:
  struct Fill {
    uint64_t line = 0;
    Ticks there = 0;
    template <typename Archive>
    void fields(Archive& archive) {
      archive(line, there);
    }
  };
  // How many stores were issued up to one that waits, and when it is in the cache.
  struct Waiting {
    uint64_t stores = 0;
    Ticks time = 0;
    template <typename Archive>
    void fields(Archive& archive) {
      archive(stores, time);
    }
  };
  static constexpr size_t kMaxFills = 16, kMaxWalkers = 2;
  static constexpr size_t kWaiting = 128;  // not less than any store buffer

  const Fill* find(uint64_t line, Ticks later_than) const {
    if (last_fill_ <= later_than) return nullptr;
    for (size_t i = 0; i < memory_.fill_buffers; ++i)
      if (fills_[i].line == line && fills_[i].there > later_than) return &fills_[i];
    return nullptr;
  }
  Ticks translate(const MemoryAccess& access, Ticks ready) {
    const Ticks takes = access.translation * kTicksPerCycle;
    if (!access.walks) return takes;
    Ticks& walker = *std::min_element(walkers_.begin(), walkers_.begin() + memory_.page_walkers);
    walker = std::max(walker, ready) + takes;
    return walker - ready;
  }

  const Processor::Memory& memory_;
  std::array<Fill, kMaxFills> fills_{};
  std::array<Ticks, kMaxWalkers> walkers_{};  // when each is free
  Ticks last_fill_ = 0;
  std::array<Waiting, kWaiting> waiting_{};
  uint64_t first_ = 0, end_ = 0;  // of waiting_, modulo its size
  uint64_t stores_ = 0;
  Ticks stored_ = 0, room_ = 0;
};

}  // namespace nestor::emu::timing
