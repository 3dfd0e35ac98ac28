// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/engine/unicorn/tlb_images.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace nestor::emu {

namespace {

// Entries of each table of a new TLB. Unicorn changes that when it empties it, by how many of them
// were used; each translation looks at all.
constexpr size_t kEntries = 256;

template <class T>
T read(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <class T>
void write(uint8_t* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

}  // namespace

TlbImages::TlbImages(uc_engine* uc, const TlbPlace& place) : uc_(uc), place_(place), images_(1) {
  uc_ctl_flush_tlb(uc_);
}

// Unicorn frees the tables of its own.
TlbImages::~TlbImages() {
  if (selected_ != 0) {
    store(images_[selected_]);
    load(images_[0]);
  }
  for (size_t i = 1; i != images_.size(); ++i) free_tables(images_[i]);
}

void TlbImages::store(Image& image) {
  std::memcpy(image.bytes.data(), place_.at, place_.size());
  image.flushes = flushes_;
  image.translations = translations_;
}

void TlbImages::load(const Image& image) {
  std::memcpy(place_.at, image.bytes.data(), place_.size());
}

// Unicorn frees and replaces them as its own.
void TlbImages::make_tables(Image& image) {
  using Place = TlbPlace;
  for (size_t mode = 0; mode != Place::kModes; ++mode) {
    uint8_t* const fast = &image.bytes[place_.fast + mode * Place::kFast];
    uint8_t* const slow = &image.bytes[Place::kCommon + mode * Place::kSlow];
    void* const entries = std::malloc(kEntries * Place::kEntry);
    void* const attributes = std::calloc(kEntries, Place::kAttributes);
    if (entries == nullptr || attributes == nullptr) throw std::bad_alloc();
    std::memset(entries, 0xff, kEntries * Place::kEntry);
    write<uint64_t>(fast, (kEntries - 1) * Place::kEntry);
    write<void*>(fast + Place::kTableAt, entries);
    std::memset(slow, 0, Place::kSlow);
    std::memset(slow, 0xff, Place::kLargePage);
    std::memset(slow + Place::kVictimsAt, 0xff, Place::kVictims * Place::kEntry);
    write<void*>(slow + Place::kAttributesAt, attributes);
  }
}

void TlbImages::free_tables(const Image& image) {
  using Place = TlbPlace;
  for (size_t mode = 0; mode != Place::kModes; ++mode) {
    const uint8_t* const fast = &image.bytes[place_.fast + mode * Place::kFast];
    const uint8_t* const slow = &image.bytes[Place::kCommon + mode * Place::kSlow];
    std::free(read<void*>(fast + Place::kTableAt));
    std::free(read<void*>(slow + Place::kAttributesAt));
  }
}

TlbImages::Id TlbImages::add() {
  if (selected_ == 0) store(images_[0]);
  Image image = images_[0];
  make_tables(image);
  images_.push_back(image);
  return static_cast<Id>(images_.size() - 1);
}

void TlbImages::select(Id id, Group group) {
  group_ = group;
  Id& known = known_code_[static_cast<size_t>(group)];
  if (id != selected_) {
    store(images_[selected_]);
    if (known != id && known != 0) drop_known_code();
    Image& image = images_[id];
    load(image);
    selected_ = id;
    if (image.flushes != flushes_ || image.translations != translations_) flush();
  }
  known = id;
}

// Emptying a TLB that is empty costs little, and drops this as well.
void TlbImages::drop_known_code() {
  load(images_[0]);
  uc_ctl_flush_tlb(uc_);
  store(images_[0]);
  known_code_ = {};
}

void TlbImages::flush() {
  uc_ctl_flush_tlb(uc_);
  known_code_ = {};
  known_code_[static_cast<size_t>(group_)] = selected_;
}

void TlbImages::flush_all() {
  ++flushes_;
  flush();
}

}  // namespace nestor::emu
