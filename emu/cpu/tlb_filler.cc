// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/tlb_filler.h"

#include <array>
#include <span>
#include <utility>

#include "emu/cpu/segments.h"
#include "emu/memory/page_size.h"

namespace nestor::emu {

bool TlbFiller::fill(uint64_t linear, FillAccess kind, TlbGrant& grant) {
  const vmx::CpuState& state = core_.state();
  if (!is_canonical(linear, state)) return false;
  if (kind == FillAccess::kFetch && is_beyond_code(linear)) return false;
  if (kind != FillAccess::kFetch && !watched_granted_ && watches_page(linear)) return false;
  if (kind == FillAccess::kWrite && fill_sub_page(linear, grant)) return true;
  ept::Access access;
  // Sub-page write permissions are for some bytes of a page, and a grant is for all of it.
  access.size = 0;
  access.kind = kind == FillAccess::kFetch   ? ept::Access::kFetch
                : kind == FillAccess::kWrite ? ept::Access::kWrite
                                             : ept::Access::kRead;
  access.user = state.cpl() == 3;
  const uint64_t rflags = core_.around().engine.live_rflags();
  const uint64_t key = grant_key(state, linear, access, rflags);
  if (const TlbGrant* known = core_.context().space().fills.find_allowing(key)) {
    grant = *known;
    keep_code_true(linear, access, rflags, grant);
    return true;
  }
  const auto result = core_.mmu().translate(linear, access, rflags, Mmu::Account::kUnlessFault);
  const auto* translation = std::get_if<Translation>(&result);
  if (translation == nullptr) return false;  // the Mmu keeps why
  grant = grant_of(*translation, access, core_.memory());
  if (core_.vmx().is_apic_access_page(grant.physical)) {
    grant.read &= apic_read_.has_value();
    grant.write &= apic_write_.has_value();
    if (kind == FillAccess::kFetch || !grant.allows(kind)) return false;
    grant.physical = core_.vmx().virtual_apic_page();
    confine(grant, kind == FillAccess::kWrite, core_.memory());
  }
  core_.context().grant(key, grant);
  keep_code_true(linear, access, rflags, grant);
  return true;
}

// The engine notices that translated code is written to, and then no longer looks at writes through
// the same entry of its TLB, unless that entry is executable. None of this costs virtual time.
void TlbFiller::keep_code_true(uint64_t linear, ept::Access access, uint64_t rflags,
                               TlbGrant& grant) {
  if (grant.device) return;
  PhysicalMemory& memory = core_.memory();
  Engine& engine = core_.around().engine;
  if (grant.execute) {
    if (memory.mark_fetched(grant.physical)) engine.flush_tlb();
    return;
  }
  if (!grant.write || !memory.mark_written(grant.physical)) return;
  access.kind = ept::Access::kFetch;
  if (std::holds_alternative<uint64_t>(core_.mmu().probe(linear, access, rflags))) {
    grant.execute = true;
    // No fetch will be asked for while the engine keeps the entry; nor may it cost anything later.
    ExecutionContext& context = core_.context();
    const uint64_t key = grant_key(core_.state(), linear, access, rflags);
    if (context.space().fills.find(key) == nullptr) context.grant(key, grant);
    return;
  }
  // Where this mode may not execute, the page's code goes instead, and comes back by a fetch.
  memory.drop_code(grant.physical);
  engine.flush_tlb();
}

bool TlbFiller::fill_sub_page(uint64_t linear, TlbGrant& grant) {
  for (const auto& write : sub_pages_) {
    if (!write || write->page != linear / kPageSize) continue;
    grant.physical = write->translation.physical & ~(kPageSize - 1);
    grant.read = write->translation.read;
    grant.write = true;
    confine(grant, true, core_.memory());
    return true;
  }
  return false;
}

bool TlbFiller::is_beyond_code(uint64_t linear) const {
  const vmx::CpuState& state = core_.state();
  if (state.code_64bit()) return false;
  const vmx::Segment& cs = state.segment[vmx::kCs];
  const auto first = static_cast<uint32_t>(linear - cs.base);
  return first > cs.limit && first <= 0xffffffff - (kPageSize - 1);
}

void TlbFiller::grant_sub_page_write(uint64_t linear, const Translation& translation) {
  // A page may be asked for anew: then it is the other one that waits.
  if (sub_pages_[0] && sub_pages_[0]->page != linear / kPageSize) sub_pages_[1] = sub_pages_[0];
  sub_pages_[0] = {linear / kPageSize, translation};
}

void TlbFiller::end_grants(bool executed, bool refused_again) {
  if (!grants_instruction() || refused_again) return;
  // The pages belonged to this one instruction.
  core_.context().request_flush_here();
  sub_pages_ = {};
  watched_granted_ = false;
  apic_read_.reset();
  const auto written = std::exchange(apic_write_, std::nullopt);
  if (executed && written) core_.vmx().apic_written(*written);
}

}  // namespace nestor::emu
