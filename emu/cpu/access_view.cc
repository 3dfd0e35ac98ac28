// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/access_view.h"

#include <variant>

#include "emu/cpu/segments.h"
#include "emu/memory/page_size.h"

namespace nestor::emu {

using timing::TranslationFor;

ept::Access AccessView::access(TranslationFor reason) const {
  const ept::Access::Kind kind = reason == TranslationFor::kFetch   ? ept::Access::kFetch
                                 : reason == TranslationFor::kStore ? ept::Access::kWrite
                                                                    : ept::Access::kRead;
  return core_.port().access(kind, Privilege::kCurrent);
}

std::optional<timing::MemoryView::Page> AccessView::find(uint64_t linear, TranslationFor reason) {
  const vmx::CpuState& state = core_.state();
  if (!is_canonical(linear, state)) return std::nullopt;
  const ept::Access wanted = access(reason);
  const AddressSpace& space = core_.context().space();
  const TlbGrant* const known =
      space.flush_pending ? nullptr
                          : space.fills.find_allowing(grant_key(state, linear, wanted, rflags_));
  if (known != nullptr) {
    return Page{known->device ? timing::kOutsideRam : known->physical | linear % kPageSize, true};
  }
  const auto probed = core_.mmu().probe(linear, wanted, rflags_);
  const auto* physical = std::get_if<uint64_t>(&probed);
  if (physical == nullptr) return std::nullopt;
  return Page{core_.memory().is_ram(*physical) ? *physical : timing::kOutsideRam, false};
}

}  // namespace nestor::emu
