// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/vmcs_changes.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "vmx/exit_reasons.h"

namespace nestor::emu {
namespace {

// Writes down what it is given.
class Listener final : public MachineEventSink {
 public:
  void on(const MachineEvent& event) override {
    if (std::holds_alternative<vmx::VmEntryEvent>(event)) seen.emplace_back("entry");
    if (std::holds_alternative<vmx::VmExitEvent>(event)) seen.emplace_back("exit");
    const auto* const change = std::get_if<VmcsChangeEvent>(&event);
    if (change == nullptr) return;
    std::string text = change->by_vm_exit ? "by exit" : "by L1";
    for (const VmcsFieldChange& field : change->changes) {
      text += " " + std::string(vmx::info_of(field.field).identifier) + " " +
              std::to_string(field.before) + "->" + std::to_string(field.after);
    }
    seen.push_back(text);
  }
  std::vector<std::string> seen;
};

TEST(VmcsChanges, AreBeforeVmEntriesAndAfterVmExits) {
  Listener listener;
  VmcsChanges changes(listener);
  vmx::Vmcs vmcs;
  vmcs.write(vmx::Field::kGuestRip, 1);
  const auto enter = [&] { changes.vm_entry({.vmcs = 0x5000, .data = &vmcs}); };
  const auto exit = [&] { changes.vm_exit({.vmcs = 0x5000, .data = &vmcs}); };
  enter();  // nothing is known before
  vmcs.write(vmx::Field::kGuestRip, 2);
  vmcs.write(vmx::Field::kExitReason, 10);
  exit();
  vmcs.write(vmx::Field::kGuestRip, 4);
  enter();
  exit();
  vmx::Vmcs other;
  changes.vm_entry({.vmcs = 0x6000, .data = &other});
  other.write(vmx::Field::kGuestRip, 7);
  changes.vm_entry({.vmcs = 0x6000});  // of which nothing is known
  changes.vm_exit({.vmcs = 0x6000, .data = &other});
  EXPECT_EQ(listener.seen, (std::vector<std::string>{
                               "entry", "exit", "by exit ExitReason 0->10 GuestRip 1->2",
                               "by L1 GuestRip 2->4", "entry", "exit", "entry", "entry", "exit"}));
}

// What L1 has written is what the VM entry failed for.
TEST(VmcsChanges, AreThoseOfL1BeforeAVmEntryThatFails) {
  Listener listener;
  VmcsChanges changes(listener);
  vmx::Vmcs vmcs;
  changes.vm_exit({.vmcs = 0x5000, .data = &vmcs});
  vmcs.write(vmx::Field::kGuestRflags, 4);
  vmcs.write(vmx::Field::kExitReason, 33);
  changes.vm_exit({.vmcs = 0x5000, .reason = vmx::kExitReasonEntryFailure | 33, .data = &vmcs});
  vmcs.write(vmx::Field::kPinBasedControls, 5);
  vmcs.write(vmx::Field::kVmInstructionError, 7);
  changes.vm_instruction_error({"VMREAD", 12, &vmcs, 0x5000});
  changes.vm_instruction_error({"VMRESUME", 7, &vmcs, 0x5000});
  EXPECT_EQ(listener.seen,
            (std::vector<std::string>{"exit", "by L1 GuestRflags 0->4", "exit",
                                      "by exit ExitReason 0->33", "by L1 PinBasedControls 0->5"}));
}

}  // namespace
}  // namespace nestor::emu
