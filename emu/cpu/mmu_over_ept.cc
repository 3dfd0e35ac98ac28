// SPDX-License-Identifier: GPL-2.0-or-later
//
// The MMU where EPT is on: paging over EPT, and a processor that walks EPT12 over EPT01.
#include <type_traits>

#include "emu/cpu/mmu.h"
#include "emu/cpu/walk_reports.h"
#include "emu/cpu/walk_results.h"
#include "vmx/features.h"

namespace nestor::emu {

namespace {

using ept::Access;

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

bool is_misconfiguration(const std::variant<Translation, Fault>& result) {
  const auto* fault = std::get_if<Fault>(&result);
  const auto* exit = fault != nullptr ? std::get_if<EptExit>(fault) : nullptr;
  return exit != nullptr && std::holds_alternative<EptMisconfiguration>(*exit);
}

}  // namespace

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
  state.maxphyaddr = offered.registers.physical_address_width;
  return state;
}

std::optional<ept::EptState> Mmu::current_ept() const {
  if (!vmx_.in_non_root()) return std::nullopt;
  const auto eptp = vmx_.eptp();
  return eptp ? std::optional(ept_state(vmx_, *eptp)) : std::nullopt;
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
  const ept::PagingState paging = paging_state(vmx_, state_, rflags);
  const ept::EptState state = ept_state(vmx_, eptp);
  unsigned before = 0;  // references of a walk that is made again from the root
  const auto plain = [&](auto& seen) {
    if constexpr (Recorder::kRecords) recorder.clear();
    if constexpr (requires { memory.references(); }) before = memory.references();
    return ept::walk_nested(seen, paging, state, ept::LinearAddress{linear}, access, recorder);
  };
  const auto walk = through_caches(caches_, memory, mapping_tag(vmx_, state_), linear,
                                   !state.guest_paging_verification, plain);
  if (!walk.translated() && account == Account::kUnlessFault) {
    const Fault fault = nested_fault(walk, linear);
    // Elsewhere a second walk has effects of its own, or other rules.
    if (std::is_same_v<Memory, PhysicalMemory> && caches_ == nullptr && !state.sub_page_write) {
      RefusedWalk& refused = keep_refused(linear, access, paging.ac, walk.references(), fault);
      refused.offset_is_physical = walk.linear_translated;
      refused.guest_physical = walk.guest_physical.value;
      if constexpr (Recorder::kRecords) {
        const bool reports = events_ != nullptr && events_->wants_walks();
        if (reports && walk.outcome != ept::NestedOutcome::kUnreachable)
          refused.event = report(subject(linear, access, paging), walk, state, recorder.steps());
        refused.steps.assign(recorder.steps().begin(), recorder.steps().end());
      }
    }
    return fault;
  }
  uint64_t physical = walk.address.value;
  unsigned references = walk.references();
  if constexpr (requires { memory.machine_address_of(walk.address); }) {
    if (walk.translated()) physical = memory.machine_address_of(walk.address);
    references += memory.references() - before;
  }
  charge(linear, access, walk, physical, references, steps_of(recorder));
  if constexpr (Recorder::kRecords) {
    const bool reports = events_ != nullptr && events_->wants_walks();
    if (reports && walk.outcome != ept::NestedOutcome::kUnreachable) {
      WalkEvent event = report(subject(linear, access, paging), walk, state, recorder.steps());
      event.physical = physical;
      events_->walk(event);
    }
  }
  if (!walk.translated()) return nested_fault(walk, linear);
  keep(linear, access, paging, &state, walk);
  Translation translation =
      granted(physical, paging, access, walk.rights, walk.ept_rights, walk.dirty);
  translation.by_sub_page = walk.by_sub_page;
  return translation;
}

std::variant<Translation, Fault> Mmu::translate_over_ept(uint64_t linear, Access access,
                                                         uint64_t rflags, uint64_t eptp,
                                                         Account account) {
  const bool reports = events_ != nullptr && events_->wants_walks();
  const auto translate = [&](auto&& steps) {
    return translate_nested(linear, access, rflags, eptp, account, steps);
  };
  auto result =
      !reports && !wants_steps() ? translate(ept::NoSteps{})
      : machine_ept_
          ? translate(ept::RecordSteps<kLongestTwoLevelWalk>{})
          : translate(ept::RecordSteps<ept::kLongestNestedWalk + ept::kLongestSubPageWalk>{});
  if (events_ != nullptr && !reports && is_misconfiguration(result))
    explain_misconfiguration(linear, access, rflags, eptp, account);
  return result;
}

