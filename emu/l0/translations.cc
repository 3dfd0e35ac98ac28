// SPDX-License-Identifier: GPL-2.0-or-later
//
// L0's shadow tables: filled where an access misses, emptied where L1 invalidates.
#include <array>
#include <stdexcept>

#include "emu/cpu/stale_translation.h"
#include "emu/l0/hypervisor.h"
#include "emu/memory/page_size.h"

namespace nestor::emu {
namespace {

using vmx::ExitReason;
using vmx::Field;

constexpr uint64_t kEptpAccessedDirty = 1 << 6;
constexpr uint64_t kEp4ta = ((1ull << 52) - 1) & ~0xfffull;
// An event that is delivered before the first instruction, and one that its delivery raises, need
// pages of their own.
constexpr unsigned kMostFutileReclaims = 8;

// The bits of the EPTP that EPT02 belongs to, and one for mode-based execute control.
constexpr uint64_t kModeBasedExecute = 1;
static_assert(((kEp4ta | kEptpAccessedDirty) & kModeBasedExecute) == 0);
constexpr std::array<uint64_t, 4> kEpt02Kinds = {0, kEptpAccessedDirty, kModeBasedExecute,
                                                 kEptpAccessedDirty | kModeBasedExecute};

}  // namespace

// EPT02 belongs to an EP4TA of L1, to what its A/D bit says and to how execution is controlled.
uint64_t Hypervisor::ept02_key(uint64_t eptp12) {
  const bool mode_based = nested().secondary(vmx::SecondaryProcBased::kModeBasedExecuteControl);
  return (eptp12 & (kEp4ta | kEptpAccessedDirty)) | (mode_based ? kModeBasedExecute : 0);
}

Hypervisor::Ept02& Hypervisor::ept02(uint64_t eptp12) {
  const uint64_t key = ept02_key(eptp12);
  if (!ept02_.contains(key)) {
    if (ept02_.size() == kMostEpt02) {
      ept02_.clear();
      flush({});
    }
    ept02_[key] = std::make_unique<Ept02>(pages_);
  }
  return *ept02_[key];
}

template <class Filling>
std::optional<ept::Fill> Hypervisor::fill_tables(const Filling& filling) {
  ept::Fill fill = filling();
  if (fill.outcome == ept::FillOutcome::kNoTables) {
    if (!reclaim_tables()) return std::nullopt;
    fill = filling();
  }
  if (handler_prices_) {
    spend(HandlerStep::kWalkedEntry, fill.counts.references);
  } else {
    hardware().around().prices.charge_walk(fill.counts.references);
  }
  return fill;
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
  access.linear_user = (seen & Q::kLinearUser) != 0;
  access.linear_writable = (seen & Q::kLinearWritable) != 0;
  access.linear_execute_disable = (seen & Q::kLinearExecuteDisable) != 0;
  const ept::EptState ept12 = *core_.ept_state();
  Ept02& tables = ept02(ept12.eptp.value);
  const ept::GuestPhysicalAddress address{v[Field::kGuestPhysicalAddress]};
  const auto fill = fill_tables(
      [&] { return ept::fill_shadow_ept(core_.memory(), ept12, map_, tables, address, access); });
  if (!fill) return true;
  switch (fill->outcome) {
    case ept::FillOutcome::kFilled:
      ++counters_.shadow_fills;
      spend(HandlerStep::kEptFill);
      resume_interrupted((seen & Q::kNmiUnblocking) != 0);
      return true;
    case ept::FillOutcome::kViolation:
      v.write(Field::kExitQualification, fill->exit_qualification | (seen & Q::kNmiUnblocking));
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
  const auto fill = fill_tables([&] { return running_spt().fill(core_, map_, linear, access); });
  if (!fill) return;
  switch (fill->outcome) {
    case ept::FillOutcome::kFilled:
      ++counters_.shadow_fills;
      spend(HandlerStep::kPagingFill);
      // A right that was missing before may be cached.
      flush({});
      resume_interrupted((information & vmx::interruption::kNmiUnblocking) != 0);
      return;
    case ept::FillOutcome::kPageFault:
      raise(vmx::exception(vmx::kPf, fill->error_code, linear));
      return;
    default:
      throw std::logic_error("L0 could not fill shadow page tables");
  }
}

// The tables of what runs are only cleared: the processor keeps their root.
bool Hypervisor::reclaim_tables() {
  const auto eptp12 = nested().eptp();
  for (auto& [key, tables] : ept02_) {
    const bool runs = level_ == 2 && eptp12 && key == ept02_key(*eptp12);
    runs ? tables->clear() : tables->destroy();
  }
  for (ShadowPaging* tables : {&spt01_, &spt02_}) {
    tables == &running_spt() ? tables->clear() : tables->destroy();
  }
  flush({});
  if (hardware().context().instructions != instructions_at_reclaim_) {
    instructions_at_reclaim_ = hardware().context().instructions;
    futile_reclaims_ = 0;
  }
  if (++futile_reclaims_ != kMostFutileReclaims) return true;
  give_up(
      "one instruction accesses more than L0 can map with so few pages for its tables; "
      "raise --shadow-pages");
  return false;
}

void Hypervisor::drop_l2_translations() {
  spt02_.clear();
  drop_linear_translations(kVpid02);
}

void Hypervisor::drop_linear_translations(uint16_t vpid) {
  flush({.kind = vmx::Invalidation::Kind::kLinearVpid, .vpid = vpid});
}

// --- what the processor keeps, and what L0's tables hold longer than those of L1 and L2

std::optional<StaleTranslationEvent> Hypervisor::find_stale(const ept::CachedMapping& mapping,
                                                            uint64_t linear, ept::Access access,
                                                            bool ac) {
  vmx::CpuState live = hardware().state();
  restore_owned(live, guest());
  const std::optional<ept::EptState> ept12 = core_.ept_state();
  const uint64_t offset = mapping.offset(linear), output = mapping.output | offset;
  const bool above_ept01 = config_.mode == L0Mode::kTwoLevel && ept12;
  const uint64_t rflags = ac ? live.rflags | vmx::rflags::kAc : live.rflags & ~vmx::rflags::kAc;
  return emu::find_stale(core_.memory(), emu::paging_state(nested(), live, rflags),
                         ept12 ? &*ept12 : nullptr,
                         {.linear = linear,
                          .access = access,
                          .guest_physical = mapping.guest_physical | offset,
                          .physical = above_ept01 ? output : map_.l1({output}).value,
                          .dirty = mapping.dirty,
                          .non_root = level_ == 2,
                          .vpid = level_ == 2 ? nested().vpid() : uint16_t{0},
                          .pcid = live.pcid()});
}

// An entry of EPT02 is for a guest-physical page.
bool Hypervisor::is_new(const StaleTranslationEvent& event) {
  const uint64_t level = event.non_root ? 2 : 1;
  const uint64_t address = event.ept_root ? event.cached_guest_physical : event.linear;
  if (told_.size() == kMostTold) return false;
  return told_.emplace(event.ept_root.value_or(0) | level, address / kPageSize).second;
}

void Hypervisor::invalidate(const vmx::Invalidation& what) {
  using Kind = vmx::Invalidation::Kind;
  told_.clear();
  switch (what.kind) {
    case Kind::kGuestPhysicalEptp:
      for (const uint64_t kind : kEpt02Kinds) {
        const auto found = ept02_.find((what.eptp & kEp4ta) | kind);
        if (found != ept02_.end()) found->second->clear();
      }
      flush({});
      break;
    case Kind::kAllEptps:
      for (auto& [key, tables] : ept02_) tables->clear();
      flush({});
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
      if (what.vpid == 0) {
        spt01_.clear();
        drop_linear_translations(kVpid01);
      }
      drop_l2_translations();
      break;
    case Kind::kAll:
      (nested().in_non_root() ? spt02_ : spt01_).clear();
      flush({});
      break;
  }
}

}  // namespace nestor::emu
