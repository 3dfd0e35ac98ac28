// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/mmu.h"

#include <type_traits>
#include <utility>

#include "emu/memory/page_size.h"
#include "ept/explain.h"
#include "vmx/features.h"

namespace nestor::emu {

namespace {

using ept::Access;
namespace cr0 = vmx::cr0;
namespace cr4 = vmx::cr4;

Access as(Access access, Access::Kind kind) {
  access.kind = kind;
  return access;
}

WalkOutcome walk_outcome(ept::NestedOutcome outcome) {
  switch (outcome) {
    case ept::NestedOutcome::kPageFault:
      return WalkOutcome::kPageFault;
    case ept::NestedOutcome::kEptMisconfiguration:
      return WalkOutcome::kEptMisconfiguration;
    case ept::NestedOutcome::kEptViolation:
      return WalkOutcome::kEptViolation;
    case ept::NestedOutcome::kSubPageEvent:
      return WalkOutcome::kSubPageEvent;
    default:
      return WalkOutcome::kTranslated;
  }
}

// Physical memory in which EPT's accessed and dirty flags are only set once the page-modification
// log has room ("Page-Modification Logging"), and in which no paging structure can be on the
// APIC-access page ("Guest-Physical Accesses to the APIC-Access Page").
class GuardedMemory {
 public:
  using Address = ept::PhysicalAddress;

  GuardedMemory(PhysicalMemory& memory, vmx::Vmx& vmx)
      : memory_(memory), vmx_(vmx), logs_(vmx.secondary(vmx::SecondaryProcBased::kEnablePml)) {}

  void begin_ept_walk(ept::GuestPhysicalAddress input) { input_ = input; }
  bool read32(Address address, uint32_t& out) {
    return !on_apic_access_page(address) && memory_.read32(address, out);
  }
  bool read64(Address address, uint64_t& out) {
    return !on_apic_access_page(address) && memory_.read64(address, out);
  }
  ept::Exchange compare_exchange(Address address, uint32_t expected, uint32_t desired) {
    return memory_.compare_exchange(address, expected, desired);
  }
  ept::Exchange compare_exchange(Address address, uint64_t expected, uint64_t desired) {
    // The guest's own flags have other places in their entries.
    const uint64_t set = desired & ~expected;
    if (logs_ && (set & (kFlags::kAccessed | kFlags::kDirty)) != 0) {
      full_ = vmx_.page_modification_log_is_full();
      if (full_) return ept::Exchange::kUnreachable;
    }
    const ept::Exchange result = memory_.compare_exchange(address, expected, desired);
    if (logs_ && (set & kFlags::kDirty) != 0) vmx_.log_page_modification(input_.value);
    return result;
  }
  // What kept the walk from its end, if anything did.
  std::optional<EptExit> exit() const {
    if (full_) return LogFull{};
    if (apic_access_) return ApicPageAccess{vmx::Vmx::ApicAccess::kGuestPhysical, 0};
    return std::nullopt;
  }

 private:
  bool on_apic_access_page(Address address) {
    apic_access_ = vmx_.is_apic_access_page(address.value);
    return apic_access_;
  }

  using kFlags = ept::Ept<4>::Flags;
  static_assert(((kFlags::kAccessed | kFlags::kDirty) &
                 (ept::Pt64<4>::Flags::kAccessed | ept::Pt64<4>::Flags::kDirty)) == 0);

  PhysicalMemory& memory_;
  vmx::Vmx& vmx_;
  const bool logs_;
  ept::GuestPhysicalAddress input_;
  bool full_ = false, apic_access_ = false;
};

static_assert(ept::EntryMemory<GuardedMemory>);

// Physical memory as addresses below EPT01 name it.
class HostMemory {
 public:
  using Address = ept::HostPhysicalAddress;

  explicit HostMemory(PhysicalMemory& memory) : memory_(memory) {}

