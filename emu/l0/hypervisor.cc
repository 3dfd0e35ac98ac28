// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/l0/hypervisor.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include "emu/cpu/cpuid.h"
#include "emu/cpu/delivery.h"
#include "emu/cpu/instructions/emulate.h"
#include "emu/cpu/segments.h"
#include "emu/cpu/task_switch.h"
#include "vmx/guest_area.h"
#include "vmx/guest_state_formats.h"
#include "vmx/msr_bitmap.h"

namespace nestor::emu {
namespace {

using vmx::Event;
using vmx::ExitReason;
using vmx::Field;
using vmx::SecondaryProcBased;
namespace cr0 = vmx::cr0;
namespace cr4 = vmx::cr4;

constexpr uint64_t kPage = 4096;
// L0's own memory: low pages end below the legacy hole, and the first stays free.
constexpr uint64_t kLowPages = 0x9f000, kHighPages = 64ull << 20;
// Of the high pages, those for VMCSs, bitmaps and EPT01.
constexpr uint64_t kStructurePages = 8ull << 20;
constexpr uint32_t kEptWriteBack4Levels = 3 << 3 | 6;
constexpr uint64_t kAccessedDirty = 1 << 6;
constexpr uint64_t kEp4ta = ((1ull << 52) - 1) & ~0xfffull;
constexpr size_t kMostEpt02 = 8;

Ram::Placement placed() { return {MachineMap::kL1Origin, kHighPages, kLowPages}; }

}  // namespace

Ram::Placement Hypervisor::placement() { return placed(); }

Hypervisor::Hypervisor(Cpu& cpu, const Ram& ram, const L0Config& config, MachineEventSink* events)
    : cpu_(cpu),
      config_(config),
      events_(events),
      map_(ram),
      pages_(cpu, ram.guest_end() + kStructurePages, ram.end()),
      low_pages_(cpu, kPage, ram.low_end()),
      structure_pages_(cpu, ram.guest_end(), ram.guest_end() + kStructurePages),
      core_(cpu, map_, l0_offered_capabilities(cpu.vmx().capabilities(), config.mode),
            events != nullptr ? static_cast<vmx::EventSink&>(*events) : silence_),
      ept01_(structure_pages_),
      spt01_(pages_, low_pages_),
      spt02_(pages_, low_pages_) {
  if (config.shadow_page_limit != 0) pages_.limit = config.shadow_page_limit;
  core_.on_invalidate = [this](const vmx::Invalidation& what) { invalidate(what); };
  core_.on_vmx_abort = [this](uint32_t indicator) { cpu_.vmx_abort(indicator); };
  cpu.set_root_software(*this, *this);
}

void Hypervisor::start(const vmx::CpuState& l1) {
  guest() = l1;
  for (uint64_t* page : {&structures_.vmcs01, &structures_.vmcs02, &structures_.shadow_vmcs,
                         &structures_.vmread_bitmap, &structures_.vmwrite_bitmap,
                         &structures_.msr_bitmap01, &structures_.msr_bitmap02}) {
    *page = structure_pages_.take();
  }
  set_up_bitmaps();
  uint64_t eptp01 = 0;
  if (uses_ept()) {
    set_up_ept01();
    L0Pages::Address root;
    (void)ept01_.root(root);
    eptp01 = root.value | kEptWriteBack4Levels;
    if (config_.mode == L0Mode::kTwoLevel) {
      two_level_ept_.emplace();
      two_level_ept_->eptp.value = eptp01;
      two_level_ept_->maxphyaddr = kPhysicalAddressBits;
    }
  }
  vmx::CpuState& host = cpu_.state();
  host.cr0 = cr0::kPe | cr0::kNe | cr0::kPg | cr0::kEt;
  host.cr4 = cr4::kPae | cr4::kVmxe;
  host.efer = vmx::efer::kLme | vmx::efer::kLma;
  processor().enter_root_operation();
  processor().make_current({structures_.vmcs01});
  build_vmcs01(vmcs(), processor().capabilities(), config_, structures_, eptp01);
  level_ = 1;
  put_guest();
}

// EPT01: L1's RAM, and everything else where it is.
void Hypervisor::set_up_ept01() {
  using E = ept::EptEntry;
  constexpr uint64_t kAll = E::kRead | E::kWrite | E::kExecute;
  const auto must = [](bool mapped) {
    if (!mapped) throw std::logic_error("L0 has no memory left for EPT01");
  };
  constexpr uint64_t kGigabyte = 1ull << 30, kLarge = 1ull << 21;
  const auto map_page = [&](uint64_t l1, unsigned bits) {
    const bool ram = map_.is_ram({l1});
    const auto type = ram ? ept::MemoryType::kWriteBack : ept::MemoryType::kUncacheable;
    must(ept01_.map(l1, bits,
                    map_.machine({l1}).page_base(bits).value | kAll |
                        static_cast<uint64_t>(type) << E::kMemoryTypeShift |
                        (bits > 12 ? E::kPageSize : 0)));
  };
  // Where no RAM is: 1-GByte pages, over the whole width of physical addresses.
  for (uint64_t l1 = 0; l1 < MachineMap::kL1Origin; l1 += kGigabyte) map_page(l1, 30);
  // RAM: 2-MByte pages where one lies in it, or outside of it, as a whole.
  for (uint64_t l1 = 0; l1 < map_.ram_end(); l1 += kLarge) {
    ept::BackingPage page;
    (void)map_.backing({l1}, true, page);
    if (page.page_bits == 21) {
      map_page(l1, 21);
    } else {
      for (uint64_t small = l1; small < l1 + kLarge; small += kPage) map_page(small, 12);
    }
  }
}

void Hypervisor::set_bit(uint64_t page, uint32_t bit) {
  uint8_t byte = 0;
  cpu_.read_physical({page + bit / 8}, std::span(&byte, 1));
  byte = static_cast<uint8_t>(byte | 1u << bit % 8);
  cpu_.write_physical({page + bit / 8}, std::span(&byte, 1));
}

void Hypervisor::set_up_bitmaps() {
  using vmx::MsrAccess;
  for (uint32_t index = 0; index != 0x2000; ++index) {
    for (const uint32_t msr : {index, 0xc0000000 + index}) {
      if (!l0_intercepts_msr(msr, config_.mode)) continue;
      for (const MsrAccess access : {MsrAccess::kRead, MsrAccess::kWrite})
        set_bit(structures_.msr_bitmap01, *vmx::msr_bitmap_bit(msr, access));
    }
  }
  // What the processor has and L1 is not offered must fail for L1, which only L0 can make it do.
  const vmx::Capabilities& offered = nested().capabilities();
  for (uint32_t encoding = 0; encoding != 0x8000; ++encoding) {
    const auto access = vmx::decode_field(encoding);
    const bool exists = access && offered.has_field(access->field);
    if (exists && offered.field_writable(access->field)) continue;
    set_bit(structures_.vmwrite_bitmap, encoding);
    if (!exists) set_bit(structures_.vmread_bitmap, encoding);
  }
}

void Hypervisor::vm_exit(const vmx::VmExitEvent& event) {
  ++counters_.exits[event.reason];
  ++(level_ == 1 ? counters_.exits_from_l1 : counters_.exits_from_l2);
  if (events_ != nullptr) events_->l0_exit(event, level_);
}

L0Counters Hypervisor::counters() const {
  L0Counters counters = counters_;
  counters.shadow_tables_built = pages_.built + low_pages_.built;
  counters.shadow_tables_zapped = pages_.zapped + low_pages_.zapped;
  return counters;
}

void Hypervisor::check_failed(const vmx::CheckFailure& failure) {
  failed_check_ = std::string(failure.id);
}

void Hypervisor::stop(RunResult::Kind kind, std::string detail) {
  cpu_.end_run(kind, 0, std::move(detail));
}

// --- who runs

void Hypervisor::run() {
  if (!started_) {
    started_ = true;
    enter();
    return;
  }
  cpu_.charge_l0();
  take_guest();
  const int before = level_;
  if (level_ == 1) {
    handle_l1();
  } else {
    handle_l2();
  }
  if (cpu_.ended()) return;
  level_ = nested().in_non_root() ? 2 : 1;
  if (level_ != before) {
    processor().make_current({level_ == 2 ? structures_.vmcs02 : structures_.vmcs01});
    cpu_.mmu().set_machine_ept(level_ == 2 ? two_level_ept_ : std::nullopt);
  }
  if (level_ == 2 && before == 1) begin_l2();
  put_guest();
  if (!cpu_.ended()) enter();
}

// In the shadow modes L0 owns the control registers of paging: only what it emulates changes them.
void Hypervisor::take_guest() {
  const vmx::CpuState before = guest();
  vmx::CpuState& g = guest();
  g = cpu_.state();
  vmx::load_guest_area(vmcs(), g);
  const bool software_nmi_blocking = level_ == 2 && nested().pin(vmx::PinBased::kVirtualNmis);
  if (software_nmi_blocking) {
    nested().set_virtual_nmi_blocking(g.blocking_by_nmi);
    g.blocking_by_nmi = false;
  }
  if (!uses_ept()) {
    g.cr0 = before.cr0;
    g.cr3 = before.cr3;
    g.cr4 = before.cr4;
    g.efer = before.efer;
    g.pdptes = before.pdptes;
  } else if (level_ == 1) {
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
      stop(RunResult::Kind::kUnsupported,
           std::string(five_levels ? "5-level paging" : "real-address mode") +
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
    const auto root = (level_ == 1 ? spt01_ : spt02_).root(g);
    if (!root) throw std::logic_error("L0 has no memory left for shadow page tables");
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
      const uint64_t now = cpu_.tsc(), shift = processor().capabilities().preemption_timer_shift;
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
    update_link_pointer();
  }
}

// Registers that no VMCS holds go straight into the processor, around its own root state.
void Hypervisor::enter() {
  const vmx::CpuState host = cpu_.state();
  vmx::CpuState& s = cpu_.state();
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
    L0Pages::Address root;
    (void)ept01_.root(root);
    vmcs().write(Field::kEptPointer, root.value | kEptWriteBack4Levels);
    return;
  }
  if (config_.mode == L0Mode::kTwoLevel) {
    vmcs().write(Field::kEptPointer, *eptp12);
    return;
  }
  L0Pages::Address root;
  if (!ept02(*eptp12).root(root)) {
    for (auto& [key, tables] : ept02_) tables->destroy();
    if (!ept02(*eptp12).root(root)) throw std::logic_error("L0 has no memory left for EPT02");
  }
  vmcs().write(Field::kEptPointer, root.value | kEptWriteBack4Levels | (*eptp12 & kAccessedDirty));
}

// --- VM exits of L1

void Hypervisor::handle_l1() {
  const auto reason = static_cast<ExitReason>(vmcs()[Field::kExitReason] & 0xffff);
  switch (reason) {
    case ExitReason::kTripleFault:
      stop(RunResult::Kind::kShutdown, {});
      return;
    case ExitReason::kInitSignal:
      stop(RunResult::Kind::kReset, {});
      return;
    case ExitReason::kExceptionOrNmi:
      fill_shadow_paging();
      return;
    case ExitReason::kTaskSwitch:
      emulate_task_switch();
      return;
    case ExitReason::kVmread:
    case ExitReason::kVmwrite:
      ++counters_.vmcs_accesses;
      break;
    default:
      break;
  }
  if (config_.vmcs_shadowing) fetch_vmcs12();
  emulate_instruction();
  if (config_.vmcs_shadowing) publish_vmcs12();
}

void Hypervisor::emulate_instruction() {
  std::array<uint8_t, Instruction::kMaxLength> bytes{};
  size_t fetched = 0;
  vmx::CpuState& g = guest();
  const uint64_t linear = g.code_64bit() ? g.rip : (g.segment[vmx::kCs].base + g.rip) & 0xffffffff;
  const auto fault = core_.fetch(linear, bytes, fetched);
  const auto instruction = decoder_.decode(std::span(bytes.data(), fetched), code_mode(g));
  if (!instruction) {
    settle(fault ? to_outcome(*fault) : Outcome(vmx::exception(vmx::kUd)));
    return;
  }
  const bool trap_flag = (g.rflags & vmx::rflags::kTf) != 0;
  const Outcome outcome = emulate(core_, *instruction);
  if (!std::holds_alternative<vmx::Completed>(outcome)) {
    settle(outcome);
    return;
  }
  advance_rip(g, instruction->length);
  g.rflags &= ~uint64_t{vmx::rflags::kRf};
  g.blocking_by_sti = g.blocking_by_mov_ss = false;
  if (trap_flag) g.pending_debug_exceptions |= vmx::pending_debug::kSingleStep;
  if (nested().monitor_trap_flag()) {
    nested().set_monitor_trap_flag_pending();
    (void)nested().monitor_trap_flag_exits();
  }
}

void Hypervisor::settle(const Outcome& outcome) {
  if (const auto* event = std::get_if<Event>(&outcome)) raise(*event);
  if (const auto* exit = std::get_if<EptExit>(&outcome)) {
    if (exit->misconfiguration) {
      nested().ept_misconfiguration(exit->guest_physical);
    } else {
      nested().ept_violation(exit->qualification, exit->guest_physical, exit->guest_linear);
    }
  }
}

void Hypervisor::emulate_task_switch() {
  const uint64_t qualification = vmcs()[Field::kExitQualification];
  const auto vectoring = static_cast<uint32_t>(vmcs()[Field::kIdtVectoringInformation]);
  const bool valid = (vectoring & vmx::interruption::kValid) != 0;
  TaskSwitch request;
  request.selector = static_cast<uint16_t>(qualification);
  request.source = static_cast<TaskSwitchSource>(qualification >> 30 & 3);
  const bool software = valid && vmx::is_software(vmx::interruption::type_of(vectoring));
  if (request.source != TaskSwitchSource::kGateInIdt || software) {
    request.instruction_length = static_cast<uint8_t>(vmcs()[Field::kVmExitInstructionLength]);
  }
  request.ext = valid && !software;
  if (valid && (vectoring & vmx::interruption::kErrorCode) != 0) {
    request.error_code = static_cast<uint32_t>(vmcs()[Field::kIdtVectoringErrorCode]);
  }
  settle(switch_task(core_, request));
}

// --- VM exits of L2

void Hypervisor::handle_l2() {
  const auto reason = static_cast<ExitReason>(vmcs()[Field::kExitReason] & 0xffff);
  switch (reason) {
    case ExitReason::kEptViolation:
      if (config_.mode == L0Mode::kNestedEpt && fill_ept02()) return;
      break;
    case ExitReason::kExceptionOrNmi:
      if (!uses_ept() && is_page_fault()) {
        fill_shadow_paging();
        return;
      }
      break;
    case ExitReason::kRdmsr:
    case ExitReason::kWrmsr:
      emulate_instruction();
      after_l2_emulation();
      return;
    case ExitReason::kControlRegisterAccess:
    case ExitReason::kInvlpg:
    case ExitReason::kInvpcid:
      if (!uses_ept()) {
        emulate_instruction();
        after_l2_emulation();
        return;
      }
      break;
    default:
      break;
  }
  reflect();
}

// L1 may have got the VM exit after all.
void Hypervisor::after_l2_emulation() {
  if (nested().in_non_root()) return;
  ++counters_.reflected;
  if (config_.vmcs_shadowing) publish_vmcs12();
}

void Hypervisor::reflect() {
  ++counters_.reflected;
  if (!uses_ept()) {
    // VMCS02 has what the processor runs L2 with; L1 is to see L2's own.
    const vmx::CpuState& g = guest();
    vmcs().write(Field::kGuestCr0, g.cr0);
    vmcs().write(Field::kGuestCr3, g.cr3);
    vmcs().write(Field::kGuestCr4, g.cr4);
    vmcs().write(Field::kGuestIa32Efer, g.efer);
  }
  nested().reflect_exit(vmcs());
  if (config_.vmcs_shadowing) publish_vmcs12();
}

bool Hypervisor::is_page_fault() {
  const auto information = static_cast<uint32_t>(vmcs()[Field::kVmExitInterruptionInformation]);
  return vmx::interruption::type_of(information) == vmx::EventType::kHardwareException &&
         (information & 0xff) == vmx::kPf;
}

// What the VM exit interrupted on its way through the IDT, if anything.
std::optional<Event> Hypervisor::interrupted_event() {
  const auto information = static_cast<uint32_t>(vmcs()[Field::kIdtVectoringInformation]);
  return vmx::decode_injection(information & ~vmx::interruption::kNmiUnblocking,
                               static_cast<uint32_t>(vmcs()[Field::kIdtVectoringErrorCode]),
                               static_cast<uint32_t>(vmcs()[Field::kVmExitInstructionLength]))
      .event;
}

// The guest goes on where the VM exit was: an event whose delivery it interrupted is delivered
// again, and an IRET that had unblocked NMIs blocks them again.
void Hypervisor::resume_interrupted(bool unblocked_by_iret) {
  if (const auto event = interrupted_event()) {
    inject(*event);
    return;
  }
  if (!unblocked_by_iret) return;
  if (level_ == 2 && nested().pin(vmx::PinBased::kVirtualNmis)) {
    nested().set_virtual_nmi_blocking(true);
  } else {
    guest().blocking_by_nmi = true;
  }
}

void Hypervisor::inject(const Event& event) {
  Vmcs& v = vmcs();
  v.write(Field::kVmEntryInterruptionInformation,
          vmx::interruption_information(event, guest().protected_mode()));
  v.write(Field::kVmEntryExceptionErrorCode, event.error_code.value_or(0));
  v.write(Field::kVmEntryInstructionLength, event.instruction_length);
}

void Hypervisor::raise(const Event& first) {
  Event event = first;
  const std::optional<Event> interrupted = interrupted_event();
  if (level_ == 2) {
    nested().set_vectoring(interrupted);
    const bool exits = nested().exception_exits(event);
    nested().set_vectoring(std::nullopt);
    if (exits) {
      after_l2_emulation();
      return;
    }
  }
  if (interrupted) {
    const auto next = combine(*interrupted, event);
    if (std::holds_alternative<Shutdown>(next)) {
      if (level_ == 1) {
        stop(RunResult::Kind::kShutdown, {});
      } else if (nested().triple_fault_exits()) {
        after_l2_emulation();
      }
      return;
    }
    event = std::get<Event>(next);
  }
  vmx::CpuState& g = guest();
  if (event.type == vmx::EventType::kHardwareException && event.vector == vmx::kPf) {
    g.cr2 = event.payload;
  }
  if (event.type == vmx::EventType::kHardwareException && event.vector == vmx::kDb) {
    g.dr6 |= event.payload & 0xf00f;
  }
  // VM entry pushes RFLAGS as they are.
  if (vmx::is_fault(event)) g.rflags |= vmx::rflags::kRf;
  inject(event);
}

// --- shadow tables

Hypervisor::Ept02& Hypervisor::ept02(uint64_t eptp12) {
  const uint64_t key = eptp12 & (kEp4ta | kAccessedDirty);
  if (!ept02_.contains(key)) {
    if (ept02_.size() == kMostEpt02) ept02_.clear();
    ept02_[key] = std::make_unique<Ept02>(pages_);
  }
  return *ept02_[key];
}

// false: L1 is to have the VM exit, whose information is right now.
bool Hypervisor::fill_ept02() {
  using Q = ept::EptQualification;
  Vmcs& v = vmcs();
  const uint64_t seen = v[Field::kExitQualification];
  ept::EptAccess access;
  access.read = (seen & Q::kRead) != 0;
  access.write = (seen & Q::kWrite) != 0;
  access.fetch = (seen & Q::kFetch) != 0;
  access.purpose = (seen & Q::kLinearValid) == 0        ? ept::EptPurpose::kPdpteLoad
                   : (seen & Q::kLinearTranslated) != 0 ? ept::EptPurpose::kLinear
                                                        : ept::EptPurpose::kPagingEntry;
  const ept::EptState ept12 = *core_.ept_state();
  Ept02& tables = ept02(ept12.eptp.value);
  ept::Fill fill;
  for (int attempt = 0; attempt != 2; ++attempt) {
    fill = ept::fill_shadow_ept(core_.memory(), ept12, map_, tables,
                                ept::GuestPhysicalAddress{v[Field::kGuestPhysicalAddress]}, access);
    if (fill.outcome != ept::FillOutcome::kNoTables) break;
    for (auto& [key, other] : ept02_) other.get() == &tables ? other->clear() : other->destroy();
    cpu_.invalidate({});
  }
  cpu_.charge_walk(fill.counts.references);
  switch (fill.outcome) {
    case ept::FillOutcome::kFilled:
      ++counters_.shadow_fills;
      resume_interrupted((seen & Q::kNmiUnblocking) != 0);
      return true;
    case ept::FillOutcome::kViolation:
      v.write(Field::kExitQualification, fill.exit_qualification | (seen & Q::kNmiUnblocking));
      return false;
    case ept::FillOutcome::kMisconfiguration:
      v.write(Field::kExitReason, static_cast<uint32_t>(ExitReason::kEptMisconfiguration));
      v.write(Field::kExitQualification, 0);
      v.write(Field::kGuestLinearAddress, 0);
      return false;
    default:
      throw std::logic_error("L0 could not fill EPT02");
  }
}

void Hypervisor::fill_shadow_paging() {
  using Code = ept::PageFaultCode;
  const uint64_t linear = vmcs()[Field::kExitQualification];
  const auto code = static_cast<uint32_t>(vmcs()[Field::kVmExitInterruptionErrorCode]);
  const auto information = static_cast<uint32_t>(vmcs()[Field::kVmExitInterruptionInformation]);
  ept::Access access;
  access.kind = (code & Code::kFetch) != 0   ? ept::Access::kFetch
                : (code & Code::kWrite) != 0 ? ept::Access::kWrite
                                             : ept::Access::kRead;
  access.user = guest().cpl() == 3;
  access.implicit_supervisor = access.user && (code & Code::kUser) == 0;
  const ept::Fill fill = (level_ == 1 ? spt01_ : spt02_).fill(core_, map_, linear, access);
  cpu_.charge_walk(fill.counts.references);
  switch (fill.outcome) {
    case ept::FillOutcome::kFilled:
      ++counters_.shadow_fills;
      // A right that was missing before may be cached.
      cpu_.invalidate({});
      resume_interrupted((information & vmx::interruption::kNmiUnblocking) != 0);
      return;
    case ept::FillOutcome::kPageFault:
      raise(vmx::exception(vmx::kPf, fill.error_code, linear));
      return;
    default:
      throw std::logic_error("L0 could not fill shadow page tables");
  }
}

void Hypervisor::drop_l2_translations() {
  spt02_.clear();
  cpu_.invalidate({});
}

void Hypervisor::invalidate(const vmx::Invalidation& what) {
  using Kind = vmx::Invalidation::Kind;
  switch (what.kind) {
    case Kind::kGuestPhysicalEptp:
      for (const uint64_t flags : {uint64_t{0}, kAccessedDirty}) {
        const auto found = ept02_.find((what.eptp & kEp4ta) | flags);
        if (found != ept02_.end()) found->second->clear();
      }
      break;
    case Kind::kAllEptps:
      for (auto& [key, tables] : ept02_) tables->clear();
      break;
    case Kind::kLinearAddress:
    case Kind::kPcidAddress:
    case Kind::kPcid:
    case Kind::kPcidAndGlobals:
    case Kind::kVpidAddress:
    case Kind::kLinearVpid:
    case Kind::kVpidRetainingGlobals:
    case Kind::kAllVpids:
    case Kind::kPageFault:
    case Kind::kEptViolation:
    case Kind::kAccessRights:
      // VPID 0000H is L1's own, and L2's where L1 uses no VPIDs.
      if (what.vpid == 0) spt01_.clear();
      spt02_.clear();
      break;
    case Kind::kAll:
      (nested().in_non_root() ? spt02_ : spt01_).clear();
      break;
  }
  cpu_.invalidate({});
}

// --- what L0 keeps in memory for the processor

void Hypervisor::join_msr_bitmaps() {
  const Vmcs& vmcs12 = nested().current_vmcs();
  if (!vmcs12.has(vmx::PrimaryProcBased::kUseMsrBitmaps)) return;
  std::array<uint8_t, kPage> mine{}, theirs{};
  cpu_.read_physical({structures_.msr_bitmap01}, mine);
  core_.read_physical({vmcs12[Field::kMsrBitmaps]}, theirs);
  for (size_t i = 0; i < kPage; ++i) mine[i] = static_cast<uint8_t>(mine[i] | theirs[i]);
  cpu_.write_physical({structures_.msr_bitmap02}, mine);
}

void Hypervisor::publish_vmcs12() {
  if (!nested().current_vmcs_pointer()) return;
  Vmcs copy = nested().current_vmcs();
  copy.revision_id = processor().capabilities().revision_id;
  copy.shadow = true;
  std::array<uint8_t, vmx::kVmcsRegionSize> region{};
  copy.store(region);
  cpu_.write_physical({structures_.shadow_vmcs}, region);
}

void Hypervisor::fetch_vmcs12() {
  if (!nested().current_vmcs_pointer()) return;
  std::array<uint8_t, vmx::kVmcsRegionSize> region{};
  cpu_.read_physical({structures_.shadow_vmcs}, region);
  Vmcs copy;
  copy.load(region);
  Vmcs& vmcs12 = nested().edit_current_vmcs();
  for (const vmx::FieldInfo& info : vmx::kFields) vmcs12.write(info.field, copy[info.field]);
}

void Hypervisor::update_link_pointer() {
  vmcs().write(Field::kVmcsLinkPointer,
               nested().current_vmcs_pointer() ? structures_.shadow_vmcs : ~0ull);
}

}  // namespace nestor::emu
