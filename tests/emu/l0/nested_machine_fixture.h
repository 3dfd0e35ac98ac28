// SPDX-License-Identifier: GPL-2.0-or-later
//
// A guest in VMX non-root operation on a whole machine. The hypervisor is a dozen instructions; its
// VMCS is written before the run, and its EPT maps every address to itself.
#pragma once

#include "tests/emu/machine/machine_fixture.h"
#include "vmx/capabilities.h"
#include "vmx/exit_reasons.h"
#include "vmx/vmcs.h"

namespace nestor::emu {

class NestedMachineTest : public MachineTest {
 protected:
  //   b000 operands of VMXON and VMPTRLD   c000 VMXON region   d000 VMCS   e000 bitmaps
  //   10000 EPT   20000 pages for tests   110000 guest   118000 where VM exits lead
  static constexpr uint64_t kVmxonRegion = 0xc000, kVmcsRegion = 0xd000, kBitmaps = 0xe000,
                            kEpt = 0x10000, kEptPageTable = kEpt + 0x6000, kScratch = 0x20000,
                            kGuest = 0x110000, kExitHandler = 0x118000;
  static constexpr uint64_t kEptAll = 7, kEptUserExecute = 1u << 10, kEptDirty = 1u << 9,
                            kEptAccessedDirty = 1u << 6;

  vmx::Vmcs vmcs_;

  NestedMachineTest() {
    config_.processor.lock_feature_control = false;  // the hypervisor does that
    using vmx::Field;
    const vmx::Capabilities offered = vmx::nestor_capabilities();
    vmcs_.revision_id = offered.revision_id;
    const auto set = [&](Field field, uint64_t value) { vmcs_.write(field, value); };
    set(Field::kPinBasedControls, offered.pin.must_be_one());
    set(Field::kPrimaryProcBasedControls, offered.primary.must_be_one());
    set(Field::kVmExitControls,
        offered.exit.must_be_one() | mask(vmx::VmExitControl::kHostAddressSpaceSize));
    set(Field::kVmEntryControls,
        offered.entry.must_be_one() | mask(vmx::VmEntryControl::kIa32eModeGuest));
    set(Field::kVmcsLinkPointer, ~0ull);
    set(Field::kHostCr0, cpu_.cr0);
    set(Field::kHostCr3, kPml4);
    set(Field::kHostCr4, cpu_.cr4 | vmx::cr4::kVmxe);
    for (const Field field :
         {Field::kHostEsSelector, Field::kHostSsSelector, Field::kHostDsSelector,
          Field::kHostFsSelector, Field::kHostGsSelector})
      set(field, kData64);
    set(Field::kHostCsSelector, kCode64);
    set(Field::kHostTrSelector, kTssSelector);
    set(Field::kHostTrBase, kTss);
    set(Field::kHostGdtrBase, kGdt);
    set(Field::kHostIdtrBase, kIdt);
    set(Field::kHostRip, kExitHandler);
    set(Field::kHostRsp, kStack);

    set(Field::kGuestCr0, cpu_.cr0);
    set(Field::kGuestCr3, kPml4);
    set(Field::kGuestCr4, cpu_.cr4 | vmx::cr4::kVmxe);
    set(Field::kGuestDr7, 0x400);
    set_guest_segments(cpu_);
    set(Field::kGuestGdtrBase, kGdt);
    set(Field::kGuestGdtrLimit, cpu_.gdtr.limit);
    set(Field::kGuestIdtrBase, kIdt);
    set(Field::kGuestIdtrLimit, cpu_.idtr.limit);
    set(Field::kGuestRip, kGuest);
    set(Field::kGuestRsp, kKernelStack);
    set(Field::kGuestRflags, 2);

    // The first 2 MiB in pages of 4 KiB, the rest of 4 GiB in pages of 2 MiB.
    put<uint64_t>(kEpt, (kEpt + 0x1000) | kEptAll);
    for (uint64_t i = 0; i < 4; ++i) {
      const uint64_t directory = kEpt + 0x2000 + i * kPage;
      put(kEpt + 0x1000 + 8 * i, directory | kEptAll | kEptUserExecute);
      for (uint64_t j = 0; j < 512; ++j)
        put(directory + 8 * j, ((i << 30) + (j << 21)) | kEptAll | kEptUserExecute | 0x80);
    }
    put<uint64_t>(kEpt, (kEpt + 0x1000) | kEptAll | kEptUserExecute);
    put<uint64_t>(kEpt + 0x2000, kEptPageTable | kEptAll | kEptUserExecute);
    for (uint64_t i = 0; i < 512; ++i) map_guest(i << 12, (i << 12) | kEptAll | kEptUserExecute);
  }

