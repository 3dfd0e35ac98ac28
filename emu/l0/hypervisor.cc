// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/l0/hypervisor.h"

#include <stdexcept>
#include <utility>

#include "vmx/features.h"
#include "vmx/guest_area.h"
#include "vmx/guest_state_formats.h"

namespace nestor::emu {
namespace {

using vmx::Field;
namespace cr0 = vmx::cr0;
namespace cr4 = vmx::cr4;

constexpr uint64_t kAccessedDirty = 1 << 6;

std::optional<HandlerPrices> handler_prices(timing::Core* core) {
  if (core == nullptr) return std::nullopt;
  return HandlerPrices(core->processor());
}

}  // namespace

Hypervisor::Hypervisor(Cpu& cpu, unsigned number, L0Memory& memory, MachineEventSink* events)
    : cpu_(cpu),
      memory_(memory),
      config_(memory.config()),
      events_(events),
      map_(memory.map()),
      pages_(memory.table_pages(cpu.core(), number)),
      low_pages_(memory.low_table_pages(cpu.core(), number)),
      core_(cpu.core(), map_, memory.offered(), cpu.core().exit_log()),
      structures_(memory.take_structures()),
      spt01_(pages_, low_pages_),
      spt02_(pages_, low_pages_),
      handler_prices_(handler_prices(cpu.core().timing())) {
  core_.on_invalidate = [this](const vmx::Invalidation& what) { invalidate(what); };
  core_.on_vmx_abort = [this](uint32_t indicator) { hardware().vmx_abort(indicator); };
  if (config_.mode == L0Mode::kTwoLevel) {
    two_level_ept_.emplace();
    two_level_ept_->eptp.value = memory.eptp01();
    two_level_ept_->maxphyaddr = processor().capabilities().registers.physical_address_width;
  }
  hardware().set_root_software(*this, *this);
}

void Hypervisor::vm_exit(const vmx::VmExitEvent& event) {
  ++counters_.exits[event.reason];
  ++(level_ == 1 ? counters_.exits_from_l1 : counters_.exits_from_l2);
  if (events_ != nullptr) events_->l0_exit(event, level_);
}

L0Counters Hypervisor::counters() const {
  L0Counters counters = counters_;
  counters.shadow_tables_built = tables_built();
  counters.shadow_tables_zapped = tables_given_up();
  return counters;
}

void Hypervisor::serialize(Archive& archive) {
  std::vector<uint64_t> keys;
  for (const auto& [key, tables] : ept02_) keys.push_back(key);
  archive.sequence(keys, kMostEpt02);
  if (archive.loads()) {
    // While memory and the free pages are still those that these tables belong to.
    ept02_.clear();
    for (const uint64_t key : keys) ept02_[key] = std::make_unique<Ept02>(pages_);
  }
  for (auto& [key, tables] : ept02_) tables->serialize(archive);
  pages_.serialize(archive);
  low_pages_.serialize(archive);
  core_.serialize(archive);
  spt01_.serialize(archive);
  spt02_.serialize(archive);
  archive(last_vpid12_, level_, entering_l2_, init_held_, counters_, futile_reclaims_,
          instructions_at_reclaim_);
  struct Told {
    uint64_t translates = 0, page = 0;
    void fields(Archive& nested) { nested(translates, page); }
  };
  std::vector<Told> told;
  for (const auto& [translates, page] : told_) told.push_back({translates, page});
  archive.sequence(told, kMostTold);
  told_.clear();
  for (const Told& one : told) told_.emplace(one.translates, one.page);
  archive.require(level_ == 1 || level_ == 2);
  if (archive.loads()) choose_machine_ept();
}

void Hypervisor::check_failed(const vmx::CheckFailure& failure) {
  failed_check_ = std::string(failure.id);
}

void Hypervisor::give_up(std::string why) {
  hardware().around().turns.finish({RunEnd::Kind::kUnsupported, 0, std::move(why)});
}

// --- who runs

void Hypervisor::take_processor() {
  guest() = hardware().state();
  vmx::CpuState& host = hardware().state();
  host.cr0 = cr0::kPe | cr0::kNe | cr0::kPg | cr0::kEt;
  host.cr4 = cr4::kPae | cr4::kVmxe;
  host.efer = vmx::efer::kLme | vmx::efer::kLma;
  processor().enter_root_operation();
  processor().make_current({structures_.vmcs01});
  build_vmcs01(vmcs(), processor().capabilities(), config_, structures_, memory_.eptp01());
  level_ = 1;
  put_guest();
  if (!ended()) enter();
}

void Hypervisor::release_processor() {
  processor().leave_root_operation();
  hardware().state() = guest();
  cpu_.signals().take_init();
  invalidate({});
}

void Hypervisor::run() {
  if (!processor().in_vmx_operation()) {
    take_processor();
    return;
  }
  const uint64_t now = hardware().tsc_increments();
  const uint64_t built = tables_built(), given_up = tables_given_up();
  if (handler_prices_) {
    spend(HandlerStep::kExit);
  } else {
    hardware().around().prices.charge(&PriceList::l0_exit_handling);
  }
  take_guest();
  const int before = level_;
  if (level_ == 1) {
    handle_l1();
  } else {
    core_.time_of_exit = now;
    handle_l2();
    core_.time_of_exit.reset();
  }
  if (ended() || !processor().in_vmx_operation()) return;
  level_ = nested().in_non_root() ? 2 : 1;
  if (level_ != before) {
    processor().make_current({level_ == 2 ? structures_.vmcs02 : structures_.vmcs01});
    choose_machine_ept();
  }
  if (level_ == 2 && before == 1) begin_l2();
  put_guest();
  if (ended()) return;
  spend(HandlerStep::kTableBuilt, tables_built() - built);
  spend(HandlerStep::kTableGivenUp, tables_given_up() - given_up);
  enter();
  if (init_held_ && !blocks_init()) {
    init_held_ = false;
    cpu_.signals().raise_init();
  }
}

// Without an EPT12 EPT01 alone stands between L2 and the machine.
void Hypervisor::choose_machine_ept() {
  const bool two_levels = level_ == 2 && nested().eptp();
  hardware().mmu().set_machine_ept(two_levels ? two_level_ept_ : std::nullopt);
}

// In the shadow modes L0 owns the control registers of paging: only what it emulates changes them.
void Hypervisor::restore_owned(vmx::CpuState& live, const vmx::CpuState& own) const {
  if (uses_ept()) return;
  live.cr0 = own.cr0;
  live.cr3 = own.cr3;
  live.cr4 = own.cr4;
  live.efer = own.efer;
  live.pdptes = own.pdptes;
}

void Hypervisor::take_guest() {
  const vmx::CpuState before = guest();
  vmx::CpuState& g = guest();
  g = hardware().state();
  vmx::load_guest_area(vmcs(), g);
  const bool software_nmi_blocking = level_ == 2 && nested().pin(vmx::PinBased::kVirtualNmis);
  if (software_nmi_blocking) {
    nested().set_virtual_nmi_blocking(g.blocking_by_nmi);
    g.blocking_by_nmi = false;
  }
  restore_owned(g, before);
  if (uses_ept() && level_ == 1) {
    g.cr0 = (g.cr0 & ~cr0::kNe) | (vmcs()[Field::kCr0ReadShadow] & cr0::kNe);
    g.cr4 = (g.cr4 & ~cr4::kVmxe) | (vmcs()[Field::kCr4ReadShadow] & cr4::kVmxe);
  }
}

void Hypervisor::put_guest() {
  const vmx::CpuState& g = guest();
  vmx::CpuState real = g;
  if (level_ == 2 && nested().virtual_nmi_blocking()) real.blocking_by_nmi = true;
  uint64_t owned_cr0 = vmcs()[Field::kCr0GuestHostMask];
  uint64_t owned_cr4 = vmcs()[Field::kCr4GuestHostMask];
  uint64_t shown_cr0 = vmcs()[Field::kCr0ReadShadow], shown_cr4 = vmcs()[Field::kCr4ReadShadow];
  if (level_ == 1) {
    owned_cr0 = cr0::kNe;
    owned_cr4 = cr4::kVmxe;
    shown_cr0 = g.cr0;
    shown_cr4 = g.cr4;
    real.cr0 |= cr0::kNe;
    real.cr4 |= cr4::kVmxe;
  }
  if (!uses_ept()) {
    const bool five_levels = g.long_mode_active() && (g.cr4 & cr4::kLa57) != 0;
    if (!g.protected_mode() || five_levels) {
      give_up(std::string(five_levels ? "5-level paging" : "real-address mode") +
              " cannot run on shadow page tables: use a mode in which L0 has EPT");
      return;
    }
    owned_cr0 = owned_cr4 = ~0ull;
    shown_cr0 = nested().visible_cr0(g.cr0);
    shown_cr4 = nested().visible_cr4(g.cr4);
    real.cr0 |= cr0::kPe | cr0::kPg | cr0::kWp | cr0::kNe;
    real.cr4 = (real.cr4 | cr4::kPae | cr4::kVmxe) & ~(cr4::kPcide | cr4::kLa57);
    // Without paging these do not apply; on shadow tables all is the user's then.
    if (!(g.cr0 & cr0::kPg)) real.cr4 &= ~(cr4::kSmep | cr4::kSmap);
    // The error code of a page fault tells fetches apart only with NXE.
    real.efer |= vmx::efer::kNxe;
    real.efer = g.long_mode_active() ? real.efer | vmx::efer::kLme : real.efer & ~vmx::efer::kLme;
    auto root = running_spt().root(g);
    if (!root) {
      if (!reclaim_tables()) return;
      root = running_spt().root(g);
      if (!root) throw std::logic_error("L0 has no memory left for shadow page tables");
    }
    real.cr3 = *root;
  }
  Vmcs& v = vmcs();
  vmx::store_guest_area(real, v);
  v.write(Field::kCr0GuestHostMask, owned_cr0);
  v.write(Field::kCr4GuestHostMask, owned_cr4);
  v.write(Field::kCr0ReadShadow, shown_cr0);
  v.write(Field::kCr4ReadShadow, shown_cr4);
  const uint64_t long_mode = mask(vmx::VmEntryControl::kIa32eModeGuest);
  const uint64_t entry = v[Field::kVmEntryControls] & ~long_mode;
  v.write(Field::kVmEntryControls, g.long_mode_active() ? entry | long_mode : entry);
  if (level_ == 2) {
    if (const auto deadline = nested().preemption_deadline()) {
      const uint64_t now = hardware().tsc_increments(),
                     shift = processor().capabilities().preemption_timer_shift;
      v.write(Field::kVmxPreemptionTimerValue, *deadline > now ? (*deadline - now) >> shift : 0);
    }
    if (entering_l2_) {
      // As L1 wrote them: what the injection makes of them is the processor's business.
      const Vmcs& vmcs12 = nested().current_vmcs();
      for (const Field field :
           {Field::kGuestInterruptibilityState, Field::kGuestActivityState,
            Field::kGuestPendingDebugExceptions, Field::kVmEntryInterruptionInformation,
            Field::kVmEntryExceptionErrorCode, Field::kVmEntryInstructionLength}) {
        v.write(field, vmcs12[field]);
      }
      entering_l2_ = false;
    }
  } else if (config_.vmcs_shadowing) {
    update_vmcs_shadowing();
  }
}

// Registers that no VMCS holds go straight into the processor, around its own root state.
void Hypervisor::enter() {
  const vmx::CpuState host = hardware().state();
  vmx::CpuState& s = hardware().state();
  s = guest();
  s.cr0 = (host.cr0 & ~vmx::kCr0NotModified) | (s.cr0 & vmx::kCr0NotModified);
  s.cr3 = host.cr3;
  s.cr4 = host.cr4;
  s.efer = host.efer;
  s.segment = host.segment;
  s.rip = host.rip;
  s.rflags = vmx::rflags::kFixed1;
  s.activity = vmx::ActivityState::kActive;
  s.blocking_by_sti = s.blocking_by_mov_ss = false;
  (void)processor().enter_guest();
  if (!processor().in_non_root()) {
    throw std::logic_error("L0's own VM entry failed the check '" + failed_check_ + "'");
  }
}

void Hypervisor::begin_l2() {
  const Vmcs& vmcs12 = nested().current_vmcs();
  build_vmcs02(vmcs(), vmcs12, processor().capabilities(), config_, structures_, map_);
  join_msr_bitmaps();
  entering_l2_ = true;
  const uint16_t vpid12 = nested().vpid();
  if (last_vpid12_ != vpid12) {
    last_vpid12_ = vpid12;
    drop_l2_translations();
  }
  if (!uses_ept()) return;
  const auto eptp12 = nested().eptp();
  if (!eptp12) {
    vmcs().write(Field::kEptPointer, memory_.eptp01());
    return;
  }
  if (config_.mode == L0Mode::kTwoLevel) {
    vmcs().write(Field::kEptPointer, *eptp12);
    return;
  }
  L0Pages::Address root;
  if (!ept02(*eptp12).root(root)) {
    if (!reclaim_tables()) return;
    if (!ept02(*eptp12).root(root)) throw std::logic_error("L0 has no memory left for EPT02");
  }
  vmcs().write(Field::kEptPointer, root.value | kEptWriteBack4Levels | (*eptp12 & kAccessedDirty));
}

}  // namespace nestor::emu
