// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/machine/inspection.h"

#include <algorithm>

#include "emu/cpu/walk_reports.h"
#include "emu/memory/page_size.h"
#include "ept/walk.h"
#include "vmx/guest_area.h"

namespace nestor::emu {
namespace {

using vmx::Field;

// Any page may be looked at: as the supervisor does, SMAP aside.
constexpr ept::Access kLook{ept::Access::kRead, false, false};

// The paging of the host-state or the guest-state area.
ept::PagingState paging_of(const vmx::Vmx& vmx, const vmx::Vmcs& vmcs, View view) {
  vmx::CpuState state;
  if (view == View::kL2Linear) {
    vmx::load_guest_area(vmcs, state);
    // Whether IA32_EFER is loaded depends on a control; the mode does not.
    state.efer = vmcs.has(vmx::VmEntryControl::kIa32eModeGuest)
                     ? vmx::efer::kLme | vmx::efer::kLma | vmx::efer::kNxe
                     : vmx::efer::kNxe;
  } else {
    state.cr0 = vmcs[Field::kHostCr0];
    state.cr3 = vmcs[Field::kHostCr3];
    state.cr4 = vmcs[Field::kHostCr4];
    state.efer = vmcs.has(vmx::VmExitControl::kHostAddressSpaceSize)
                     ? vmx::efer::kLme | vmx::efer::kLma | vmx::efer::kNxe
                     : vmx::efer::kNxe;
  }
  return paging_state(vmx, state, vmx::rflags::kAc);
}

// L1's physical address.
std::optional<uint64_t> translate_of(GuestCore& guest, uint64_t address) {
  const ept::LinearAddress linear{address};
  const auto found = [](const auto& walk) {
    return walk.translated() ? std::optional(walk.address.value) : std::nullopt;
  };
  if (const auto ept = guest.ept_state()) {
    return found(ept::walk_nested<ept::ProbeOnly>(guest.memory(), guest.paging_state(), *ept,
                                                  linear, kLook));
  }
  return found(
      ept::walk_linear<ept::ProbeOnly>(guest.memory(), guest.paging_state(), linear, kLook));
}

// The same as part of a walk in two dimensions.
ept::NestedOutcome outcome_of(ept::EptOutcome outcome) {
  switch (outcome) {
    case ept::EptOutcome::kTranslated:
      return ept::NestedOutcome::kTranslated;
    case ept::EptOutcome::kViolation:
      return ept::NestedOutcome::kEptViolation;
    case ept::EptOutcome::kMisconfiguration:
      return ept::NestedOutcome::kEptMisconfiguration;
    case ept::EptOutcome::kSubPageEvent:
      return ept::NestedOutcome::kSubPageEvent;
    default:
      return ept::NestedOutcome::kUnreachable;
  }
}

using WalkRecorder = ept::RecordSteps<ept::kLongestNestedWalk + ept::kLongestSubPageWalk>;

template <class Memory>
ept::NestedWalk<ept::PhysicalAddress> walk_guest_physical(Memory& memory, const ept::EptState& ept,
                                                          uint64_t address, ept::Access access,
                                                          WalkRecorder& recorder) {
  ept::EptAccess guest_physical;
  guest_physical.read = access.kind == ept::Access::kRead;
  guest_physical.write = access.kind == ept::Access::kWrite;
  guest_physical.fetch = access.kind == ept::Access::kFetch;
  ept::NestedWalk<ept::PhysicalAddress> nested;
  nested.guest_physical.value = address;
  const auto walk =
      ept::walk_ept<ept::ProbeOnly>(memory, ept, nested.guest_physical, guest_physical, recorder);
  nested.outcome = outcome_of(walk.outcome);
  nested.address = walk.address;
  nested.exit_qualification = walk.exit_qualification;
  return nested;
}

}  // namespace

GuestCore* Inspection::handled_by_l0(unsigned processor) const {
  if (l0_.empty()) return nullptr;
  const vmx::Vmx& vmx = core(processor).vmx();
  return vmx.in_vmx_operation() && !vmx.in_non_root() ? &l0_[processor]->l1_processor() : nullptr;
}

int Inspection::level(unsigned processor) const {
  GuestCore* const guest = handled_by_l0(processor);
  const bool l2 = guest != nullptr ? guest->vmx().in_non_root() : core(processor).in_l2();
  return l2 ? 2 : 1;
}

const vmx::CpuState& Inspection::state(unsigned processor) const {
  GuestCore* const guest = handled_by_l0(processor);
  return guest != nullptr ? guest->state() : core(processor).state();
}

uint64_t Inspection::cr3(unsigned processor) const {
  GuestCore* const guest = handled_by_l0(processor);
  return guest != nullptr ? guest->state().cr3 : core(processor).guest_cr3();
}

uint64_t Inspection::instructions(unsigned processor) const {
  return core(processor).context().instructions;
}

uint64_t Inspection::exits() const {
  uint64_t exits = 0;
  for (unsigned i = 0; i < processors(); ++i) exits += core(i).exit_log().exits();
  return exits;
}

const std::optional<LastExit>& Inspection::last_exit(unsigned processor) const {
  return core(processor).exit_log().last();
}

std::optional<ExitCycle> Inspection::exit_cycle(unsigned processor) const {
  return core(processor).exit_log().cycle();
}

vmx::CpuState& Inspection::edit_state(unsigned processor) {
  core(processor).context().request_flush();
  GuestCore* const guest = handled_by_l0(processor);
  return guest != nullptr ? guest->state() : core(processor).state();
}

vmx::Vmx& Inspection::l1_vmx(unsigned processor) const {
  return l0_.empty() ? core(processor).vmx() : l0_[processor]->l1_processor().vmx();
}

const vmx::Vmcs* Inspection::vmcs(unsigned processor) const {
  const vmx::Vmx& vmx = l1_vmx(processor);
  return vmx.current_vmcs_pointer() ? &vmx.current_vmcs() : nullptr;
}

vmx::Vmcs* Inspection::edit_vmcs(unsigned processor) {
  vmx::Vmx& vmx = l1_vmx(processor);
  if (!vmx.current_vmcs_pointer()) return nullptr;
  core(processor).context().request_flush();
  return &vmx.edit_current_vmcs();
}

// Of a level that does not run: L1's physical address.
template <class Memory>
std::optional<uint64_t> Inspection::translate_from_vmcs(Memory& memory, unsigned processor,
                                                        View view, uint64_t address) const {
  const vmx::Vmcs* const current = vmcs(processor);
  if (current == nullptr) return std::nullopt;
  const vmx::Vmx& vmx = l1_vmx(processor);
  if (view == View::kL1Linear) {
    const auto walk =
        ept::walk_linear<ept::ProbeOnly>(memory, paging_of(core(processor).vmx(), *current, view),
                                         ept::LinearAddress{address}, kLook);
    return walk.translated() ? std::optional(walk.address.value) : std::nullopt;
  }
  // The controls of the VMCS, whoever runs.
  std::optional<uint64_t> eptp;
  if (current->has(vmx::SecondaryProcBased::kEnableEpt)) eptp = (*current)[Field::kEptPointer];
  if (view == View::kL2Physical) {
    if (!eptp) return address;
    ept::EptAccess access;
    access.read = true;
    const auto walk = ept::walk_ept<ept::ProbeOnly>(memory, ept_state(vmx, *eptp),
                                                    ept::GuestPhysicalAddress{address}, access);
    return walk.outcome == ept::EptOutcome::kTranslated ? std::optional(walk.address.value)
                                                        : std::nullopt;
  }
  const ept::PagingState paging = paging_of(core(processor).vmx(), *current, view);
  if (!eptp) {
    const auto walk =
        ept::walk_linear<ept::ProbeOnly>(memory, paging, ept::LinearAddress{address}, kLook);
    return walk.translated() ? std::optional(walk.address.value) : std::nullopt;
  }
  const auto walk = ept::walk_nested<ept::ProbeOnly>(memory, paging, ept_state(vmx, *eptp),
                                                     ept::LinearAddress{address}, kLook);
  return walk.translated() ? std::optional(walk.address.value) : std::nullopt;
}

std::optional<uint64_t> Inspection::translate(unsigned processor, View view,
                                              uint64_t address) const {
  HardwareCore& hardware = core(processor);
  const int running = level(processor);
  const bool of_who_runs =
      (view == View::kL1Linear && running == 1) || (view == View::kL2Linear && running == 2);
  if (GuestCore* const guest = handled_by_l0(processor); of_who_runs && guest != nullptr) {
    const auto l1 = translate_of(*guest, address);
    return l1 ? std::optional(l0_[processor]->map().machine({*l1}).value) : std::nullopt;
  }
  if (of_who_runs) {
    const auto found =
        hardware.mmu().probe(address, kLook, hardware.state().rflags | vmx::rflags::kAc);
    const auto* physical = std::get_if<uint64_t>(&found);
    return physical != nullptr ? std::optional(*physical) : std::nullopt;
  }
  std::optional<uint64_t> l1 = address;
  if (view != View::kL1Physical) {
    l1 = l0_.empty() ? translate_from_vmcs(hardware.memory(), processor, view, address)
                     : translate_from_vmcs(l0_[processor]->l1_processor().memory(), processor, view,
                                           address);
  }
  if (!l1 || l0_.empty()) return l1;
  return l0_[processor]->map().machine({*l1}).value;
}

ExtendedState Inspection::extended_state(unsigned processor) const {
  ExtendedState state;
  core(processor).read_extended_state(state);
  return state;
}

void Inspection::write_extended_state(unsigned processor, const ExtendedState& state) {
  core(processor).write_extended_state(state);
}

uint64_t Inspection::tsc(unsigned processor) const { return core(processor).tsc(); }

ept::PagingState Inspection::paging(unsigned processor, View view) const {
  const bool of_who_runs = (view == View::kL2Linear) == (level(processor) == 2);
  if (!of_who_runs) return paging_of(core(processor).vmx(), *vmcs(processor), view);
  return paging_state(core(processor).vmx(), state(processor), state(processor).rflags);
}

std::optional<InspectedWalk> Inspection::walk(unsigned processor, View view, uint64_t address,
                                              ept::Access access) const {
  HardwareCore& hardware = core(processor);
  const vmx::Vmcs* const current = vmcs(processor);
  const bool in_l2 = level(processor) == 2;
  const bool of_l2 = view == View::kL2Linear || view == View::kL2Physical;
  const bool needs_vmcs = of_l2 || (view == View::kL1Linear && in_l2);
  if (!l0_.empty() || (needs_vmcs && current == nullptr)) return std::nullopt;
  std::optional<ept::EptState> ept;
  if (of_l2 && in_l2) {
    if (const auto eptp = hardware.vmx().eptp()) ept = ept_state(hardware.vmx(), *eptp);
  } else if (of_l2 && current->has(vmx::SecondaryProcBased::kEnableEpt)) {
    ept = ept_state(hardware.vmx(), (*current)[Field::kEptPointer]);
  }
  InspectedWalk found;
  WalkRecorder recorder;
  const bool linear = view == View::kL1Linear || view == View::kL2Linear;
  const ept::PagingState terms = linear ? paging(processor, view) : ept::PagingState{};
  const ept::LinearAddress start{address};
  const WalkSubject subject{linear ? std::optional(address) : std::nullopt, access, terms, 0,
                            of_l2};
  if (ept) {
    const auto walk = linear
                          ? ept::walk_nested<ept::ProbeOnly>(hardware.memory(), terms, *ept, start,
                                                             access, recorder)
                          : walk_guest_physical(hardware.memory(), *ept, address, access, recorder);
    found.unreachable = walk.outcome == ept::NestedOutcome::kUnreachable;
    found.event = report(subject, walk, *ept, recorder.steps());
  } else if (linear) {
    const auto walk =
        ept::walk_linear<ept::ProbeOnly>(hardware.memory(), terms, start, access, recorder);
    found.unreachable = walk.outcome == ept::LinearOutcome::kUnreachable;
    if (!found.unreachable) found.event = report(subject, walk, recorder.steps());
  } else {
    found.event.physical = address;
  }
  found.steps.assign(recorder.steps().begin(), recorder.steps().end());
  found.event.steps = {};
  return found;
}

size_t Inspection::read(unsigned processor, View view, uint64_t address,
                        std::span<uint8_t> out) const {
  size_t done = 0;
  while (done < out.size()) {
    const auto physical = translate(processor, view, address + done);
    const size_t part =
        std::min<size_t>(out.size() - done, kPageSize - (address + done) % kPageSize);
    if (!physical || !core(processor).memory().read(*physical, out.subspan(done, part))) break;
    done += part;
  }
  return done;
}

size_t Inspection::write(unsigned processor, View view, uint64_t address,
                         std::span<const uint8_t> data) {
  size_t done = 0;
  while (done < data.size()) {
    const auto physical = translate(processor, view, address + done);
    const size_t part =
        std::min<size_t>(data.size() - done, kPageSize - (address + done) % kPageSize);
    if (!physical || !core(processor).memory().write(*physical, data.subspan(done, part))) break;
    done += part;
  }
  // It may have been a paging structure.
  if (done != 0) core(processor).context().request_flush();
  return done;
}

}  // namespace nestor::emu
