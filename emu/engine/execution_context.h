// SPDX-License-Identifier: GPL-2.0-or-later
//
// What an engine knows of one processor's address space: what its TLB was filled with. An engine
// executes in one context at a time.
#pragma once

#include <cstdint>

#include "emu/engine/fill_cache.h"
#include "emu/memory/archive.h"

namespace nestor::emu {

class ExecutionContext {
 public:
  // `processor` counts from 0: whose x87 and SSE registers the engine uses.
  explicit ExecutionContext(unsigned processor) : processor_(processor) {}

  unsigned processor() const { return processor_; }

  // Linear addresses mean something else under another tag; its value only tells them apart.
  uint64_t tag() const { return tag_; }
  void set_tag(uint64_t tag) {
    if (tag == tag_) return;
    tag_ = tag;
    flush_pending_ = true;
  }

  // Cached translations are dropped before the next instruction executes.
  void request_flush() { flush_pending_ = true; }
  bool flush_pending() const { return flush_pending_; }
  // The engine has dropped them.
  void flushed() {
    flush_pending_ = false;
    fills.clear();
  }

  // `key` is in `fills` from now on, and was not.
  void grant(uint64_t key, const TlbGrant& grant) { fills.insert(key, grant); }

  FillCache fills;
  uint64_t instructions = 0;  // completed here, those included that the model emulated

  void serialize(Archive& archive) {
    archive(tag_, flush_pending_, instructions);
    fills.serialize(archive);
  }

 private:
  const unsigned processor_;
  uint64_t tag_ = 0;
  bool flush_pending_ = true;
};

}  // namespace nestor::emu