  void set_guest_segments(const vmx::CpuState& guest) {
    for (uint8_t i = 0; i < vmx::kSegmentCount; ++i) {
      const vmx::Segment& segment = guest.segment[i];
      vmcs_.write(vmx::guest_selector(i), segment.selector);
      vmcs_.write(vmx::guest_limit(i), segment.limit);
      vmcs_.write(vmx::guest_base(i), segment.base);
      vmcs_.write(vmx::guest_access_rights(i), segment.rights.value);
    }
  }

  void enable(vmx::PinBased control) { add(vmx::Field::kPinBasedControls, mask(control)); }
  void enable(vmx::PrimaryProcBased control) {
    add(vmx::Field::kPrimaryProcBasedControls, mask(control));
  }
  void enable(vmx::SecondaryProcBased control) {
    enable(vmx::PrimaryProcBased::kActivateSecondaryControls);
    add(vmx::Field::kSecondaryProcBasedControls, mask(control));
  }
  void enable_ept(uint64_t flags = 0) {
    enable(vmx::SecondaryProcBased::kEnableEpt);
    vmcs_.write(vmx::Field::kEptPointer, kEpt | 0x1e | flags);
  }
  // The EPT entry of one of the first 512 pages.
  void map_guest(uint64_t physical, uint64_t entry) {
    put(kEptPageTable + 8 * (physical >> 12), entry);
  }

  // After `exits` VM exits the run ends; before, each is followed by VMRESUME.
  static Code resume_until(uint8_t exits, const Code& end = exit_with(0)) {
    // The jump goes behind `end`.
    Code count = ASM64("inc r15d; cmp r15d, 0; jne 2f; 2:");
    count[6] = exits;
    count[8] = static_cast<uint8_t>(end.size());
    return count + end + ASM64("vmresume") + exit_with(98);
  }
  // Ends the run with the value of a VMCS field.
  static Code exit_with_field(vmx::Field field) {
    Code code = ASM64("mov ecx, 0; vmread rax, rcx; out 0xf4, eax");
    const uint32_t encoding = vmx::encoding_of(field);
    std::memcpy(code.data() + 1, &encoding, sizeof encoding);
    return code;
  }
  // Ends the run with what is in memory.
  static Code exit_with_memory(uint32_t address) {
    Code code = ASM64("mov eax, [0]; out 0xf4, eax");
    std::memcpy(code.data() + 3, &address, sizeof address);
    return code;
  }
  // mov [address], eax
  static Code store(uint32_t address) {
    Code code = ASM64("mov [0], eax");
    std::memcpy(code.data() + 3, &address, sizeof address);
    return code;
  }

  RunResult run_guest(const Code& guest, const Code& handler = exit_with(0)) {
    put_guest(guest, handler);
    return run(launch());
  }
  // All that VMLAUNCH needs in memory.
  void put_guest(const Code& guest, const Code& handler) {
    put_code(kGuest, guest);
    put_code(kExitHandler, handler);
    put(0xb000, kVmxonRegion);
    put(0xb008, kVmcsRegion);
    put(kVmxonRegion, vmcs_.revision_id);
    vmcs_.store(vmx::VmcsRegion(low_.data() + kVmcsRegion, vmx::kVmcsRegionSize));
  }
  // IA32_FEATURE_CONTROL, CR4.VMXE, VMXON, VMPTRLD, VMLAUNCH.
  static Code launch() {
    return ASM64(
               "mov ecx, 0x3a; mov eax, 5; xor edx, edx; wrmsr; "
               "mov rax, cr4; or eax, 0x2000; mov cr4, rax; vmxon [0xb000]; "
               "vmptrld [0xb008]; vmlaunch") +
           exit_with(99);
  }
  // Everything by which a run that stops, or is saved, could differ from one that does not.
  struct Seen {
    uint32_t code;
    uint64_t instructions, cycles;
    std::vector<uint64_t> interrupt_cycles;
    std::vector<Interrupt> interrupts;
    std::vector<Exception> exceptions;
    std::vector<std::pair<vmx::ExitReason, uint64_t>> exits;
    std::string serial;
    bool operator==(const Seen&) const = default;
  };
  Seen seen() const {
    const RunResult result = machine_->result();
    return {result.code,        result.instructions, result.cycles, record_.interrupt_cycles,
            record_.interrupts, record_.exceptions,  exits(),       serial_};
  }
  // The reasons and RIPs of the VM exits.
  std::vector<std::pair<vmx::ExitReason, uint64_t>> exits() const {
    std::vector<std::pair<vmx::ExitReason, uint64_t>> list;
    for (const vmx::VmExitEvent& exit : record_.exits)
      list.emplace_back(static_cast<vmx::ExitReason>(exit.reason & 0xffff), exit.guest_rip);
    return list;
  }

 private:
  void add(vmx::Field field, uint64_t bits) { vmcs_.write(field, vmcs_[field] | bits); }
};

}  // namespace nestor::emu
