// SPDX-License-Identifier: GPL-2.0-or-later
//
// A 64-bit hypervisor on the fake processor, a VMCS with which VM entry succeeds, and short words
// for the VMX instructions.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/vmx/fake_processor.h"
#include "vmx/vmx.h"

namespace nestor::vmx::test {

class RecordingSink final : public EventSink {
 public:
  std::vector<VmEntryEvent> entries;
  std::vector<VmExitEvent> exits;
  std::vector<CheckFailure> failures;
  std::vector<VmInstructionErrorEvent> errors;

  void vm_entry(const VmEntryEvent& e) override { entries.push_back(e); }
  void vm_exit(const VmExitEvent& e) override {
    exits.push_back(e);
    expect_what_holds_at_every_exit(e);
  }
  void check_failed(const CheckFailure& e) override { failures.push_back(e); }
  void vm_instruction_error(const VmInstructionErrorEvent& e) override { errors.push_back(e); }

 private:
  // "Recording VM-Exit Information and Updating VM-Entry Control Fields"; and the event says what
  // the VMCS says.
  static void expect_what_holds_at_every_exit(const VmExitEvent& e) {
    const Vmcs& vmcs = *e.data;
    EXPECT_EQ(e.reason, vmcs[Field::kExitReason]);
    EXPECT_EQ(e.qualification, vmcs[Field::kExitQualification]);
    EXPECT_EQ(e.guest_rip, vmcs[Field::kGuestRip]);
    const ExitReasonInfo* info = find_exit_reason(static_cast<uint16_t>(e.reason));
    ASSERT_NE(info, nullptr) << e.reason;
    EXPECT_EQ(e.reason & ~kExitReasonEntryFailure & ~kExitReasonBasicMask, 0u);
    // "For all other VM exits, this field is cleared."
    if (!(info->defines & kDefinesQualification)) {
      EXPECT_EQ(e.qualification, 0u) << info->name;
    }
    if (e.reason & kExitReasonEntryFailure) {
      EXPECT_EQ(e.guest_linear | e.guest_physical | e.instruction_length |
                    e.instruction_information | e.interruption_information |
                    e.interruption_error_code | e.idt_vectoring_information |
                    e.idt_vectoring_error_code,
                0u);
      return;
    }
    EXPECT_EQ(e.guest_linear, vmcs[Field::kGuestLinearAddress]);
    EXPECT_EQ(e.guest_physical, vmcs[Field::kGuestPhysicalAddress]);
    EXPECT_EQ(e.instruction_length, vmcs[Field::kVmExitInstructionLength]);
    EXPECT_EQ(e.instruction_information, vmcs[Field::kVmExitInstructionInformation]);
    EXPECT_EQ(e.interruption_information, vmcs[Field::kVmExitInterruptionInformation]);
    EXPECT_EQ(e.interruption_error_code, vmcs[Field::kVmExitInterruptionErrorCode]);
    EXPECT_EQ(e.idt_vectoring_information, vmcs[Field::kIdtVectoringInformation]);
    EXPECT_EQ(e.idt_vectoring_error_code, vmcs[Field::kIdtVectoringErrorCode]);
    EXPECT_EQ(vmcs[Field::kVmEntryInterruptionInformation] >> 31, 0u) << "the valid bit";
    EXPECT_EQ(e.interruption_information & 0x7fffe000, 0u);
    EXPECT_EQ(e.idt_vectoring_information & 0x7fffe000, 0u);
    if (!(info->defines & kDefinesInterruption)) {
      EXPECT_EQ(e.interruption_information >> 31, 0u) << info->name;
    }
    // "IA-32e mode guest" holds IA32_EFER.LMA.
    EXPECT_EQ(vmcs.has(VmEntryControl::kIa32eModeGuest), (e.state->efer & efer::kLma) != 0);
  }
};

// How an instruction ended, in one word: "succeed", "fail invalid", "fail 7", "transfer", "#6",
// "#13(0)".
inline std::string describe(const Outcome& outcome, const CpuState& state, const Vmcs& vmcs) {
  if (std::holds_alternative<Transferred>(outcome)) return "transfer";
  if (const Event* event = std::get_if<Event>(&outcome)) {
    std::string text = "#" + std::to_string(event->vector);
    if (event->error_code) text += "(" + std::to_string(*event->error_code) + ")";
    return text;
  }
  if (state.rflags & rflags::kCf) return "fail invalid";
  if (state.rflags & rflags::kZf) return "fail " + std::to_string(vmcs[Field::kVmInstructionError]);
  return "succeed";
}

class VmxTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kVmxonRegion = 0x1000, kVmcsRegion = 0x2000, kOtherVmcs = 0x3000,
                            kPointer = 0x4000, kMsrBitmaps = 0x5000, kIoBitmapA = 0x6000,
                            kIoBitmapB = 0x7000, kEntryMsrs = 0x8000, kStoreMsrs = 0x9000,
                            kExitMsrs = 0xa000, kEptpList = 0xb000, kEpt = 0x1001e;
  static constexpr uint64_t kHostRip = 0xffff800000100000, kHostRsp = 0xffff800000200000,
                            kGuestRip = 0x401000, kGuestRsp = 0x7fff0000;
  static constexpr uint32_t kCode64 = 0xa09b, kData = 0xc093, kTss = 0x8b;

