// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/mmu.h"

#include "emu/cpu/breakpoints.h"
#include "emu/cpu/stale_translation.h"
#include "emu/cpu/walk_results.h"
#include "emu/memory/page_size.h"
#include "vmx/features.h"

namespace nestor::emu {

namespace {

using ept::Access;
namespace cr0 = vmx::cr0;
namespace cr4 = vmx::cr4;

constexpr ept::EptRights kEveryEptRight{true, true, true, true};
constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15;
constexpr size_t kLongestWalk = 5;  // without EPT

}  // namespace

void confine(TlbGrant& grant, bool write, const PhysicalMemory& memory) {
  grant.device = memory.is_device(grant.physical, write);
  const bool read_only =
      memory.is_ram(grant.physical) && memory.is_device(grant.physical, /*write=*/true);
  if (!read_only) return;
  // Reads and fetches never go to the bus, whichever entry of a TLB is there.
  if (grant.device) {
    grant.read = grant.execute = false;
  } else {
    grant.write = false;
  }
}

TlbGrant grant_of(const Translation& translation, Access access, const PhysicalMemory& memory) {
  TlbGrant grant{translation.physical & ~(kPageSize - 1), false, translation.read,
                 translation.write && access.kind != Access::kFetch, translation.execute};
  confine(grant, access.kind == Access::kWrite, memory);
  return grant;
}

ept::MappingTag mapping_tag(const vmx::Vmx& vmx, const vmx::CpuState& state) {
  ept::MappingTag tag;
  tag.paging = (state.cr0 & cr0::kPg) != 0;
  tag.vpid = vmx.vpid();
  tag.pcid = state.pcid();
  if (const auto eptp = vmx.eptp()) {
    tag.kind = ept::MappingKind::kCombined;
    tag.ept_root = ept::ept_root_of(*eptp);
  }
  return tag;
}

AddressSpaceId address_space(const vmx::Vmx& vmx, const vmx::CpuState& state) {
  constexpr uint64_t kCr4 = cr4::kPse | cr4::kPae | cr4::kPge | cr4::kPcide | cr4::kSmep |
                            cr4::kSmap | cr4::kPke | cr4::kPks | cr4::kLa57;
  constexpr uint64_t kEfer = vmx::efer::kNxe | vmx::efer::kLma;
  AddressSpaceId id;
  id.tag = mapping_tag(vmx, state);
  id.rules[0] = state.cr3;
  id.rules[1] = (state.cr0 & cr0::kWp) | (state.cr4 & kCr4) << 32;
  id.rules[2] = state.efer & kEfer;
  id.rules[3] = state.pkru | uint64_t{state.pkrs} << 32;
  if (!state.long_mode_active() && (state.cr4 & cr4::kPae) != 0) {
    for (const uint64_t pdpte : state.pdptes) id.rules[4] = id.rules[4] * kMultiplier + pdpte;
  }
  id.rules[5] = breakpoint_set(state);
  if (!vmx.in_non_root()) return id;
  const vmx::Vmcs& vmcs = vmx.current_vmcs();
  id.rules[6] = vmx.eptp().value_or(0) | 1ull << 63;
  id.rules[7] = vmcs[vmx::Field::kSecondaryProcBasedControls] |
                vmcs[vmx::Field::kTertiaryProcBasedControls] << 32;
  if (vmx.secondary(vmx::SecondaryProcBased::kVirtualizeApicAccesses)) {
    id.rules[8] = vmcs[vmx::Field::kApicAccessAddress];
  }
  id.rules[8] = id.rules[8] * kMultiplier + vmx.sub_page_table().value_or(0);
  return id;
}

ept::PagingState paging_state(const vmx::Vmx& vmx, const vmx::CpuState& state, uint64_t rflags) {
  ept::PagingState paging;
  paging.mode = ept::paging_mode(state.cr0 & cr0::kPg, state.cr4 & cr4::kPae,
                                 state.efer & vmx::efer::kLma, state.cr4 & cr4::kLa57);
  if (paging.mode == ept::PagingMode::kNone) return paging;
  paging.cr3 = state.cr3;
  paging.pdptes = state.pdptes;
  paging.wp = state.cr0 & cr0::kWp;
  paging.pse = state.cr4 & cr4::kPse;
  paging.smep = state.cr4 & cr4::kSmep;
  paging.smap = state.cr4 & cr4::kSmap;
  paging.ac = rflags & vmx::rflags::kAc;
  paging.nxe = state.efer & vmx::efer::kNxe;
  paging.pke = state.cr4 & cr4::kPke;
  paging.pks = state.cr4 & cr4::kPks;
  paging.pkru = state.pkru;
  paging.pkrs = state.pkrs;
  paging.maxphyaddr = vmx.capabilities().registers.physical_address_width;
  return paging;
}

Mmu::RefusedWalk& Mmu::keep_refused(uint64_t linear, Access access, bool ac, unsigned references,
                                    const Fault& fault) {
  return refused_.emplace(RefusedWalk{linear / kPageSize, access, ac, references, fault});
}

std::variant<Translation, Fault> Mmu::translate_refused(uint64_t linear, Access access,
                                                        uint64_t rflags) {
  const bool ac = (rflags & vmx::rflags::kAc) != 0;
  if (!refused_ || refused_->page != linear / kPageSize || refused_->access.kind != access.kind ||
      refused_->access.user != access.user ||
      refused_->access.implicit_supervisor != access.implicit_supervisor || refused_->ac != ac) {
    return translate(linear, access, rflags);
  }
  RefusedWalk& walk = *refused_;
  charge({.tag = mapping_tag(vmx_, state_),
          .linear = linear,
          .fetch = access.kind == Access::kFetch,
          .steps = walk.steps,
          .guest_physical = walk.guest_physical},
         walk.references);
  const uint64_t physical_offset = walk.offset_is_physical ? linear % kPageSize : 0;
  if (walk.event) {
    walk.event->linear = linear;
    walk.event->guest_physical += physical_offset;
    // As the entries are now: the walk has set their accessed flags.
    for (ept::Step& step : walk.steps) step.entry = step.written_back;
    walk.event->steps = walk.steps;
    events_->walk(*walk.event);
  }
  if (auto* event = std::get_if<vmx::Event>(&walk.fault)) {
    event->payload = linear;
  } else if (auto* violation = std::get_if<EptViolation>(&std::get<EptExit>(walk.fault))) {
    violation->guest_physical += physical_offset;
    violation->guest_linear = linear;
  } else {
    std::get<EptMisconfiguration>(std::get<EptExit>(walk.fault)).guest_physical += physical_offset;
  }
  const Fault fault = walk.fault;
  refused_.reset();
  return fault;
}

std::variant<Translation, Fault> Mmu::translate(uint64_t linear, Access access, uint64_t rflags,
                                                Account account) {
  refused_.reset();
  if (caches_ != nullptr) {
    if (!state_.long_mode_active()) linear &= 0xffffffff;
    if (const auto found = find_cached(linear, access, rflags)) return *found;
  }
  if (const auto eptp = vmx_.in_non_root() ? vmx_.eptp() : std::nullopt) {
    return translate_over_ept(linear, access, rflags, *eptp, account);
  }
  const ept::PagingState paging = paging_state(vmx_, state_, rflags);
  if (paging.mode == ept::PagingMode::kNone) {
    return Translation{linear & 0xffffffff, true, true, access.kind == Access::kFetch};
  }
  if ((events_ != nullptr && events_->wants_all_walks()) || wants_steps()) {
    ept::RecordSteps<kLongestWalk> steps;
    return walk_paging(linear, access, paging, account, steps);
  }
  ept::NoSteps none;
  return walk_paging(linear, access, paging, account, none);
}

void Mmu::charge(const timing::TimedWalk& walk, unsigned references) {
  if (costs_ == nullptr) return charge_references(references);
  walk_references_ += references;
  prices_.charge_core(costs_->translate(walk));
}

template <class Walk>
timing::TimedWalk Mmu::timed(uint64_t linear, Access access, const Walk& walk, uint64_t physical,
                             std::span<const ept::Step> steps) const {
  timing::TimedWalk timed{.tag = mapping_tag(vmx_, state_),
                          .linear = linear,
                          .fetch = access.kind == Access::kFetch,
                          .write = access.kind == Access::kWrite,
                          .steps = steps};
  if (walk.translated()) {
    timed.page_bits = walk.page_bits;
    timed.global = walk.global && (state_.cr4 & cr4::kPge) != 0;
    timed.dirty = walk.dirty;
    timed.physical = memory_.is_ram(physical) ? physical : timing::kOutsideRam;
  }
  if constexpr (requires { walk.guest_physical; }) timed.guest_physical = walk.guest_physical.value;
  return timed;
}

// For walks over EPT.
template timing::TimedWalk Mmu::timed(uint64_t, Access, const TranslationCaches::Nested&, uint64_t,
                                      std::span<const ept::Step>) const;

uint64_t Mmu::walk_again(uint64_t linear, Access access, uint64_t rflags) {
  if (!state_.long_mode_active()) linear &= 0xffffffff;
  const ept::PagingState paging = paging_state(vmx_, state_, rflags);
  if (const auto ept = current_ept()) return walk_over_ept_again(linear, access, paging, *ept);
  if (paging.mode == ept::PagingMode::kNone) return 0;
  ept::RecordSteps<kLongestWalk> steps;
  const auto walk =
      ept::walk_linear<ept::ProbeOnly>(memory_, paging, ept::LinearAddress{linear}, access, steps);
  if (!walk.translated()) return 0;
  return costs_->translate(timed(linear, access, walk, walk.address.value, steps.steps()));
}

// Without EPT.
template <class Recorder>
std::variant<Translation, Fault> Mmu::walk_paging(uint64_t linear, Access access,
                                                  const ept::PagingState& paging, Account account,
                                                  Recorder& recorder) {
  const auto walk =
      through_caches(caches_, memory_, mapping_tag(vmx_, state_), linear, true, [&](auto& seen) {
        if constexpr (Recorder::kRecords) recorder.clear();
        return ept::walk_linear(seen, paging, ept::LinearAddress{linear}, access, recorder);
      });
  std::optional<WalkEvent> event;
  if constexpr (Recorder::kRecords) {
    const bool reports = events_ != nullptr && events_->wants_all_walks();
    if (reports && walk.outcome != ept::LinearOutcome::kUnreachable)
      event = report(subject(linear, access, paging), walk, recorder.steps());
  }
  if (walk.translated() || account == Account::kAlways) {
    charge(linear, access, walk, walk.address.value, walk.counts.references, steps_of(recorder));
    if (event) events_->walk(*event);
  }
  if (!walk.translated()) {
    const Fault fault = vmx::exception(vmx::kPf, walk.error_code, linear);
    if (account == Account::kUnlessFault && caches_ == nullptr) {
      RefusedWalk& refused = keep_refused(linear, access, paging.ac, walk.counts.references, fault);
      const auto steps = steps_of(recorder);
      refused.steps.assign(steps.begin(), steps.end());
      refused.event = event;
    }
    return fault;
  }
  keep(linear, access, paging, nullptr, walk);
  return granted(walk.address.value, paging, access, walk.rights, kEveryEptRight, walk.dirty);
}

std::optional<Translation> Mmu::find_cached(uint64_t linear, Access access, uint64_t rflags) {
  const ept::PagingState paging = paging_state(vmx_, state_, rflags);
  const std::optional<ept::EptState> state = current_ept();
  if (!state && paging.mode == ept::PagingMode::kNone) return std::nullopt;
  const ept::EptState* ept = state ? &*state : nullptr;
  auto* found = caches_->find(mapping_tag(vmx_, state_), linear, access, paging, ept);
  if (found == nullptr) return std::nullopt;
  compare_with_tables(*found, linear, access, paging, ept);
  Translation translation =
      granted(machine_address(found->output | found->offset(linear)), paging, access, found->rights,
              ept != nullptr ? found->ept_rights : kEveryEptRight, found->dirty);
  // A write is to be compared with the tables when it comes.
  translation.write &= access.kind == Access::kWrite;
  return translation;
}

template <class Walk>
void Mmu::keep(uint64_t linear, Access access, const ept::PagingState& paging,
               const ept::EptState* ept, const Walk& walk) {
  if (caches_ == nullptr) return;
  const bool global = walk.global && (state_.cr4 & cr4::kPge) != 0;
  auto& mapping = caches_->keep(mapping_tag(vmx_, state_), linear, walk, global);
  if (caches_->used() || root_ != nullptr)
    compare_with_tables(mapping, linear, access, paging, ept);
}

// For what EPT translates.
template void Mmu::keep(uint64_t, Access, const ept::PagingState&, const ept::EptState*,
                        const TranslationCaches::Nested&);

void Mmu::compare_with_tables(TranslationCaches::Mapping& mapping, uint64_t linear, Access access,
                              const ept::PagingState& paging, const ept::EptState* ept) {
  const uint64_t offset = mapping.offset(linear);
  const auto stale = root_ != nullptr
                         ? root_->find_stale(mapping, linear, access, paging.ac)
                         : find_stale(memory_, paging, ept,
                                      {.linear = linear,
                                       .access = access,
                                       .guest_physical = mapping.guest_physical | offset,
                                       .physical = mapping.output | offset,
                                       .dirty = mapping.dirty,
                                       .non_root = vmx_.in_non_root(),
                                       .vpid = mapping.key.tag.vpid,
                                       .pcid = mapping.key.tag.pcid});
  if (!stale || !caches_->note_stale(mapping) || events_ == nullptr) return;
  if (root_ == nullptr || root_->is_new(*stale)) events_->stale_translation(*stale);
}

std::variant<uint64_t, Fault> Mmu::probe(uint64_t linear, Access access, uint64_t rflags) {
  const ept::PagingState paging = paging_state(vmx_, state_, rflags);
  const std::optional<ept::EptState> ept = current_ept();
  if (caches_ != nullptr) {
    if (!state_.long_mode_active()) linear &= 0xffffffff;
    const ept::EptState* state = ept ? &*ept : nullptr;
    const auto* found = caches_->peek(mapping_tag(vmx_, state_), linear, access, paging, state);
    if (found != nullptr) return machine_address(found->output | found->offset(linear));
  }
  if (ept) return probe_over_ept(linear, access, paging, *ept);
  const auto walk =
      ept::walk_linear<ept::ProbeOnly>(memory_, paging, ept::LinearAddress{linear}, access);
  if (!walk.translated()) return Fault{vmx::exception(vmx::kPf, walk.error_code, linear)};
  return walk.address.value;
}

}  // namespace nestor::emu
