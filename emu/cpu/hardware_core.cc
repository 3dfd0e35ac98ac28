// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/hardware_core.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <utility>

#include "emu/cpu/instruction_step.h"
#include "emu/cpu/msrs.h"
#include "emu/memory/page_size.h"
#include "ept/pae.h"
#include "vmx/capabilities.h"
#include "vmx/features.h"

namespace nestor::emu {

HardwareCore::HardwareCore(unsigned number, const Surroundings& around, LocalApic& apic)
    : number_(number),
      around_(around),
      apic_(apic),
      exit_log_(number, around.turns, around.events),
      vmx_events_(around.prices, &exit_log_),
      vmx_(vmx::capabilities_of(around.config.type), *this, vmx_events_),
      mmu_(around.memory, state_, vmx_, around.prices, around.events),
      context_(number, around.config.tlb == TlbModel::kTagged
                           ? ExecutionContext::Retention::kKeep
                           : ExecutionContext::Retention::kForget),
      port_(state_, mmu_, vmx_, around.memory, apic, around.bus, context_, around.prices),
      waiting_(around.memory, around.turns),
      random_numbers_(around.config.random_seed + number) {
  if (around.block_prices != nullptr) {
    timing_ = std::make_unique<timing::Core>(*around.block_prices);
    vmx_events_.set_timing(*timing_);
    performance_monitor_.count_core_events();
    if (timing_->follows_accesses()) performance_monitor_.count_cache_events();
    mmu_.charge_by(timing_->translations());
  }
  if (around.profiler != nullptr) vmx_events_.set_profiler(*around.profiler);
  if (around.config.tlb != TlbModel::kKeep) return;
  caches_ = std::make_unique<TranslationCaches>();
  mmu_.use(*caches_);
}

void HardwareCore::reset(const vmx::CpuState& state) {
  reset_msrs(*this);
  const vmx::CpuState after_reset = state_;
  state_ = state;
  state_.pat = after_reset.pat;
  state_.misc_enable = after_reset.misc_enable;
  state_.perf_global_ctrl = after_reset.perf_global_ctrl;
  context_.request_flush();
}

void HardwareCore::serialize(Archive& archive) {
  archive(state_);
  exit_log_.serialize(archive);
  vmx_.serialize(archive);
  mmu_.serialize(archive);
  if (caches_) caches_->serialize(archive);
  if (timing_) timing_->serialize(archive);
  context_.serialize(archive);
  waiting_.serialize(archive);
  archive(msr_storage_);
  performance_monitor_.serialize(archive);
  random_numbers_.serialize(archive);
  archive(tsc_offset_, injected_, outside_ram_);
  ExtendedState extended;
  if (!archive.loads()) around_.engine.read_extended(number_, extended);
  archive(extended);
  if (!archive.loads()) return;
  around_.engine.write_extended(number_, extended);
  // The engine maps what is RAM, and lets nobody write where it is read-only.
  const auto fits = [this](const FillCache::Fill& fill) {
    return fill.grant.physical % kPageSize == 0 &&
           around_.memory.is_device(fill.grant.physical, fill.grant.device || fill.grant.write) ==
               fill.grant.device;
  };
  for (const AddressSpace& space : context_.spaces()) {
    archive.require(std::ranges::all_of(space.fills.all(), fits));
  }
}

std::optional<TranslationCounts> HardwareCore::translation_counts() const {
  return caches_ ? std::optional(caches_->counts()) : std::nullopt;
}

void HardwareCore::set_root_software(RootSoftware& root, vmx::EventSink& listener) {
  root_ = &root;
  mmu_.set_root_software(root);
  vmx_events_.set_listener(listener);
  vmx_events_.belong_to_l0();
}

profile::Profiler* HardwareCore::told_profiler() {
  const bool l2 = in_l2();
  const auto vmcs = l2 ? vmx_.current_vmcs_pointer() : std::nullopt;
  around_.profiler->run_level(l2 ? 2 : 1, vmcs ? vmcs->value : 0);
  return around_.profiler;
}

std::optional<Instruction> HardwareCore::instruction_at_rip() {
  return fetch_instruction(*this, decoder_).instruction;
}

uint8_t HardwareCore::instruction_length() {
  const auto instruction = instruction_at_rip();
  return instruction ? instruction->length : uint8_t{0};
}

std::optional<vmx::Event> HardwareCore::take_injected() {
  return std::exchange(injected_, std::nullopt);
}

// "VMX-Preemption Timer": a processor that waits for a start-up IPI does not heed it.
uint64_t HardwareCore::preemption_timer_due() const {
  if (!vmx_.in_non_root() || state_.activity == vmx::ActivityState::kWaitForSipi) return ~0ull;
  return vmx_.preemption_deadline().value_or(~0ull);
}

PerformanceMonitor::Progress HardwareCore::progress() const {
  return {context_.instructions, clock().cycles(),
          timing_ ? timing_->events() : timing::CoreEvents{}};
}

void HardwareCore::count_performance(uint8_t cpl) {
  performance_monitor_.advance(progress(), cpl, state_.perf_global_ctrl);
  if (performance_monitor_.take_interrupt()) apic_.performance_interrupt();
}

void HardwareCore::skip_performance() { performance_monitor_.skip(progress()); }

PerformanceMonitor& HardwareCore::performance_monitor() {
  count_performance(state_.cpl());
  return performance_monitor_;
}

std::string HardwareCore::named_here(std::string what) const {
  if (processors() > 1) {
    what += (what.empty() ? "processor " : " of processor ") + std::to_string(number_);
  }
  return what;
}

void HardwareCore::shut_down(uint64_t rip) {
  char where[64];
  std::snprintf(where, sizeof where, "triple fault at RIP %#llx",
                static_cast<unsigned long long>(rip));
  around_.turns.finish({RunEnd::Kind::kShutdown, 0, named_here(where)});
}

void HardwareCore::note_outside_ram(ImplicitMemory what, uint64_t linear) {
  std::optional<uint64_t>& first = outside_ram_[static_cast<size_t>(what)];
  if (first) return;
  first = linear;
  if (around_.events == nullptr) return;
  around_.events->outside_ram({what, linear, state_.rip, !state_.protected_mode(), in_l2()});
}

void HardwareCore::vmx_abort(uint32_t indicator) {
  if (around_.events != nullptr) around_.events->vmx_abort(indicator);
  around_.turns.finish({RunEnd::Kind::kVmxAbort, indicator, named_here({})});
}

bool HardwareCore::read_physical(ept::PhysicalAddress address, std::span<uint8_t> out) {
  if (around_.memory.read(address.value, out)) return true;
  std::ranges::fill(out, uint8_t{0xff});
  return false;
}

bool HardwareCore::write_physical(ept::PhysicalAddress address, std::span<const uint8_t> data) {
  return around_.memory.write(address.value, data);
}

// VMREAD and VMWRITE of a shadow VMCS have their operands in VMX non-root operation: an access that
// EPT refuses takes its VM exit here.
std::optional<vmx::Event> HardwareCore::as_event(const std::optional<Fault>& fault) {
  if (!fault) return std::nullopt;
  if (const auto* event = std::get_if<vmx::Event>(&*fault)) return *event;
  return take_ept_exit(*this, decoder_, std::get<EptExit>(*fault)).value_or(vmx::Event{});
}

std::optional<vmx::Event> HardwareCore::read_linear(uint64_t linear, std::span<uint8_t> out) {
  return as_event(read(linear, out, Privilege::kCurrent));
}

std::optional<vmx::Event> HardwareCore::write_linear(uint64_t linear,
                                                     std::span<const uint8_t> data) {
  return as_event(write(linear, data, Privilege::kCurrent));
}

void HardwareCore::invalidate(const vmx::Invalidation& what) {
  if (timing_) timing_->translations().invalidate(what);
  if (around_.config.tlb == TlbModel::kTagged) return context_.invalidate(what);
  context_.request_flush();
  if (caches_) caches_->invalidate(what);
}

std::optional<Fault> HardwareCore::reload_pdptes(uint64_t cr3) {
  std::array<uint64_t, 4> pdptes{};
  if (auto fault = mmu_.read_pdptes(cr3, pdptes)) return fault;
  return set_pdptes(pdptes);
}

void HardwareCore::read_extended_state(ExtendedState& state) {
  around_.engine.read_extended(number_, state);
}

void HardwareCore::write_extended_state(const ExtendedState& state) {
  around_.engine.write_extended(number_, state);
}

void HardwareCore::watch_line(uint64_t linear) {
  const auto physical =
      mmu_.probe(linear, port_.access(ept::Access::kRead, Privilege::kCurrent), state_.rflags);
  // Device memory is not watched.
  state_.monitor_armed =
      std::holds_alternative<uint64_t>(physical) && waiting_.watch(std::get<uint64_t>(physical));
}

void HardwareCore::set_tsc(uint64_t value) {
  tsc_offset_ = value - clock().cycles();
  apic_.set_tsc_offset(tsc_offset_);
}

}  // namespace nestor::emu
