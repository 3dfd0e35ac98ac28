// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/debugger/snapshot.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace nestor::emu {
namespace {

uint64_t hash_of(std::span<const uint8_t, kPageSize> content) {
  // Lanes that do not wait for each other.
  std::array<uint64_t, 4> lanes = {1, 2, 3, 4};
  constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15;
  for (size_t i = 0; i < content.size(); i += sizeof lanes) {
    std::array<uint64_t, 4> words;
    std::memcpy(words.data(), content.data() + i, sizeof words);
    for (size_t j = 0; j < lanes.size(); ++j) {
      lanes[j] = (lanes[j] ^ words[j]) * kMultiplier;
      lanes[j] ^= lanes[j] >> 29;
    }
  }
  uint64_t hash = 0;
  for (const uint64_t lane : lanes) hash = (hash ^ lane) * kMultiplier;
  return hash;
}

class SnapshotWriter final : public Archive {
 public:
  SnapshotWriter(StatePages& pages, std::vector<const StatePage*>& owned,
                 std::vector<uint8_t>& rest)
      : pages_(pages), owned_(owned), rest_(rest) {}
  bool loads() const override { return false; }
  void bytes(std::span<uint8_t> data) override {
    if (data.size() == kPageSize) {
      owned_.push_back(pages_.share(data.first<kPageSize>()));
    } else {
      rest_.insert(rest_.end(), data.begin(), data.end());
    }
  }

 private:
  void integer(uint64_t& value, unsigned size) override {
    for (unsigned i = 0; i < size; ++i) rest_.push_back(static_cast<uint8_t>(value >> (8 * i)));
  }

  StatePages& pages_;
  std::vector<const StatePage*>& owned_;
  std::vector<uint8_t>& rest_;
};

class SnapshotReader final : public Archive {
 public:
  SnapshotReader(std::span<const StatePage* const> pages, std::span<const uint8_t> rest)
      : pages_(pages), rest_(rest) {}
  bool loads() const override { return true; }
  void bytes(std::span<uint8_t> data) override {
    if (data.size() == kPageSize && !pages_.empty()) {
      std::memcpy(data.data(), pages_.front()->data(), data.size());
      pages_ = pages_.subspan(1);
    } else if (data.size() != kPageSize && data.size() <= rest_.size()) {
      std::ranges::copy(rest_.first(data.size()), data.begin());
      rest_ = rest_.subspan(data.size());
    } else {
      require(false);
    }
  }

 private:
  void integer(uint64_t& value, unsigned size) override {
    value = 0;
    require(size <= rest_.size());
    if (!ok()) return;
    for (unsigned i = 0; i < size; ++i) value |= uint64_t{rest_[i]} << (8 * i);
    rest_ = rest_.subspan(size);
  }

  std::span<const StatePage* const> pages_;
  std::span<const uint8_t> rest_;
};

}  // namespace

StatePages::Pages::iterator StatePages::find(std::span<const uint8_t, kPageSize> content,
                                             uint64_t hash) {
  const auto [first, last] = pages_.equal_range(hash);
  return std::find_if(first, last, [&](const auto& entry) {
    return std::memcmp(entry.second.page->data(), content.data(), kPageSize) == 0;
  });
}

const StatePage* StatePages::share(std::span<const uint8_t, kPageSize> content) {
  const uint64_t hash = hash_of(content);
  auto found = find(content, hash);
  if (found == pages_.equal_range(hash).second) {
    auto page = std::make_unique<StatePage>();
    std::ranges::copy(content, page->begin());
    found = pages_.emplace(hash, Entry{std::move(page)});
  }
  ++found->second.owners;
  return found->second.page.get();
}

void StatePages::give_back(const StatePage* page) {
  const auto found = find(*page, hash_of(*page));
  if (--found->second.owners == 0) pages_.erase(found);
}

Snapshot::Snapshot(Machine& machine, StatePages& pages) : pages_(pages) {
  SnapshotWriter writer(pages_, owned_, rest_);
  machine.serialize(writer);
}

Snapshot::~Snapshot() {
  for (const StatePage* page : owned_) pages_.give_back(page);
}

void Snapshot::load(Machine& machine) const {
  SnapshotReader reader(owned_, rest_);
  machine.serialize(reader);
  if (!reader.ok()) throw std::logic_error("a state that was kept does not load");
}

}  // namespace nestor::emu
