// SPDX-License-Identifier: GPL-2.0-or-later
//
// What an engine knows of one processor: whose translations its TLB holds, and what it was filled
// with. An engine executes in one context at a time, and in one address space of it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "emu/engine/fill_cache.h"
#include "emu/memory/archive.h"
#include "ept/invalidation.h"

namespace nestor::emu {

// Whose translations are meant.
struct AddressSpaceId {
  ept::MappingTag tag;  // by which operations that invalidate choose them
  // All else that decides where linear addresses lead and what they permit. Where one of these
  // differs, what was cached does not count; their values only tell them apart.
  std::array<uint64_t, 9> rules{};

  bool operator==(const AddressSpaceId&) const = default;
  void fields(Archive& archive) { archive(tag, rules); }
};

struct AddressSpace {
  AddressSpaceId id;
  FillCache fills;
  bool flush_pending = true;
  uint64_t last_selected = 0;
  unsigned tlb = 0;  // the engine's number for it; 0: none yet

  void serialize(Archive& archive) {
    archive(id, flush_pending, last_selected);
    fills.serialize(archive);
  }
};

class ExecutionContext {
 public:
  // As many as Linux uses PCIDs, and some for its guests.
  static constexpr size_t kMostSpaces = 12;
  // kForget: what was cached is dropped whenever something else executes, another address space or
  // another processor. For a model of the processor's caches that must be asked each time.
  enum class Retention : uint8_t { kKeep, kForget };

  // `processor` counts from 0: whose x87 and SSE registers the engine uses.
  explicit ExecutionContext(unsigned processor, Retention retention = Retention::kKeep)
      : processor_(processor), retention_(retention) {
    space_->last_selected = ++selections_;
  }
  ExecutionContext(const ExecutionContext&) = delete;
  ExecutionContext& operator=(const ExecutionContext&) = delete;

  unsigned processor() const { return processor_; }
  Retention retention() const { return retention_; }

  // What executes from now on. What was cached of it last time is still there, unless it was
  // invalidated, its rules have changed, or it was too long ago.
  void select(const AddressSpaceId& id) {
    if (id != space_->id) change(id);
  }
  AddressSpace& space() { return *space_; }
  std::span<const AddressSpace> spaces() const { return spaces_; }
  // null: nothing of this address space is cached, or another one is selected.
  FillCache* fills_of(const AddressSpaceId& id) {
    return space_->flush_pending || id != space_->id ? nullptr : &space_->fills;
  }

  // Before the next instruction of an address space executes, what is cached of it is dropped: of
  // all of them, of the selected one, of that with this tag, or of those that an operation must
  // invalidate.
  void request_flush() {
    for (AddressSpace& space : spaces_) space.flush_pending = true;
  }
  void request_flush_here() { space_->flush_pending = true; }
  void request_flush_of(const ept::MappingTag& tag) {
    for (AddressSpace& space : spaces_) space.flush_pending |= space.id.tag == tag;
  }
  void invalidate(const ept::Invalidation& what) {
    for (AddressSpace& space : spaces_) {
      space.flush_pending |= ept::may_concern_translations(what, space.id.tag);
    }
  }
  // What memory bears has changed: from now on each grant is asked for anew.
  void forget() {
    for (AddressSpace& space : spaces_) space.fills.clear();
    request_flush();
  }
  bool flush_pending() const { return space_->flush_pending; }
  // The engine has dropped what was cached of the selected one.
  void flushed() {
    space_->flush_pending = false;
    space_->fills.clear();
  }

  // `key` is in the fills of the selected one from now on, and was not.
  void grant(uint64_t key, const TlbGrant& grant) { space_->fills.insert(key, grant); }

  uint64_t instructions = 0;  // completed here, those included that the model emulated

  void serialize(Archive& archive) {
    size_t selected = static_cast<size_t>(space_ - spaces_.data());
    archive(selected, instructions, selections_);
    archive.require(selected < spaces_.size());
    if (!archive.ok()) return;
    space_ = &spaces_[selected];
    for (AddressSpace& space : spaces_) space.serialize(archive);
  }

 private:
  // Into the place of the one that was selected longest ago, if it is new.
  void change(const AddressSpaceId& id) {
    const auto found =
        std::ranges::find(spaces_, id.tag, [](const AddressSpace& space) { return space.id.tag; });
    space_ = found != spaces_.end()
                 ? &*found
                 : &*std::ranges::min_element(spaces_, {}, &AddressSpace::last_selected);
    space_->last_selected = ++selections_;
    space_->flush_pending |= space_->id != id || retention_ == Retention::kForget;
    space_->id = id;
  }

  const unsigned processor_;
  const Retention retention_;
  uint64_t selections_ = 0;
  std::array<AddressSpace, kMostSpaces> spaces_;
  AddressSpace* space_ = spaces_.data();
};

}  // namespace nestor::emu