  bool read32(Address address, uint32_t& out) { return memory_.read32({address.value}, out); }
  bool read64(Address address, uint64_t& out) { return memory_.read64({address.value}, out); }
  ept::Exchange compare_exchange(Address address, uint32_t expected, uint32_t desired) {
    return memory_.compare_exchange(ept::PhysicalAddress{address.value}, expected, desired);
  }
  ept::Exchange compare_exchange(Address address, uint64_t expected, uint64_t desired) {
    return memory_.compare_exchange(ept::PhysicalAddress{address.value}, expected, desired);
  }

 private:
  PhysicalMemory& memory_;
};

// Memory in which the EPT12 of a two-level walk lies: all of it behind EPT01.
template <class Effects, class Recorder>
class TwoLevelMemory
    : public ept::TranslatedMemory<ept::PhysicalAddress, Effects, HostMemory, Recorder> {
 public:
  TwoLevelMemory(HostMemory& host, const ept::EptState& ept01, Recorder& recorder)
      : ept::TranslatedMemory<ept::PhysicalAddress, Effects, HostMemory, Recorder>(host, ept01,
                                                                                   recorder),
        host_(host),
        ept01_(ept01),
        recorder_(recorder) {}

  // The end of the walk: the machine address of the page. EPT01 maps every address.
  uint64_t machine_address_of(ept::PhysicalAddress address) {
    ept::EptAccess access;
    access.read = true;
    const auto walk = ept::walk_ept<Effects>(host_, ept01_, address, access, recorder_);
    last_references_ = walk.counts.references;
    return walk.address.value;
  }
  unsigned references() const { return this->counts().references + last_references_; }

 private:
  HostMemory& host_;
  const ept::EptState& ept01_;
  Recorder& recorder_;
  unsigned last_references_ = 0;
};

// Three dimensions of five levels each.
constexpr size_t kLongestTwoLevelWalk = 6 * 6 * 6 - 1;

Fault nested_fault(const ept::NestedWalk<ept::PhysicalAddress>& walk, uint64_t linear) {
  if (walk.outcome == ept::NestedOutcome::kPageFault) {
    return vmx::exception(vmx::kPf, walk.error_code, linear);
  }
  const uint64_t guest_physical = walk.guest_physical.value;
  switch (walk.outcome) {
    case ept::NestedOutcome::kSubPageEvent:
      return EptExit{SubPageEvent{walk.exit_qualification, guest_physical, linear}};
    case ept::NestedOutcome::kEptViolation:
      return EptExit{
          EptViolation{walk.exit_qualification, guest_physical, linear, walk.convertible}};
    default:
      return EptExit{EptMisconfiguration{guest_physical}};
  }
}

constexpr ept::EptRights kEveryEptRight{true, true, true, true};

// What a page may be used for without another walk, after an access to it that was permitted.
Translation granted(uint64_t physical, const ept::PagingState& paging, Access access,
                    const ept::LinearRights& rights, const ept::EptRights& ept_rights, bool dirty) {
  const auto may = [&](Access::Kind kind, bool ept_right) {
    return ept_right && ept::permits(rights, paging, as(access, kind));
  };
  return {physical, may(Access::kRead, ept_rights.read),
          dirty && may(Access::kWrite, ept_rights.write), access.kind == Access::kFetch, false};
}

template <class Memory, class Walk>
auto through_caches(TranslationCaches* caches, Memory& memory, const ept::MappingTag& tag,
                    uint64_t linear, bool tables, const Walk& walk) {
  return caches != nullptr ? caches->walk(memory, tag, linear, tables, walk) : walk(memory);
}

std::string_view broken_rule(const ept::NestedWalk<ept::PhysicalAddress>& walk,
                             const ept::PagingState& paging, const ept::EptState& state,
                             std::span<const ept::Step> steps) {
  if (steps.empty()) return {};
  const ept::Step& last = steps.back();
  if (walk.outcome == ept::NestedOutcome::kEptMisconfiguration) {
    return ept::explain_misconfiguration(state, last.entry, last.level);
  }
  if (walk.outcome == ept::NestedOutcome::kSubPageEvent) {
    return ept::explain_sub_page_misconfiguration(state, last.entry, last.level);
  }
  const bool reserved = (walk.error_code & ept::PageFaultCode::kReserved) != 0;
  return reserved ? ept::explain_reserved_bits(paging, last.entry, last.level) : std::string_view();
}

}  // namespace

ept::PagingState paging_state(const vmx::CpuState& state, uint64_t rflags) {
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
  paging.maxphyaddr = vmx::kPhysicalAddressBits;
  return paging;
}

ept::EptState ept_state(const vmx::Vmx& vmx, uint64_t eptp) {
  namespace cap = vmx::ept_vpid_cap;
  const vmx::Capabilities& offered = vmx.capabilities();
  ept::EptState state;
  state.eptp.value = eptp;
  state.execute_only = offered.has_ept_vpid(cap::kExecuteOnly);
  state.page2mb = offered.has_ept_vpid(cap::kPages2M);
  state.page1gb = offered.has_ept_vpid(cap::kPages1G);
  state.advanced_exit_information = offered.has_ept_vpid(cap::kAdvancedExitInformation);
  state.mode_based_execute = vmx.secondary(vmx::SecondaryProcBased::kModeBasedExecuteControl);
  state.violation_exceptions = vmx.secondary(vmx::SecondaryProcBased::kEptViolationVe);
  if (const auto table = vmx.sub_page_table()) {
    state.sub_page_write = true;
    state.sub_page_table = *table;
  }
  const vmx::Vmcs& vmcs = vmx.current_vmcs();
  state.paging_write_control = vmcs.has(vmx::TertiaryProcBased::kEptPagingWriteControl);
  state.guest_paging_verification = vmcs.has(vmx::TertiaryProcBased::kGuestPagingVerification);
  state.maxphyaddr = vmx::kPhysicalAddressBits;
  return state;
}

template <class Recorder>
std::variant<Translation, Fault> Mmu::translate_nested(uint64_t linear, Access access,
                                                       uint64_t rflags, uint64_t eptp,
                                                       Account account, Recorder& recorder) {
  using vmx::SecondaryProcBased;
  if (machine_ept_) {
    HostMemory host(memory_);
    TwoLevelMemory<ept::UpdateFlags, Recorder> l1(host, *machine_ept_, recorder);
    return walk_nested(l1, linear, access, rflags, eptp, account, recorder);
  }
  if (!vmx_.secondary(SecondaryProcBased::kEnablePml) &&
      !vmx_.secondary(SecondaryProcBased::kVirtualizeApicAccesses)) {
    return walk_nested(memory_, linear, access, rflags, eptp, account, recorder);
  }
  GuardedMemory guarded(memory_, vmx_);
  auto result = walk_nested(guarded, linear, access, rflags, eptp, account, recorder);
  if (const auto exit = guarded.exit()) return Fault{*exit};
  return result;
}

template <class Memory, class Recorder>
std::variant<Translation, Fault> Mmu::walk_nested(Memory& memory, uint64_t linear, Access access,
                                                  uint64_t rflags, uint64_t eptp, Account account,
                                                  Recorder& recorder) {
  const ept::PagingState paging = paging_state(state_, rflags);
  const ept::EptState state = ept_state(vmx_, eptp);
  const auto plain = [&](auto& seen) {
    if constexpr (Recorder::kRecords) recorder.clear();
    return ept::walk_nested(seen, paging, state, ept::LinearAddress{linear}, access, recorder);
  };
  const auto walk = [&] {
    // A processor that walks two EPTs keeps nothing.
    if constexpr (requires { memory.machine_address_of(ept::PhysicalAddress{}); }) {
      return plain(memory);
    } else {
      return through_caches(caches_, memory, tag(paging, &state), linear,
                            !state.guest_paging_verification, plain);
    }
  }();
  if (!walk.translated() && account == Account::kUnlessFault) {
    const Fault fault = nested_fault(walk, linear);
    // Elsewhere a second walk has effects of its own, or other rules.
    if (std::is_same_v<Memory, PhysicalMemory> && caches_ == nullptr && !state.sub_page_write) {
      RefusedWalk refused{.references = walk.references(),
                          .fault = fault,
                          .offset_is_physical = walk.linear_translated};
      if constexpr (Recorder::kRecords) {
        if (walk.outcome != ept::NestedOutcome::kUnreachable)
          refused.event = WalkEvent{linear,
                                    walk.guest_physical.value,
                                    0,
                                    eptp,
                                    walk_outcome(walk.outcome),
                                    {},
                                    broken_rule(walk, paging, state, recorder.steps())};
        refused.steps.assign(recorder.steps().begin(), recorder.steps().end());
      }
      keep_refused(linear, access, rflags, std::move(refused));
    }
    return fault;
  }
  uint64_t physical = walk.address.value;
  unsigned references = walk.references();
  if constexpr (requires { memory.machine_address_of(walk.address); }) {
    if (walk.translated()) physical = memory.machine_address_of(walk.address);
    references += memory.references();
  }
  charge(references);
  if constexpr (Recorder::kRecords) {
    if (walk.outcome != ept::NestedOutcome::kUnreachable)
      events_->walk(WalkEvent{linear, walk.guest_physical.value, physical, eptp,
                              walk_outcome(walk.outcome), recorder.steps(),
                              broken_rule(walk, paging, state, recorder.steps())});
  }
  if (!walk.translated()) return nested_fault(walk, linear);
  keep(linear, access, paging, &state, walk);
  Translation translation =
      granted(physical, paging, access, walk.rights, walk.ept_rights, walk.dirty);
  translation.by_sub_page = walk.by_sub_page;
  return translation;
}

void Mmu::keep_refused(uint64_t linear, Access access, uint64_t rflags, RefusedWalk walk) {
  walk.page = linear / kPageSize;
  walk.access = access;
  walk.ac = (rflags & vmx::rflags::kAc) != 0;
  refused_ = std::move(walk);
}

std::variant<Translation, Fault> Mmu::translate_refused(uint64_t linear, Access access,
                                                        uint64_t rflags) {
  const bool ac = (rflags & vmx::rflags::kAc) != 0;
  if (!refused_ || refused_->page != linear / kPageSize || refused_->access.kind != access.kind ||
      refused_->access.user != access.user ||
      refused_->access.implicit_supervisor != access.implicit_supervisor || refused_->ac != ac) {
    return translate(linear, access, rflags);
  }
  RefusedWalk walk = std::move(*refused_);
  refused_.reset();
  charge(walk.references);
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
  return walk.fault;
}

std::variant<Translation, Fault> Mmu::translate(uint64_t linear, Access access, uint64_t rflags,
                                                Account account) {
  refused_.reset();
  if (caches_ != nullptr) {
    if (!state_.long_mode_active()) linear &= 0xffffffff;
    if (const auto found = find_cached(linear, access, rflags)) return *found;
  }
  if (const auto eptp = vmx_.in_non_root() ? vmx_.eptp() : std::nullopt) {
    if (events_ != nullptr && events_->wants_walks()) {
      if (machine_ept_) {
        ept::RecordSteps<kLongestTwoLevelWalk> steps;
        return translate_nested(linear, access, rflags, *eptp, account, steps);
      }
      ept::RecordSteps<ept::kLongestNestedWalk + ept::kLongestSubPageWalk> steps;
      return translate_nested(linear, access, rflags, *eptp, account, steps);
    }
    ept::NoSteps none;
    return translate_nested(linear, access, rflags, *eptp, account, none);
  }
  const ept::PagingState paging = paging_state(state_, rflags);
  if (paging.mode == ept::PagingMode::kNone) {
    return Translation{linear & 0xffffffff, true, true, access.kind == Access::kFetch};
  }
  const auto walk =
      through_caches(caches_, memory_, tag(paging, nullptr), linear, true, [&](auto& seen) {
        return ept::walk_linear(seen, paging, ept::LinearAddress{linear}, access);
      });
  if (walk.translated() || account == Account::kAlways) {
    charge(walk.counts.references);
  }
  if (!walk.translated()) {
    const Fault fault = vmx::exception(vmx::kPf, walk.error_code, linear);
    if (account == Account::kUnlessFault && caches_ == nullptr) {
      keep_refused(linear, access, rflags, {.references = walk.counts.references, .fault = fault});
    }
    return fault;
  }
  keep(linear, access, paging, nullptr, walk);
  return granted(walk.address.value, paging, access, walk.rights, kEveryEptRight, walk.dirty);
}

ept::MappingTag Mmu::tag(const ept::PagingState& paging, const ept::EptState* ept) const {
  ept::MappingTag tag;
  tag.kind = ept != nullptr ? ept::MappingKind::kCombined : ept::MappingKind::kLinear;
  tag.paging = paging.mode != ept::PagingMode::kNone;
  tag.vpid = vmx_.vpid();
  tag.pcid = state_.pcid();
  if (ept != nullptr) tag.ept_root = ept::ept_root_of(ept->eptp.value);
  return tag;
}

std::optional<ept::EptState> Mmu::current_ept() const {
  if (!vmx_.in_non_root()) return std::nullopt;
  const auto eptp = vmx_.eptp();
  return eptp ? std::optional(ept_state(vmx_, *eptp)) : std::nullopt;
}

std::optional<Translation> Mmu::find_cached(uint64_t linear, Access access, uint64_t rflags) {
  const ept::PagingState paging = paging_state(state_, rflags);
  const std::optional<ept::EptState> state = current_ept();
  if (!state && paging.mode == ept::PagingMode::kNone) return std::nullopt;
  const ept::EptState* ept = state ? &*state : nullptr;
  auto* found = caches_->find(tag(paging, ept), linear, access, paging, ept);
  if (found == nullptr) return std::nullopt;
  compare_with_tables(*found, linear, access, paging, ept);
  return granted(found->output | found->offset(linear), paging, access, found->rights,
                 ept != nullptr ? found->ept_rights : kEveryEptRight, found->dirty);
}

template <class Walk>
void Mmu::keep(uint64_t linear, Access access, const ept::PagingState& paging,
               const ept::EptState* ept, const Walk& walk) {
  if (caches_ == nullptr) return;
  const bool global = walk.global && (state_.cr4 & cr4::kPge) != 0;
  auto& mapping = caches_->keep(tag(paging, ept), linear, walk, global);
  if (caches_->used()) compare_with_tables(mapping, linear, access, paging, ept);
}

void Mmu::compare_with_tables(TranslationCaches::Mapping& mapping, uint64_t linear, Access access,
                              const ept::PagingState& paging, const ept::EptState* ept) {
  StaleTranslationEvent event;
  event.cached_physical = mapping.output | mapping.offset(linear);
  bool same_guest_physical = false, dirty = false;
  if (ept != nullptr) {
    const auto walk =
        ept::walk_nested<ept::ProbeOnly>(memory_, paging, *ept, ept::LinearAddress{linear}, access);
    event.cached_guest_physical = mapping.guest_physical | mapping.offset(linear);
    event.tables = walk_outcome(walk.outcome);
    event.tables_guest_physical = walk.guest_physical.value;
    event.tables_physical = walk.address.value;
    event.ept_root = mapping.key.tag.ept_root;
    dirty = walk.dirty;
    same_guest_physical = walk.linear_translated
                              ? walk.guest_physical.value == event.cached_guest_physical
                              : walk.outcome != ept::NestedOutcome::kPageFault;
  } else {
    const auto walk =
        ept::walk_linear<ept::ProbeOnly>(memory_, paging, ept::LinearAddress{linear}, access);
    event.tables = walk.translated() ? WalkOutcome::kTranslated : WalkOutcome::kPageFault;
    event.tables_physical = walk.address.value;
    dirty = walk.dirty;
  }
  if (event.tables == WalkOutcome::kTranslated && event.tables_physical == event.cached_physical) {
    event.dirty_flag_cleared = access.kind == Access::kWrite && mapping.dirty && !dirty;
    if (!event.dirty_flag_cleared) return;
    same_guest_physical = false;  // which dimension lost it, is not told
  }
  if (!caches_->note_stale(mapping) || events_ == nullptr) return;
  event.linear = linear;
  event.access = access.kind;
  event.non_root = vmx_.in_non_root();
  event.vpid = mapping.key.tag.vpid;
  event.pcid = mapping.key.tag.pcid;
  event.missing = same_guest_physical ? "INVEPT"
                  : event.ept_root    ? "INVLPG, INVPCID or MOV to CR3 by L2; or INVEPT"
                  : event.non_root    ? "INVLPG, INVPCID or MOV to CR3 by L2; or INVVPID"
                                      : "INVLPG, INVPCID or MOV to CR3";
  events_->stale_translation(event);
}

std::variant<uint64_t, Fault> Mmu::probe(uint64_t linear, Access access, uint64_t rflags) {
  const ept::PagingState paging = paging_state(state_, rflags);
  const std::optional<ept::EptState> ept = current_ept();
  if (caches_ != nullptr) {
    if (!state_.long_mode_active()) linear &= 0xffffffff;
    const ept::EptState* state = ept ? &*ept : nullptr;
    const auto* found = caches_->peek(tag(paging, state), linear, access, paging, state);
    if (found != nullptr) return found->output | found->offset(linear);
  }
  if (ept) {
    if (machine_ept_) {
      HostMemory host(memory_);
      ept::NoSteps none;
      TwoLevelMemory<ept::ProbeOnly, ept::NoSteps> l1(host, *machine_ept_, none);
      const auto walk =
          ept::walk_nested<ept::ProbeOnly>(l1, paging, *ept, ept::LinearAddress{linear}, access);
      if (!walk.translated()) return nested_fault(walk, linear);
      return l1.machine_address_of(walk.address);
    }
    const auto walk =
        ept::walk_nested<ept::ProbeOnly>(memory_, paging, *ept, ept::LinearAddress{linear}, access);
    return walk.translated() ? std::variant<uint64_t, Fault>(walk.address.value)
                             : nested_fault(walk, linear);
  }
  const auto walk =
      ept::walk_linear<ept::ProbeOnly>(memory_, paging, ept::LinearAddress{linear}, access);
  if (!walk.translated()) return Fault{vmx::exception(vmx::kPf, walk.error_code, linear)};
  return walk.address.value;
}

std::optional<Fault> Mmu::read_pdptes(uint64_t cr3, std::array<uint64_t, 4>& pdptes) {
  const auto eptp = vmx_.in_non_root() ? vmx_.eptp() : std::nullopt;
  if (!eptp) {
    if (ept::read_pdptes(memory_, cr3, pdptes)) return std::nullopt;
    return vmx::exception(vmx::kGp, 0);
  }
  const ept::EptState state = ept_state(vmx_, *eptp);
  // std::nullopt: all were read. Otherwise why not; no linear address belongs to these reads.
  const auto read_through = [&](auto& memory) -> std::optional<EptExit> {
    ept::NoSteps none;
    ept::TranslatedMemory<ept::GuestPhysicalAddress, ept::UpdateFlags,
                          std::remove_reference_t<decltype(memory)>, ept::NoSteps>
        tables(memory, state, none, ept::EptPurpose::kPdpteLoad);
    const bool loaded = ept::read_pdptes(tables, cr3, pdptes);
    charge(tables.counts().references);
    if (loaded) return std::nullopt;
    const uint64_t guest_physical = tables.last_input().value;
    if (tables.last().outcome != ept::EptOutcome::kViolation) {
      return EptMisconfiguration{guest_physical};
    }
    return EptViolation{tables.last().exit_qualification, guest_physical, std::nullopt,
                        tables.last().convertible};
  };
  std::optional<EptExit> refused;
  if (machine_ept_) {
    HostMemory host(memory_);
    ept::NoSteps none;
    TwoLevelMemory<ept::UpdateFlags, ept::NoSteps> l1(host, *machine_ept_, none);
    refused = read_through(l1);
    charge(l1.references());
  } else {
    GuardedMemory guarded(memory_, vmx_);
    refused = read_through(guarded);
    if (refused && guarded.exit()) refused = guarded.exit();
  }
  return refused ? std::optional<Fault>(*refused) : std::nullopt;
}

}  // namespace nestor::emu
