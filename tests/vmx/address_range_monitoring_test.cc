// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which VMX instructions and transitions clear address-range monitoring, and which leave it: the
// operation sections of VMXON, VMXOFF and VMLAUNCH, "Clearing Address-Range Monitoring" of VM
// entries and of VM exits.
#include <functional>

#include "tests/vmx/vmx_fixture.h"

namespace nestor::vmx::test {
namespace {

struct Bench : VmxTest {
  using VmxTest::cpu;
  using VmxTest::vmx;
  void TestBody() override {}
  void arm() { cpu.cpu.monitor_armed = true; }
  bool armed() const { return cpu.cpu.monitor_armed; }

  void enter_operation() { enter_vmx_operation(); }
  void prepare_guest() { prepare(); }
  void run_guest() { start(); }
  void corrupt_region() { cpu.poke(kVmxonRegion, capabilities.revision_id + 1); }
  void leave_privilege() { cpu.cpu.segment[kSs].rights.value |= 3u << 5; }
  template <class... Args>
  void write(Args... args) {
    set(args...);
  }
  std::string do_vmxon() {
    cpu.poke(kVmxonRegion, capabilities.revision_id);
    return vmxon();
  }
  std::string do_vmxon_of(uint64_t pointer) { return vmxon(pointer); }
  std::string plain(Outcome (Vmx::*method)(const InstructionContext&)) {
    return word((vmx.*method)(no_operand()));
  }
  std::string pointer(PointerInstruction instruction, uint64_t value) {
    return with_pointer(instruction, value);
  }
  std::string read_field() { return vmread(encoding_of(Field::kGuestRip)); }
  std::string write_field() { return vmwrite(encoding_of(Field::kGuestRip), 0); }
  bool loads_bad_msr() {
    cpu.poke<uint64_t>(kEntryMsrs, 0x12345);
    set(Field::kVmEntryMsrLoadCount, 1);
    return true;
  }
  static constexpr uint64_t kRegion = kVmxonRegion, kVmcs = kVmcsRegion, kOther = kOtherVmcs;
};

struct Row {
  const char* name;
  bool clears;
  std::function<void(Bench&)> prepare;
  std::function<std::string(Bench&)> act;
  const char* outcome;
};

void outside(Bench&) {}
void in_root(Bench& b) { b.enter_operation(); }
void before_entry(Bench& b) { b.prepare_guest(); }
void in_guest(Bench& b) { b.run_guest(); }

std::string vmxon(Bench& b) { return b.do_vmxon(); }
std::string vmxoff(Bench& b) { return b.plain(&Vmx::vmxoff); }
std::string vmlaunch(Bench& b) { return b.plain(&Vmx::vmlaunch); }
std::string exits(bool exited) { return exited ? "exit" : "none"; }

const Row kRows[] = {
    {"VMXON", true, outside, vmxon, "succeed"},
    {"VMXON of a misaligned region", false, outside, [](Bench& b) { return b.do_vmxon_of(0x1001); },
     "fail invalid"},
    {"VMXON of a region with another revision", false, [](Bench& b) { b.corrupt_region(); },
     [](Bench& b) { return b.do_vmxon_of(Bench::kRegion); }, "fail invalid"},
    {"VMXON at CPL 3", false, [](Bench& b) { b.leave_privilege(); }, vmxon, "#13(0)"},
    {"VMXON in VMX root operation", false, before_entry, vmxon, "fail 15"},
    {"VMXOFF", true, in_root, vmxoff, "succeed"},
    {"VMXOFF outside VMX operation", false, outside, vmxoff, "#6"},
    {"VMXOFF at CPL 3", false,
     [](Bench& b) {
       b.enter_operation();
       b.leave_privilege();
     },
     vmxoff, "#13(0)"},
    {"VMLAUNCH", true, before_entry, vmlaunch, "transfer"},
    {"VMLAUNCH without a VMCS", false, in_root, vmlaunch, "fail invalid"},
    {"VMLAUNCH with an invalid control", false,
     [](Bench& b) {
       b.prepare_guest();
       b.write(Field::kPinBasedControls, 0u);
     },
     vmlaunch, "fail 7"},
    {"VMLAUNCH with an invalid host state", false,
     [](Bench& b) {
       b.prepare_guest();
       b.write(Field::kHostCr0, 0u);
     },
     vmlaunch, "fail 8"},
    {"VMLAUNCH with an invalid guest state", true,
     [](Bench& b) {
       b.prepare_guest();
       b.write(Field::kGuestRflags, 0u);
     },
     vmlaunch, "transfer"},
    {"VMLAUNCH with an invalid MSR to load", true,
     [](Bench& b) {
       b.prepare_guest();
       b.loads_bad_msr();
     },
     vmlaunch, "transfer"},
    {"VMCLEAR", false, before_entry,
     [](Bench& b) { return b.pointer(&Vmx::vmclear, Bench::kOther); }, "succeed"},
    {"VMPTRLD", false, before_entry,
     [](Bench& b) { return b.pointer(&Vmx::vmptrld, Bench::kVmcs); }, "succeed"},
    {"VMPTRST", false, before_entry, [](Bench& b) { return b.pointer(&Vmx::vmptrst, 0); },
     "succeed"},
    {"VMREAD", false, before_entry, [](Bench& b) { return b.read_field(); }, "succeed"},
    {"VMWRITE", false, before_entry, [](Bench& b) { return b.write_field(); }, "succeed"},
    {"VMCALL in VMX root operation", false, before_entry,
     [](Bench& b) { return b.plain(&Vmx::vmcall); }, "fail 1"},
    {"a VM exit by an instruction", true, in_guest, [](Bench& b) { return b.plain(&Vmx::vmcall); },
     "transfer"},
    {"a VM exit by an exception", true,
     [](Bench& b) {
       b.prepare_guest();
       b.write(Field::kExceptionBitmap, 1u << kUd);
       vmlaunch(b);
     },
     [](Bench& b) { return exits(b.vmx.exception_exits(exception(kUd))); }, "exit"},
    {"a VM exit between instructions", true, in_guest,
     [](Bench& b) { return exits(b.vmx.init_exits()); }, "exit"},
    {"an exception that causes no VM exit", false, in_guest,
     [](Bench& b) { return exits(b.vmx.exception_exits(exception(kUd))); }, "none"},
};

TEST(AddressRangeMonitoring, IsClearedByWhatTheManualLists) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    Bench bench;
    row.prepare(bench);
    bench.arm();
    EXPECT_EQ(row.act(bench), row.outcome);
    EXPECT_EQ(bench.armed(), !row.clears);
  }
}

}  // namespace
}  // namespace nestor::vmx::test