  static Capabilities default_capabilities() {
    Capabilities c = nestor_capabilities();
    // So that there are read-only fields, and shadow VMCSs are refused.
    c.misc &= ~vmx_misc::kVmwriteAnyField;
    c.secondary &= ~mask(SecondaryProcBased::kVmcsShadowing);
    return c;
  }

  const Capabilities capabilities;
  FakeProcessor cpu;
  RecordingSink sink;
  Vmx vmx{capabilities, cpu, sink};

  explicit VmxTest(const Capabilities& c = default_capabilities()) : capabilities(c) {
    become_host();
  }

  void become_host() {
    CpuState& s = cpu.cpu;
    s.cr0 = cr0::kPe | cr0::kMp | cr0::kEt | cr0::kNe | cr0::kWp | cr0::kPg;
    s.cr3 = 0x10000;
    s.cr4 = cr4::kPae | cr4::kVmxe;
    s.efer = efer::kSce | efer::kLme | efer::kLma;
    s.rip = 0x100;
    for (uint8_t i = kEs; i <= kGs; ++i) s.segment[i] = {0x10, {kData}, 0xffffffff, 0};
    s.segment[kCs] = {0x08, {kCode64}, 0xffffffff, 0};
    s.segment[kTr] = {0x18, {kTss}, 0x67, 0x9000};
    vmx.feature_control = 5;
  }

  static InstructionContext with_memory(uint64_t linear, uint8_t length = 4) {
    InstructionContext c;
    c.length = length;
    c.memory = linear;
    return c;
  }
  static InstructionContext no_operand(uint8_t length = 3) {
    InstructionContext c;
    c.length = length;
    return c;
  }
  std::string word(const Outcome& outcome) {
    return describe(outcome, cpu.cpu, vmx.current_vmcs());
  }

  using PointerInstruction = Outcome (Vmx::*)(const InstructionContext&);
  std::string with_pointer(PointerInstruction instruction, uint64_t pointer) {
    cpu.poke(kPointer, pointer);
    return word((vmx.*instruction)(with_memory(kPointer)));
  }
  std::string vmxon(uint64_t pointer = kVmxonRegion) { return with_pointer(&Vmx::vmxon, pointer); }
  std::string vmclear(uint64_t pointer) { return with_pointer(&Vmx::vmclear, pointer); }
  std::string vmptrld(uint64_t pointer) { return with_pointer(&Vmx::vmptrld, pointer); }
  std::string vmlaunch() { return word(vmx.vmlaunch(no_operand())); }
  std::string vmresume() { return word(vmx.vmresume(no_operand())); }

  std::string vmwrite(uint64_t encoding, uint64_t value) {
    InstructionContext c = no_operand();
    c.reg = kRdx;
    c.rm_reg = kRax;
    cpu.cpu.gpr[kRdx] = encoding;
    cpu.cpu.gpr[kRax] = value;
    return word(vmx.vmwrite(c));
  }
  std::string vmread(uint64_t encoding) {
    InstructionContext c = no_operand();
    c.reg = kRdx;
    c.rm_reg = kRax;
    cpu.cpu.gpr[kRdx] = encoding;
    return word(vmx.vmread(c));
  }
  void set(Field field, uint64_t value) {
    ASSERT_EQ(vmwrite(encoding_of(field), value), "succeed") << info_of(field).name;
  }
  uint64_t get(Field field) const { return vmx.current_vmcs()[field]; }
  template <Control C>
  void enable(C control) {
    if constexpr (std::is_same_v<C, SecondaryProcBased>)
      enable(PrimaryProcBased::kActivateSecondaryControls);
    const Field field = field_of(control);
    set(field, get(field) | mask(control));
  }
  template <Control C>
  void disable(C control) {
    const Field field = field_of(control);
    set(field, get(field) & ~uint64_t{mask(control)});
  }
  static Field field_of(PinBased) { return Field::kPinBasedControls; }
  static Field field_of(PrimaryProcBased) { return Field::kPrimaryProcBasedControls; }
  static Field field_of(SecondaryProcBased) { return Field::kSecondaryProcBasedControls; }
  static Field field_of(VmExitControl) { return Field::kVmExitControls; }
  static Field field_of(VmEntryControl) { return Field::kVmEntryControls; }

