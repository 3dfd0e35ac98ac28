// SPDX-License-Identifier: GPL-2.0-or-later
//
// A TLB of Unicorn's for each address space. Unicorn has one, and forgets it all where it forgets
// anything; here its content is exchanged, so that what one address space has cached waits while
// another executes.
#pragma once

#include <unicorn/unicorn.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "emu/engine/unicorn/layout.h"

namespace nestor::emu {

class TlbImages {
 public:
  using Id = unsigned;
  // Unicorn finds code that it has translated by linear address and hidden flags, before it looks
  // at physical addresses. Address spaces between which execution goes to and fro often want
  // different groups: this bit of the hidden flags, which Unicorn does not use, tells them apart.
  enum class Group : uint8_t { kPlain, kMarked };
  static constexpr uint32_t kMark = 1u << 27;

  // Unicorn's TLB is at `place`, and has nothing that is used.
  TlbImages(uc_engine* uc, const TlbPlace& place);
  // Unicorn must be open still, and execute nothing any more.
  ~TlbImages();
  TlbImages(const TlbImages&) = delete;
  TlbImages& operator=(const TlbImages&) = delete;

  // A TLB with nothing in it; never 0, and for good.
  Id add();
  // While no guest code runs: from now on code executes with this one, with hidden_flags().
  void select(Id id, Group group);
  uint32_t hidden_flags() const { return group_ == Group::kMarked ? kMark : 0; }

  // Empties the selected one.
  void flush();
  void flush_all();
  // Unicorn has translated code, and watches for writes to it in the selected one alone.
  void note_translation() { ++translations_; }

 private:
  struct Image {
    std::array<uint8_t, TlbPlace::kMostBytes> bytes{};
    uint64_t flushes = 0, translations = 0;  // when it was selected last
  };

  void store(Image& image);
  void load(const Image& image);
  void make_tables(Image& image);
  void free_tables(const Image& image);
  void drop_known_code();

  uc_engine* const uc_;
  const TlbPlace place_;
  // The first is Unicorn's own, which stays empty.
  std::vector<Image> images_;
  Id selected_ = 0;
  Group group_ = Group::kPlain;
  std::array<Id, 2> known_code_{};  // by group: whose translations are found; 0: nobody's
  uint64_t flushes_ = 0, translations_ = 0;
};

}  // namespace nestor::emu
