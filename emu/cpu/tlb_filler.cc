// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/tlb_filler.h"

#include <array>
#include <span>
#include <utility>

#include "emu/cpu/instruction_step.h"
#include "emu/cpu/segment_loads.h"
#include "emu/cpu/segments.h"
#include "emu/memory/page_size.h"

namespace nestor::emu {

bool TlbFiller::fill(uint64_t linear, FillAccess kind, TlbGrant& grant) {
  const vmx::CpuState& state = core_.state();
  if (!is_canonical(linear, state)) return false;
  if (kind == FillAccess::kWrite && fill_sub_page(linear, grant)) return true;
  ept::Access access;
  // Sub-page write permissions are for some bytes of a page, and a grant is for all of it.
  access.size = 0;
  access.kind = kind == FillAccess::kFetch   ? ept::Access::kFetch
                : kind == FillAccess::kWrite ? ept::Access::kWrite
                                             : ept::Access::kRead;
  uint64_t rflags = 0;
  if ((state.cr0 & vmx::cr0::kPg) != 0) {
    const LiveRegisters live = core_.around().engine.live();
    rflags = live.rflags;
    access.user = (rflags & vmx::rflags::kVm) != 0 || (live.cs & 3) == 3;
  }
  const uint64_t key = fill_key(state, linear, kind, access.user, rflags);
  if (const TlbGrant* known = core_.context().fills.find_allowing(key)) {
    grant = *known;
    keep_code_true(linear, access, rflags, grant);
    return true;
  }
  const auto translation = translate(linear, access, rflags);
  if (!translation) return false;
  grant.physical = translation->physical & ~(kPageSize - 1);
  if (core_.vmx().is_apic_access_page(grant.physical)) {
    if (!apic_ || kind == FillAccess::kFetch) return false;
    grant.physical = core_.vmx().virtual_apic_page();
  }
  grant.device = !core_.memory().is_ram(grant.physical);
  grant.read = translation->read;
  grant.write = translation->write && kind != FillAccess::kFetch;
  grant.execute = translation->execute;
  // An implicit access is one instruction's alone.
  if (!access.implicit_supervisor) core_.context().fills.insert(key, grant);
  keep_code_true(linear, access, rflags, grant);
  return true;
}

// std::nullopt: refused; the Mmu keeps why.
std::optional<Translation> TlbFiller::translate(uint64_t linear, ept::Access& access,
                                                uint64_t rflags) {
  auto result = core_.mmu().translate(linear, access, rflags, Mmu::Account::kUnlessFault);
  if (const auto* found = std::get_if<Translation>(&result)) return *found;
  if (!access.user || access.kind == ept::Access::kFetch || !reads_descriptor(linear)) {
    return std::nullopt;
  }
  access.implicit_supervisor = true;
  result = core_.mmu().translate(linear, access, rflags, Mmu::Account::kUnlessFault);
  const auto* found = std::get_if<Translation>(&result);
  return found != nullptr ? std::optional(*found) : std::nullopt;
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
    FillCache& fills = core_.context().fills;
    const uint64_t key = fill_key(core_.state(), linear, FillAccess::kFetch, access.user, rflags);
    if (!access.implicit_supervisor && fills.find(key) == nullptr) fills.insert(key, grant);
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
    grant.device = !core_.memory().is_ram(grant.physical);
    grant.read = write->translation.read;
    grant.write = true;
    return true;
  }
  return false;
}

void TlbFiller::grant_sub_page_write(uint64_t linear, const Translation& translation) {
  // A page may be asked for anew: then it is the other one that waits.
  if (sub_pages_[0] && sub_pages_[0]->page != linear / kPageSize) sub_pages_[1] = sub_pages_[0];
  sub_pages_[0] = {linear / kPageSize, translation};
}

void TlbFiller::end_grants(bool executed, bool refused_again) {
  // The second page of an operand may be refused in turn; the first is allowed until then.
  if (sub_pages_[0] && !refused_again) {
    sub_pages_ = {};
    core_.context().request_flush();
  }
  if (!apic_) return;
  const VirtualApicAccess access = *std::exchange(apic_, std::nullopt);
  core_.context().request_flush();  // the page belonged to this one instruction
  if (executed && access.write) core_.vmx().apic_written(access.offset);
}

bool TlbFiller::reads_descriptor(uint64_t linear) {
  vmx::CpuState& state = core_.state();
  const auto overlaps = [linear](uint64_t base, uint64_t limit) {
    return base < linear + kPageSize && linear <= base + limit;
  };
  const vmx::Segment& ldtr = state.segment[vmx::kLdtr];
  const vmx::Segment& tr = state.segment[vmx::kTr];
  if (!overlaps(state.gdtr.base, state.gdtr.limit) && !overlaps(ldtr.base, ldtr.limit) &&
      !overlaps(tr.base, tr.limit)) {
    return false;
  }
  // The engine is running: what it executes is not yet in the processor's state.
  vmx::CpuState live = state;
  core_.around().engine.peek(live);
  std::array<uint8_t, Instruction::kMaxLength> bytes{};
  size_t fetched = 0;
  std::swap(state, live);
  (void)core_.fetch(linear_rip(state), bytes, fetched);
  const bool code64 = code_mode(state) == CodeMode::k64;
  std::swap(state, live);
  return loads_segment(std::span(bytes.data(), fetched), code64);
}

}  // namespace nestor::emu
