// SPDX-License-Identifier: GPL-2.0-or-later
//
// L0: a hypervisor in the image of KVM, built into the machine. It runs in VMX root operation of
// the emulated processor, gives L1 a processor with VMX and a physical memory of its own, and runs
// L2 for it: VMX instructions of L1 trap to L0, VM exits of L2 go to L0 and are handled or
// reflected.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "emu/cpu/cpu.h"
#include "emu/decode/decoder.h"
#include "emu/l0/counters.h"
#include "emu/l0/guest_core.h"
#include "emu/l0/machine_map.h"
#include "emu/l0/mode.h"
#include "emu/l0/shadow_paging.h"
#include "emu/l0/vmcs_build.h"

namespace nestor::emu {

class Hypervisor final : public RootSoftware, private vmx::EventSink {
 public:
  // Where the machine's RAM is to be for this L0, `Ram::Placement`.
  static Ram::Placement placement();

  // All references outlive this object. `events` hears of L1's own VMX; it may be null.
  Hypervisor(Cpu& cpu, const Ram& ram, const L0Config& config, MachineEventSink* events);

  // L1 as the loader left it. The processor runs it from now on.
  void start(const vmx::CpuState& l1);

  L0Counters counters() const;

  // --- RootSoftware: the processor is in VMX root operation, after a VM exit.
  void run() override;
  bool runs_l2() const override { return level_ == 2; }

 private:
  using Vmcs = vmx::Vmcs;

  // --- vmx::EventSink, of the processor's own VMX
  void vm_entry(const vmx::VmEntryEvent&) override { ++counters_.entries; }
  void vm_exit(const vmx::VmExitEvent& event) override;
  void check_failed(const vmx::CheckFailure& failure) override;

  // The state of who caused the VM exit, from the VMCS that ran it; and back.
  void take_guest();
  void put_guest();
  void enter();

  void handle_l1();
  void handle_l2();
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

  using Ept02 = ept::ShadowTables<ept::ShadowEptFormat, L0Pages>;
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

  // VMCS shadowing: VMCS12 is copied to where L1's VMREAD finds it, and back.
  void publish_vmcs12();
  void fetch_vmcs12();
  void update_link_pointer();

  void set_up_ept01();
  void set_up_bitmaps();
  void join_msr_bitmaps();
  void set_bit(uint64_t page, uint32_t bit);
  void stop(RunResult::Kind kind, std::string detail);

  vmx::Vmx& processor() { return cpu_.vmx(); }
  vmx::Vmx& nested() { return core_.vmx(); }
  Vmcs& vmcs() { return cpu_.vmx().edit_current_vmcs(); }
  vmx::CpuState& guest() { return core_.state(); }
  bool uses_ept() const { return info_of(config_.mode).l0_uses_ept; }

  Cpu& cpu_;
  const L0Config config_;
  MachineEventSink* const events_;
  vmx::EventSink silence_;
  const MachineMap map_;
  L0Pages pages_, low_pages_, structure_pages_;
  GuestCore core_;
  Decoder decoder_;
  L0Structures structures_;
  ept::ShadowTables<ept::ShadowEptFormat, L0Pages> ept01_;
  // EPT02 by `ept02_key` of the EPT12 that it shadows.
  std::map<uint64_t, std::unique_ptr<Ept02>> ept02_;
  ShadowPaging spt01_, spt02_;
  std::optional<ept::EptState> two_level_ept_;  // EPT01, in the mode that needs it below EPT12
  std::optional<uint16_t> last_vpid12_;
  bool started_ = false;      // the first VM entry has been made
  int level_ = 0;             // who runs, or caused the VM exit: L1 or L2
  bool entering_l2_ = false;  // L1 has just executed VMLAUNCH or VMRESUME
  L0Counters counters_;
  // Times that tables were reclaimed since an instruction was last completed, and when that was.
  unsigned futile_reclaims_ = 0;
  uint64_t instructions_at_reclaim_ = 0;
  std::string failed_check_;
};

}  // namespace nestor::emu
