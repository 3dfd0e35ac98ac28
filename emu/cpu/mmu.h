// SPDX-License-Identifier: GPL-2.0-or-later
//
// Linear-address translation of the running processor: paging alone, or paging over EPT.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "emu/cpu/memory_fault.h"
#include "emu/cpu/root_software.h"
#include "emu/cpu/translation_caches.h"
#include "emu/cpu/walk_reports.h"
#include "emu/engine/execution_context.h"
#include "emu/events/events.h"
#include "emu/memory/physical_memory.h"
#include "emu/time/prices.h"
#include "emu/timing/translation_costs.h"
#include "ept/walk.h"
#include "vmx/vmx.h"

namespace nestor::emu {

// A translation, and what else its page may be used for without another walk.
struct Translation {
  uint64_t physical = 0;  // of the very byte
  bool read = false, write = false, execute = false;
  bool by_sub_page = false;  // this write may be made, `access.size` bytes of it, and no other

  void fields(Archive& archive) { archive(physical, read, write, execute, by_sub_page); }
};

// --- what the engine's TLB is granted, by a walk of the engine or one of the model

// Under which the grant of this access is kept; `rflags`: for AC.
inline uint64_t grant_key(const vmx::CpuState& state, uint64_t linear, ept::Access access,
                          uint64_t rflags) {
  const FillAccess kind = access.kind == ept::Access::kFetch   ? FillAccess::kFetch
                          : access.kind == ept::Access::kWrite ? FillAccess::kWrite
                                                               : FillAccess::kRead;
  if ((state.cr0 & vmx::cr0::kPg) == 0) return FillCache::key(linear, kind, false, false);
  const bool exempt = (state.cr4 & vmx::cr4::kSmap) != 0 && (rflags & vmx::rflags::kAc) != 0 &&
                      kind != FillAccess::kFetch && !access.user && !access.implicit_supervisor;
  return FillCache::key(linear, kind, access.user_mode(), exempt);
}
// Takes off a grant, for a write or for another access, what the page's memory does not bear, and
// says whether it meets a device.
void confine(TlbGrant& grant, bool write, const PhysicalMemory& memory);
// What the whole page is granted after this access.
TlbGrant grant_of(const Translation& translation, ept::Access access, const PhysicalMemory& memory);
// The translations that this processor uses in this state.
ept::MappingTag mapping_tag(const vmx::Vmx& vmx, const vmx::CpuState& state);
// And all else that decides them.
AddressSpaceId address_space(const vmx::Vmx& vmx, const vmx::CpuState& state);

// What decides the linear-address translation of a processor with this VMX in this state; `rflags`:
// for AC.
ept::PagingState paging_state(const vmx::Vmx& vmx, const vmx::CpuState& state, uint64_t rflags);
// The same of the guest-physical-address translation through `eptp`, in non-root operation.
ept::EptState ept_state(const vmx::Vmx& vmx, uint64_t eptp);

class Mmu {
 public:
  // `events` may be null.
  Mmu(PhysicalMemory& memory, const vmx::CpuState& state, vmx::Vmx& vmx, Prices& prices,
      MachineEventSink* events)
      : memory_(memory), state_(state), vmx_(vmx), prices_(prices), events_(events) {}

  // From now on translations come from `caches` where they are cached. To be called before the
  // first translation, with caches that outlive this object.
  void use(TranslationCaches& caches) { caches_ = &caches; }
  // What translations cost is for this to say, which outlives this object.
  void charge_by(timing::TranslationCosts& costs) { costs_ = &costs; }
  // What runs in VMX root operation is part of the emulator, and knows which tables count.
  void set_root_software(RootSoftware& root) { root_ = &root; }

  // A walk that faults and is made again, to the exact address, is accounted for only then.
  enum class Account : uint8_t { kAlways, kUnlessFault };

  // `rflags`: the live ones, for AC. Sets accessed and dirty flags, charges and reports the walk.
  std::variant<Translation, Fault> translate(uint64_t linear, ept::Access access, uint64_t rflags,
                                             Account account = Account::kAlways);

  // The same as translate(), of an access that translate() has refused with kUnlessFault for the
  // page of `linear`: where nothing has changed since, that walk is accounted for and not made
  // again.
  std::variant<Translation, Fault> translate_refused(uint64_t linear, ept::Access access,
                                                     uint64_t rflags);

  // The physical address alone, without any effect.
  std::variant<uint64_t, Fault> probe(uint64_t linear, ept::Access access, uint64_t rflags);

  // The access was translated before, and that may still be in use: what a walk for it costs now,
  // in cycles, beside which it has no effect. With charge_by().
  uint64_t walk_again(uint64_t linear, ept::Access access, uint64_t rflags);

  // What refuses the access of a page fault, from a static table; empty where the tables are not
  // those of who has the fault. Has no effect, and costs nothing but the host's time.
  std::string_view explain_page_fault(uint64_t linear, uint32_t error_code, uint64_t rflags);

  // Reads the PDPTEs that `cr3` references, through EPT where it is on, without checking them.
  std::optional<Fault> read_pdptes(uint64_t cr3, std::array<uint64_t, 4>& pdptes);

