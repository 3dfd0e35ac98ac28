// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>

#include "emu/events/events.h"
#include "ept/access.h"
#include "ept/translation_cache.h"

namespace nestor::emu {

// What runs in VMX root operation where that is part of the emulator: it is called instead of
// executing instructions outside VMX non-root operation, and brings the processor there, makes it
// wait for a start-up IPI or ends the run.
class RootSoftware {
 public:
  virtual ~RootSoftware() = default;
  virtual void run() = 0;
  // Whether what runs in VMX non-root operation is the guest of a guest.
  virtual bool runs_l2() const = 0;
  // Whether its guest believes to be in VMX operation.
  virtual bool l1_in_vmx_operation() const = 0;
  // CR3 as what runs in VMX non-root operation has it, whatever the processor runs it on.
  virtual uint64_t guest_cr3() const = 0;

  // Of a processor that keeps translations. Whether its guests' own tables no longer hold what
  // `mapping` says, which is about to be used for an access to `linear`; `ac`: RFLAGS.AC.
  virtual std::optional<StaleTranslationEvent> find_stale(const ept::CachedMapping& mapping,
                                                          uint64_t linear, ept::Access access,
                                                          bool ac) = 0;
  // false: the same was told since the guests last invalidated anything.
  virtual bool is_new(const StaleTranslationEvent& event) = 0;
};

}  // namespace nestor::emu