  void enter_vmx_operation() {
    cpu.poke(kVmxonRegion, capabilities.revision_id);
    ASSERT_EQ(vmxon(), "succeed");
  }
  void make_current(uint64_t region = kVmcsRegion) {
    cpu.poke(region, capabilities.revision_id);
    ASSERT_EQ(vmclear(region), "succeed");
    ASSERT_EQ(vmptrld(region), "succeed");
  }
  // A 64-bit guest in a VMCS that passes every check.
  void prepare() {
    enter_vmx_operation();
    make_current();
    fill();
  }
  void fill();
  void start() {
    prepare();
    ASSERT_EQ(vmlaunch(), "transfer");
    ASSERT_TRUE(vmx.in_non_root());
  }
  // After an exit: back into the guest.
  void resume() {
    ASSERT_FALSE(vmx.in_non_root());
    ASSERT_EQ(vmresume(), "transfer");
    ASSERT_TRUE(vmx.in_non_root());
  }
  // The guest has just exited with the reason.
  void expect_exit(ExitReason reason) {
    EXPECT_FALSE(vmx.in_non_root());
    EXPECT_EQ(get(Field::kExitReason), static_cast<uint64_t>(reason));
    EXPECT_EQ(cpu.cpu.rip, kHostRip);
  }
};

inline void VmxTest::fill() {
  const auto with = [](const ControlRange& range, uint32_t bits) {
    return uint64_t{range.must_be_one() | bits};
  };
  set(Field::kPinBasedControls, with(capabilities.pin, 0));
  set(Field::kPrimaryProcBasedControls, with(capabilities.primary, 0));
  set(Field::kSecondaryProcBasedControls, 0);
  set(Field::kVmExitControls, with(capabilities.exit, mask(VmExitControl::kHostAddressSpaceSize)));
  set(Field::kVmEntryControls, with(capabilities.entry, mask(VmEntryControl::kIa32eModeGuest)));
  set(Field::kIoBitmapA, kIoBitmapA);
  set(Field::kIoBitmapB, kIoBitmapB);
  set(Field::kMsrBitmaps, kMsrBitmaps);
  set(Field::kVmEntryMsrLoadAddress, kEntryMsrs);
  set(Field::kVmExitMsrStoreAddress, kStoreMsrs);
  set(Field::kVmExitMsrLoadAddress, kExitMsrs);
  set(Field::kVmcsLinkPointer, ~0ull);

  set(Field::kHostCr0, cpu.cpu.cr0);
  set(Field::kHostCr3, cpu.cpu.cr3);
  set(Field::kHostCr4, cpu.cpu.cr4);
  for (const Field f : {Field::kHostEsSelector, Field::kHostSsSelector, Field::kHostDsSelector,
                        Field::kHostFsSelector, Field::kHostGsSelector})
    set(f, 0x10);
  set(Field::kHostCsSelector, 0x08);
  set(Field::kHostTrSelector, 0x18);
  set(Field::kHostFsBase, 0xffff800000001000);
  set(Field::kHostGsBase, 0xffff800000002000);
  set(Field::kHostTrBase, 0xffff800000003000);
  set(Field::kHostGdtrBase, 0xffff800000004000);
  set(Field::kHostIdtrBase, 0xffff800000005000);
  set(Field::kHostIa32SysenterCs, 0x8);
  set(Field::kHostIa32SysenterEsp, 0xffff800000006000);
  set(Field::kHostIa32SysenterEip, 0xffff800000007000);
  set(Field::kHostRip, kHostRip);
  set(Field::kHostRsp, kHostRsp);

  set(Field::kGuestCr0, cr0::kPe | cr0::kEt | cr0::kNe | cr0::kPg);
  set(Field::kGuestCr3, 0x20000);
  set(Field::kGuestCr4, cr4::kPae | cr4::kVmxe);
  set(Field::kGuestDr7, 0x400);
  for (uint8_t i = kEs; i <= kGs; ++i) {
    set(guest_selector(i), 0x20);
    set(guest_limit(i), 0xffffffff);
    set(guest_access_rights(i), kData);
    set(guest_base(i), 0);
  }
  set(Field::kGuestCsSelector, 0x28);
  set(Field::kGuestCsAccessRights, kCode64);
  set(Field::kGuestLdtrAccessRights, AccessRights::kUnusable);
  set(Field::kGuestTrSelector, 0x30);
  set(Field::kGuestTrLimit, 0x67);
  set(Field::kGuestTrAccessRights, kTss);
  set(Field::kGuestTrBase, 0x5000);
  set(Field::kGuestGdtrBase, 0x6000);
  set(Field::kGuestGdtrLimit, 0x7f);
  set(Field::kGuestIdtrBase, 0x7000);
  set(Field::kGuestIdtrLimit, 0xfff);
  set(Field::kGuestRip, kGuestRip);
  set(Field::kGuestRsp, kGuestRsp);
  set(Field::kGuestRflags, rflags::kFixed1 | rflags::kIf);
  set(Field::kGuestIa32SysenterCs, 0x28);
  set(Field::kGuestIa32SysenterEsp, 0x1111);
  set(Field::kGuestIa32SysenterEip, 0x2222);
}

}  // namespace nestor::vmx::test