// A misconfiguration ends most guests: who listens sees its walk in any case.
void Mmu::explain_misconfiguration(uint64_t linear, Access access, uint64_t rflags, uint64_t eptp,
                                   Account account) {
  const ept::PagingState paging = paging_state(vmx_, state_, rflags);
  const ept::EptState state = ept_state(vmx_, eptp);
  ept::RecordSteps<kLongestTwoLevelWalk> recorder;
  const auto walk_in = [&](auto& memory) {
    return ept::walk_nested<ept::ProbeOnly>(memory, paging, state, ept::LinearAddress{linear},
                                            access, recorder);
  };
  ept::NestedWalk<ept::PhysicalAddress> walk;
  if (machine_ept_) {
    HostMemory host(memory_);
    TwoLevelMemory<ept::ProbeOnly, decltype(recorder)> l1(host, *machine_ept_, recorder);
    walk = walk_in(l1);
  } else {
    walk = walk_in(memory_);
  }
  if (walk.outcome != ept::NestedOutcome::kEptMisconfiguration) return;
  WalkEvent event = report(subject(linear, access, paging), walk, state, recorder.steps());
  if (refused_) {
    // Those that were recorded decide what the walk costs.
    if (refused_->steps.empty()) {
      refused_->steps.assign(recorder.steps().begin(), recorder.steps().end());
    }
    refused_->event = event;
  } else if (account == Account::kAlways) {
    events_->walk(event);
  }
}

uint64_t Mmu::walk_over_ept_again(uint64_t linear, Access access, const ept::PagingState& paging,
                                  const ept::EptState& ept) {
  ept::RecordSteps<kLongestTwoLevelWalk> steps;
  const auto walk_in = [&](auto& memory) {
    return ept::walk_nested<ept::ProbeOnly>(memory, paging, ept, ept::LinearAddress{linear}, access,
                                            steps);
  };
  ept::NestedWalk<ept::PhysicalAddress> walk;
  uint64_t physical = 0;
  if (machine_ept_) {
    HostMemory host(memory_);
    TwoLevelMemory<ept::ProbeOnly, decltype(steps)> l1(host, *machine_ept_, steps);
    walk = walk_in(l1);
    if (walk.translated()) physical = l1.machine_address_of(walk.address);
  } else {
    walk = walk_in(memory_);
    physical = walk.address.value;
  }
  if (!walk.translated()) return 0;
  return costs_->translate(timed(linear, access, walk, physical, steps.steps()));
}

// What is kept of a walk through two EPTs ends above the lower one.
uint64_t Mmu::machine_address(uint64_t physical) {
  if (!machine_ept_) return physical;
  HostMemory host(memory_);
  ept::NoSteps none;
  TwoLevelMemory<ept::ProbeOnly, ept::NoSteps> l1(host, *machine_ept_, none);
  return l1.machine_address_of({physical});
}

std::string_view Mmu::explain_page_fault(uint64_t linear, uint32_t error_code, uint64_t rflags) {
  if (root_ != nullptr) return {};
  using Code = ept::PageFaultCode;
  Access access;
  access.kind = (error_code & Code::kFetch) != 0   ? Access::kFetch
                : (error_code & Code::kWrite) != 0 ? Access::kWrite
                                                   : Access::kRead;
  access.user = state_.cpl() == 3;
  access.implicit_supervisor = access.user && (error_code & Code::kUser) == 0;
  const ept::PagingState paging = paging_state(vmx_, state_, rflags);
  const ept::LinearAddress address{linear};
  ept::RecordSteps<ept::kLongestNestedWalk + ept::kLongestSubPageWalk> recorder;
  const auto explain = [](const WalkEvent& event) {
    return event.why.empty() ? event.rule : event.why;
  };
  const auto ept = current_ept();
  if (!ept) {
    const auto walk = ept::walk_linear<ept::ProbeOnly>(memory_, paging, address, access, recorder);
    return explain(report(subject(linear, access, paging), walk, recorder.steps()));
  }
  const auto walk =
      ept::walk_nested<ept::ProbeOnly>(memory_, paging, *ept, address, access, recorder);
  return explain(report(subject(linear, access, paging), walk, *ept, recorder.steps()));
}

