// SPDX-License-Identifier: GPL-2.0-or-later
//
// L0: a hypervisor in the image of KVM, built into the machine. It runs in VMX root operation of
// each emulated processor, gives L1 a processor with VMX and a physical memory of its own, and runs
// L2 for it: VMX instructions of L1 trap to L0, VM exits of L2 go to L0 and are handled or
// reflected.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "emu/cpu/cpu.h"
#include "emu/decode/decoder.h"
#include "emu/l0/counters.h"
#include "emu/l0/guest_core.h"
#include "emu/l0/handler_prices.h"
#include "emu/l0/l0_memory.h"
#include "emu/l0/machine_map.h"
#include "emu/l0/mode.h"
#include "emu/l0/shadow_paging.h"
#include "emu/l0/vmcs_build.h"

namespace nestor::emu {

// On one logical processor; those of a machine share an L0Memory and nothing else.
class Hypervisor final : public RootSoftware, private vmx::EventSink {
 public:
  // All references outlive this object. `number` counts processors from 0; `events` hears of L1's
  // own VMX and may be null.
  Hypervisor(Cpu& cpu, unsigned number, L0Memory& memory, MachineEventSink* events);

  L0Counters counters() const;
  // The processor that L1 has, and where its memory is.
  GuestCore& l1_processor() { return core_; }
  const MachineMap& map() const { return map_; }

  // What is not in memory, which is to be loaded afterwards.
  void serialize(Archive& archive);

  // --- RootSoftware: the processor is in VMX root operation, after a VM exit; or outside VMX
  // operation, with L1 as the loader or a start-up IPI left it.
  void run() override;
  bool runs_l2() const override { return level_ == 2; }
  bool l1_in_vmx_operation() const override { return core_.in_vmx_operation(); }
  uint64_t guest_cr3() const override {
    return uses_ept() ? cpu_.core().state().cr3 : core_.state().cr3;
  }
  std::optional<StaleTranslationEvent> find_stale(const ept::CachedMapping& mapping,
                                                  uint64_t linear, ept::Access access,
                                                  bool ac) override;
  bool is_new(const StaleTranslationEvent& event) override;

 private:
  using Vmcs = vmx::Vmcs;

  // --- vmx::EventSink, of the processor's own VMX
  void vm_entry(const vmx::VmEntryEvent&) override { ++counters_.entries; }
  void vm_exit(const vmx::VmExitEvent& event) override;
  void check_failed(const vmx::CheckFailure& failure) override;

  // Makes L1 of what the processor would run, and the processor L0's.
  void take_processor();
  // INIT has made L1 wait for a start-up IPI: the processor does so itself, outside VMX operation.
  void release_processor();
  // L1 is in VMX root operation: L0 holds an INIT back until L1 leaves it.
  bool blocks_init() { return nested().in_vmx_operation() && !nested().in_non_root(); }

  // The state of who caused the VM exit, from the VMCS that ran it; and back.
  void take_guest();
  void put_guest();
  // Into `live`, a state that the processor ran with: what of it L0 owns and emulates.
  void restore_owned(vmx::CpuState& live, const vmx::CpuState& own) const;
  void enter();

  void handle_l1();
  void handle_l2();

  // --- what handlers cost, where a model of the core prices code; else a VM exit has one constant
  void spend(HandlerStep step, uint64_t times = 1);
  // An instruction of L1 has been emulated. `had_current`: with a current VMCS before it.
  void spend_on_instruction(vmx::ExitReason reason, bool had_current);
  void spend_on_reflection();
  void flush(const vmx::Invalidation& what);

  void emulate_instruction();
  void emulate_task_switch();
  void settle(const Outcome& outcome);
  // Into who runs: an event through its IDT, or a VM exit to L1.
  void raise(const vmx::Event& event);
  void inject(const vmx::Event& event);
  std::optional<vmx::Event> interrupted_event();
  void resume_interrupted(bool unblocked_by_iret);
  bool is_page_fault();
  void after_l2_emulation();
  void reflect();
  void begin_l2();
  // Which EPT stands between who runs and the machine, in the mode that walks two of them.
  void choose_machine_ept();

  using Ept02 = ept::ShadowTables<ept::ShadowEptFormat, L0Pages>;
  static constexpr size_t kMostEpt02 = 8;
  static constexpr size_t kMostTold = 4096;
  uint64_t ept02_key(uint64_t eptp12);
  Ept02& ept02(uint64_t eptp12);
  bool fill_ept02();
  void fill_shadow_paging();
  ShadowPaging& running_spt() { return level_ == 1 ? spt01_ : spt02_; }
  // After the pages for tables have run out: gives back all that what runs can be without. false:
  // the guest does not get on with what there is, and the run has ended.
  bool reclaim_tables();
  // What `filling()` comes to, which is tried once more behind reclaim_tables(). std::nullopt: the
  // run has ended.
  template <class Filling>
  std::optional<ept::Fill> fill_tables(const Filling& filling);
  void invalidate(const vmx::Invalidation& what);
  void drop_l2_translations();
  void drop_linear_translations(uint16_t vpid);

  // VMCS shadowing: VMCS12 is copied to where L1's VMREAD finds it, and back.
  void publish_vmcs12();
  void fetch_vmcs12();
  void update_vmcs_shadowing();

  void join_msr_bitmaps();
  // The guest needs what this mode has not.
  void give_up(std::string why);

  HardwareCore& hardware() { return cpu_.core(); }
  bool ended() { return hardware().around().turns.end().has_value(); }
  vmx::Vmx& processor() { return hardware().vmx(); }
  vmx::Vmx& nested() { return core_.vmx(); }
  Vmcs& vmcs() { return processor().edit_current_vmcs(); }
  vmx::CpuState& guest() { return core_.state(); }
  uint64_t tables_built() const { return pages_.built + low_pages_.built; }
  uint64_t tables_given_up() const { return pages_.zapped + low_pages_.zapped; }
  bool uses_ept() const { return info_of(config_.mode).l0_uses_ept; }

  Cpu& cpu_;
  L0Memory& memory_;
  const L0Config& config_;
  MachineEventSink* const events_;
  const MachineMap& map_;
  L0Pages pages_, low_pages_;
  GuestCore core_;
  Decoder decoder_;
  const L0Structures structures_;
  // EPT02 by `ept02_key` of the EPT12 that it shadows.
  std::map<uint64_t, std::unique_ptr<Ept02>> ept02_;
  ShadowPaging spt01_, spt02_;
  std::optional<ept::EptState> two_level_ept_;  // EPT01, in the mode that needs it below EPT12
  std::optional<uint16_t> last_vpid12_;
  int level_ = 1;             // who runs, or caused the VM exit: L1 or L2
  bool entering_l2_ = false;  // L1 has just executed VMLAUNCH or VMRESUME
  bool init_held_ = false;    // an INIT came while blocks_init()
  L0Counters counters_;
  const std::optional<HandlerPrices> handler_prices_;
  // Times that tables were reclaimed since an instruction was last completed, and when that was.
  unsigned futile_reclaims_ = 0;
  uint64_t instructions_at_reclaim_ = 0;
  std::string failed_check_;
  // The stale translations that were told, by what translates and by page; until the guests
  // invalidate anything.
  std::set<std::pair<uint64_t, uint64_t>> told_;
};

}  // namespace nestor::emu