  // A further EPT below all others: physical addresses of a guest that runs on EPT are translated
  // by it in turn. For a processor that walks EPT12 over EPT01 itself.
  void set_machine_ept(const std::optional<ept::EptState>& ept) { machine_ept_ = ept; }

  // Memory references of all walks that were charged.
  uint64_t walk_references() const { return walk_references_; }
  // All but the EPT below all others, which is whoever has set it to know. A walk that was refused
  // is accounted for before the processor stands still.
  void serialize(Archive& archive) {
    archive(walk_references_);
    if (archive.loads()) refused_.reset();
  }

 private:
  // `steps`: all of the walk's, where what it costs depends on them.
  // `physical`: the machine address that it leads to.
  template <class Walk>
  timing::TimedWalk timed(uint64_t linear, ept::Access access, const Walk& walk, uint64_t physical,
                          std::span<const ept::Step> steps) const;
  template <class Walk>
  void charge(uint64_t linear, ept::Access access, const Walk& walk, uint64_t physical,
              unsigned references, std::span<const ept::Step> steps) {
    charge(timed(linear, access, walk, physical, steps), references);
  }
  uint64_t walk_over_ept_again(uint64_t linear, ept::Access access, const ept::PagingState& paging,
                               const ept::EptState& ept);
  void charge(const timing::TimedWalk& walk, unsigned references);
  void charge_references(unsigned references) {
    walk_references_ += references;
    prices_.charge_walk(references);
  }
  bool wants_steps() const { return costs_ != nullptr; }
  WalkSubject subject(std::optional<uint64_t> linear, ept::Access access,
                      const ept::PagingState& paging) const {
    return {linear, access, paging, state_.cpl(), vmx_.in_non_root()};
  }
  void explain_misconfiguration(uint64_t linear, ept::Access access, uint64_t rflags, uint64_t eptp,
                                Account account);
  template <class Recorder>
  std::optional<EptExit> read_pdptes_over_ept(uint64_t cr3, std::array<uint64_t, 4>& pdptes,
                                              const ept::EptState& state, Recorder& recorder);
  template <class Recorder>
  std::variant<Translation, Fault> walk_paging(uint64_t linear, ept::Access access,
                                               const ept::PagingState& paging, Account account,
                                               Recorder& recorder);
  std::variant<Translation, Fault> translate_over_ept(uint64_t linear, ept::Access access,
                                                      uint64_t rflags, uint64_t eptp,
                                                      Account account);
  std::variant<uint64_t, Fault> probe_over_ept(uint64_t linear, ept::Access access,
                                               const ept::PagingState& paging,
                                               const ept::EptState& ept);
  template <class Recorder>
  std::variant<Translation, Fault> translate_nested(uint64_t linear, ept::Access access,
                                                    uint64_t rflags, uint64_t eptp, Account account,
                                                    Recorder& recorder);
  // In non-root operation with EPT.
  std::optional<ept::EptState> current_ept() const;
  std::optional<Translation> find_cached(uint64_t linear, ept::Access access, uint64_t rflags);
  // Below the EPT below all others, where there is one.
  uint64_t machine_address(uint64_t physical);
  // Into the caches, where there are any.
  template <class Walk>
  void keep(uint64_t linear, ept::Access access, const ept::PagingState& paging,
            const ept::EptState* ept, const Walk& walk);
  // Reports `mapping`, which is about to be used for the access, if the tables disagree.
  void compare_with_tables(TranslationCaches::Mapping& mapping, uint64_t linear, ept::Access access,
                           const ept::PagingState& paging, const ept::EptState* ept);
  template <class Memory, class Recorder>
  std::variant<Translation, Fault> walk_nested(Memory& memory, uint64_t linear, ept::Access access,
                                               uint64_t rflags, uint64_t eptp, Account account,
                                               Recorder& recorder);

  // The last walk that was refused and not accounted for.
  struct RefusedWalk {
    uint64_t page = 0;  // its number
    ept::Access access{};
    bool ac = false;
    unsigned references = 0;
    Fault fault{};
    uint64_t guest_physical = 0;       // that EPT refused, if it did
    bool offset_is_physical = false;   // what EPT refused is the page itself, not a table
    std::optional<WalkEvent> event{};  // if somebody wants it; its steps are `steps`
    std::vector<ept::Step> steps{};    // if somebody wants the event, or they decide the cost
  };
  RefusedWalk& keep_refused(uint64_t linear, ept::Access access, bool ac, unsigned references,
                            const Fault& fault);

  PhysicalMemory& memory_;
  const vmx::CpuState& state_;
  vmx::Vmx& vmx_;
  Prices& prices_;
  MachineEventSink* events_;
  std::optional<ept::EptState> machine_ept_;
  uint64_t walk_references_ = 0;
  TranslationCaches* caches_ = nullptr;
  timing::TranslationCosts* costs_ = nullptr;  // null: a constant for each reference
  RootSoftware* root_ = nullptr;
  std::optional<RefusedWalk> refused_;
};

}  // namespace nestor::emu