std::variant<uint64_t, Fault> Mmu::probe_over_ept(uint64_t linear, Access access,
                                                  const ept::PagingState& paging,
                                                  const ept::EptState& ept) {
  if (machine_ept_) {
    HostMemory host(memory_);
    ept::NoSteps none;
    TwoLevelMemory<ept::ProbeOnly, ept::NoSteps> l1(host, *machine_ept_, none);
    const auto walk =
        ept::walk_nested<ept::ProbeOnly>(l1, paging, ept, ept::LinearAddress{linear}, access);
    if (!walk.translated()) return nested_fault(walk, linear);
    return l1.machine_address_of(walk.address);
  }
  const auto walk =
      ept::walk_nested<ept::ProbeOnly>(memory_, paging, ept, ept::LinearAddress{linear}, access);
  return walk.translated() ? std::variant<uint64_t, Fault>(walk.address.value)
                           : nested_fault(walk, linear);
}

// std::nullopt: all were read. Otherwise why not; no linear address belongs to these reads.
template <class Recorder>
std::optional<EptExit> Mmu::read_pdptes_over_ept(uint64_t cr3, std::array<uint64_t, 4>& pdptes,
                                                 const ept::EptState& state, Recorder& recorder) {
  ept::NestedWalk<ept::PhysicalAddress> walk;
  walk.outcome = ept::NestedOutcome::kTranslated;
  const auto read_through = [&](auto& memory) {
    ept::TranslatedMemory<ept::GuestPhysicalAddress, ept::UpdateFlags,
                          std::remove_reference_t<decltype(memory)>, Recorder>
        tables(memory, state, recorder, ept::EptPurpose::kPdpteLoad);
    const bool loaded = ept::read_pdptes(tables, cr3, pdptes);
    walk.ept_counts += tables.counts();
    walk.guest_physical = tables.last_input();
    walk.exit_qualification = tables.last().exit_qualification;
    walk.convertible = tables.last().convertible;
    if (loaded) return;
    const bool violation = tables.last().outcome == ept::EptOutcome::kViolation;
    walk.outcome =
        violation ? ept::NestedOutcome::kEptViolation : ept::NestedOutcome::kEptMisconfiguration;
  };
  unsigned below = 0;
  std::optional<EptExit> instead;
  if (machine_ept_) {
    HostMemory host(memory_);
    TwoLevelMemory<ept::UpdateFlags, Recorder> l1(host, *machine_ept_, recorder);
    read_through(l1);
    below = l1.references();
  } else {
    GuardedMemory guarded(memory_, vmx_);
    read_through(guarded);
    instead = guarded.exit();
  }
  charge_references(walk.references() + below);
  if constexpr (Recorder::kRecords) {
    ept::PagingState paging = paging_state(vmx_, state_, 0);
    paging.mode = ept::PagingMode::kPae;
    events_->walk(report(subject(std::nullopt, {}, paging), walk, state, recorder.steps()));
  }
  if (walk.translated()) return std::nullopt;
  if (instead) return instead;
  if (walk.outcome != ept::NestedOutcome::kEptViolation)
    return EptMisconfiguration{walk.guest_physical.value};
  return EptViolation{walk.exit_qualification, walk.guest_physical.value, std::nullopt,
                      walk.convertible};
}

std::optional<Fault> Mmu::read_pdptes(uint64_t cr3, std::array<uint64_t, 4>& pdptes) {
  const auto ept = current_ept();
  if (!ept) {
    if (ept::read_pdptes(memory_, cr3, pdptes)) return std::nullopt;
    return vmx::exception(vmx::kGp, 0);
  }
  const auto read = [&](auto recorder) -> std::optional<Fault> {
    const auto refused = read_pdptes_over_ept(cr3, pdptes, *ept, recorder);
    return refused ? std::optional<Fault>(*refused) : std::nullopt;
  };
  if (events_ != nullptr && events_->wants_walks())
    return read(ept::RecordSteps<kLongestTwoLevelWalk>());
  return read(ept::NoSteps());
}

}  // namespace nestor::emu
