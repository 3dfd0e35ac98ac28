// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/debugger/snapshot.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <stdexcept>

#include "emu/memory/archive.h"

namespace nestor::emu {
namespace {

using Page = Snapshot::Page;
using KeptPage = Snapshot::KeptPage;

class SnapshotWriter final : public Archive {
 public:
  SnapshotWriter(std::span<const KeptPage> before, uint64_t& live_pages,
                 std::vector<KeptPage>& pages, std::vector<uint8_t>& rest)
      : before_(before), live_pages_(live_pages), pages_(pages), rest_(rest) {}
  bool loads() const override { return false; }
  void bytes(std::span<uint8_t> data) override {
    if (data.size() == kPageSize) {
      keep(data);
    } else {
      rest_.insert(rest_.end(), data.begin(), data.end());
    }
  }

 private:
  void integer(uint64_t& value, unsigned size) override {
    for (unsigned i = 0; i < size; ++i) rest_.push_back(static_cast<uint8_t>(value >> (8 * i)));
    key_ = value;
  }
  void keep(std::span<const uint8_t> content) {
    // Pages come in the same order each time, but for those that are new or gone.
    while (!before_.empty() && before_.front().key < key_) before_ = before_.subspan(1);
    if (!before_.empty() && before_.front().key == key_) {
      const KeptPage& same = before_.front();
      before_ = before_.subspan(1);
      if (std::memcmp(same.content->data(), content.data(), kPageSize) == 0) {
        pages_.push_back(same);
        return;
      }
    }
    auto* const page = new Page;
    std::ranges::copy(content, page->begin());
    ++live_pages_;
    pages_.push_back({key_, std::shared_ptr<const Page>(page, [&live = live_pages_](const Page* p) {
                        --live;
                        delete p;
                      })});
  }

  std::span<const KeptPage> before_;
  uint64_t& live_pages_;
  std::vector<KeptPage>& pages_;
  std::vector<uint8_t>& rest_;
  uint64_t key_ = 0;  // the last number
};

class SnapshotReader final : public Archive {
 public:
  SnapshotReader(std::span<const KeptPage> pages, std::span<const uint8_t> rest)
      : pages_(pages), rest_(rest) {}
  bool loads() const override { return true; }
  void bytes(std::span<uint8_t> data) override {
    if (data.size() == kPageSize && !pages_.empty()) {
      std::memcpy(data.data(), pages_.front().content->data(), data.size());
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

  std::span<const KeptPage> pages_;
  std::span<const uint8_t> rest_;
};

}  // namespace

Snapshot::Snapshot(Machine& machine, const Snapshot* before, uint64_t& live_pages) {
  std::span<const KeptPage> pages;
  if (before != nullptr) {
    pages = before->pages_;
    pages_.reserve(pages.size() + 1024);
    rest_.reserve(before->rest_.size() + 4096);
  }
  SnapshotWriter writer(pages, live_pages, pages_, rest_);
  machine.serialize(writer);
}

void Snapshot::load(Machine& machine) const {
  SnapshotReader reader(pages_, rest_);
  machine.serialize(reader);
  if (!reader.ok()) throw std::logic_error("a state that was kept does not load");
}

}  // namespace nestor::emu
