// SPDX-License-Identifier: GPL-2.0-or-later
//
// The page-miss handler: what the engine's TLB is granted, and what a single instruction is granted
// beyond that.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "emu/cpu/breakpoints.h"
#include "emu/cpu/hardware_core.h"
#include "emu/engine/engine.h"
#include "emu/memory/page_size.h"

namespace nestor::emu {

class TlbFiller {
 public:
  // `core` outlives this object.
  explicit TlbFiller(HardwareCore& core) : core_(core) {}

  // EngineClient::fill.
  bool fill(uint64_t linear, FillAccess access, TlbGrant& grant);

  // Whether each access to the page of `linear` is looked at: it has data breakpoints, or it is the
  // last one of 4 GBytes, where operands must not wrap around.
  bool watches_page(uint64_t linear) const {
    const vmx::CpuState& state = core_.state();
    if (!state.code_64bit() && linear / kPageSize == 0xfffff) return true;
    return has_breakpoints(state) && has_data_breakpoint(state, linear);
  }

  // Whether no byte of this page belongs to the code segment: nothing is fetched there, since the
  // limit comes first. `linear` is page aligned.
  bool is_beyond_code(uint64_t linear) const;

  // --- grants to the next instruction alone

  // It reads from the virtual-APIC page, or writes there at `offset`, in the place of the
  // APIC-access page.
  void grant_virtual_apic(bool write, uint16_t offset) {
    (write ? apic_write_ : apic_read_) = offset;
  }
  // It writes to the page of `linear`, and sub-page write permissions allow it. An operand may
  // cross from one such page to another.
  void grant_sub_page_write(uint64_t linear, const Translation& translation);
  // It may access pages with data breakpoints, and the last page of 4 GBytes.
  void grant_watched_pages() { watched_granted_ = true; }
  bool grants_watched_pages() const { return watched_granted_; }
  bool grants_instruction() const {
    return apic_read_ || apic_write_ || sub_pages_[0] || watched_granted_;
  }
  // The engine has stopped. `executed`: it has completed the instruction; `refused_again`: it asks
  // for another page, or to write after it has read.
  void end_grants(bool executed, bool refused_again);

  void serialize(Archive& archive) {
    archive(apic_read_, apic_write_, sub_pages_, watched_granted_);
  }

 private:
  bool fill_sub_page(uint64_t linear, TlbGrant& grant);
  void keep_code_true(uint64_t linear, ept::Access access, uint64_t rflags, TlbGrant& grant);
  struct SubPageWrite {
    uint64_t page = 0;  // its number
    Translation translation;
    void fields(Archive& archive) { archive(page, translation); }
  };

  HardwareCore& core_;
  std::optional<uint16_t> apic_read_, apic_write_;  // offsets
  bool watched_granted_ = false;
  std::array<std::optional<SubPageWrite>, 2> sub_pages_;
};

}  // namespace nestor::emu
