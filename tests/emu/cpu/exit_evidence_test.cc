// SPDX-License-Identifier: GPL-2.0-or-later
//
// One row for each basic exit reason that the SDM defines ("VMX Basic Exit Reasons"): how a guest
// causes it here, which other test causes it, or why this processor never reports it.
#include <algorithm>

#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using vmx::ExitReason;
using vmx::Field;
using vmx::PinBased;
using vmx::PrimaryProcBased;
using vmx::SecondaryProcBased;

class ExitEvidence : public NestedMachineTest {
 public:
  void TestBody() override {}

  using NestedMachineTest::enable;
  using NestedMachineTest::enable_ept;
  using NestedMachineTest::kData;
  using NestedMachineTest::kEptAccessedDirty;
  using NestedMachineTest::kScratch;
  using NestedMachineTest::map_guest;
  using NestedMachineTest::vmcs_;
  static constexpr uint64_t kGuestRip = kGuest;

  void set(Field field, uint64_t value) { vmcs_.write(field, value); }
  void apic_page() {
    enable(PrimaryProcBased::kUseTprShadow);
    enable(SecondaryProcBased::kVirtualizeApicAccesses);
    set(Field::kVirtualApicAddress, kScratch);
    set(Field::kApicAccessAddress, kScratch + kPage);
  }
  void put_vtpr(uint8_t value) { put<uint32_t>(kScratch + 0x80, value); }
  static Code self_interrupt(uint32_t command) {
    return enable_apic() + apic_write(0x310, 0) + apic_write(0x300, command) + block_end();
  }
  std::optional<vmx::VmExitEvent> first_exit(const Code& guest) {
    run_guest(guest);
    if (record_.exits.empty()) return std::nullopt;
    return record_.exits.front();
  }
};

constexpr uint32_t kAnyWhere = ~0u;

// A guest that causes the exit.
struct Scene {
  void (*prepare)(ExitEvidence&) = nullptr;
  Code code;
  uint32_t at = 0;  // of the instruction, in the code; kAnyWhere: not looked at
  uint32_t length = 0;
  uint64_t qualification = 0;
  uint32_t information = 0;
  uint32_t interruption = 0;
};

struct Evidence {
  ExitReason reason;
  std::vector<Scene> scenes;
  const char* other = nullptr;   // another test that causes it, Suite.Test
  const char* absent = nullptr;  // why it never happens
};

constexpr const char* kNoSmm = "there is no system-management mode";
constexpr const char* kNotOffered = "the instruction or control is not offered";

constexpr uint32_t in_edi = 7;
// Instruction information of [rdi + displacement], of the second operand in a register, and of
// [rdi] with a register beside it.
constexpr uint32_t kMemoryRdi = 2u << 7 | 3u << 15 | 1u << 22 | in_edi << 23;

template <auto kControl>
void with(ExitEvidence& e) {
  e.enable(kControl);
}
void with_ept(ExitEvidence& e) { e.enable_ept(); }

const std::vector<Evidence>& evidence() {
  using enum ExitReason;
  static const std::vector<Evidence> kRows = {
      {kExceptionOrNmi,
       {{[](ExitEvidence& e) { e.set(Field::kExceptionBitmap, 1u << vmx::kUd); }, ASM64("nop; ud2"),
         1, 0, 0, 0, 0x80000306},
        {[](ExitEvidence& e) { e.set(Field::kExceptionBitmap, 1u << vmx::kBp); },
         ASM64("nop; int3"), 1, 1, 0, 0, 0x80000603},
        {with<PinBased::kNmiExiting>, ExitEvidence::self_interrupt(0x4400), kAnyWhere, 0, 0, 0,
         0x80000202}}},
      {kExternalInterrupt,
       {{with<PinBased::kExternalInterruptExiting>, ExitEvidence::self_interrupt(0x4041),
         kAnyWhere}}},
      {kTripleFault, {{[](ExitEvidence& e) { e.set(Field::kGuestIdtrLimit, 0); }, ASM64("ud2")}}},
      {kInitSignal, {{nullptr, ExitEvidence::self_interrupt(0x4500), kAnyWhere}}},
      {kSipi, {}, "L0/ActivityStates.WaitForSipiIsLeftByAStartUpIpiAlone/hardware"},
      {kIoSmi, {}, nullptr, kNoSmm},
      {kOtherSmi, {}, nullptr, kNoSmm},
      {kInterruptWindow,
       {{[](ExitEvidence& e) { e.enable(PrimaryProcBased::kInterruptWindowExiting); },
         ASM64("nop; sti; nop; nop"), 3}}},
      {kNmiWindow,
       {{[](ExitEvidence& e) {
           e.enable(PinBased::kNmiExiting);
           e.enable(PinBased::kVirtualNmis);
           e.enable(PrimaryProcBased::kNmiWindowExiting);
         },
         ASM64("nop")}}},
      {kTaskSwitch, {}, "VmxInstructionTest.TaskSwitchExits"},
      {kCpuid, {{nullptr, ASM64("cpuid"), 0, 2}}},
      {kGetsec, {}, nullptr, kNotOffered},
      {kHlt, {{with<PrimaryProcBased::kHltExiting>, ASM64("hlt"), 0, 1}}},
      {kInvd, {{nullptr, ASM64("invd"), 0, 2}}},
      {kInvlpg,
       {{with<PrimaryProcBased::kInvlpgExiting>, ASM64("mov edi, 0x12345678; invlpg [rdi + 0x10]"),
         5, 4, 0x12345688}}},
      {kRdpmc, {{with<PrimaryProcBased::kRdpmcExiting>, ASM64("rdpmc"), 0, 2}}},
      {kRdtsc, {{with<PrimaryProcBased::kRdtscExiting>, ASM64("rdtsc"), 0, 2}}},
      {kRsm, {}, nullptr, kNoSmm},
      {kVmcall, {{nullptr, ASM64("vmcall"), 0, 3}}},
      {kVmclear, {{nullptr, ASM64("vmclear [rdi + 8]"), 0, 5, 8, kMemoryRdi}}},
      {kVmlaunch, {{nullptr, ASM64("vmlaunch"), 0, 3}}},
      {kVmptrld, {{nullptr, ASM64("vmptrld [rdi - 8]"), 0, 4, ~7ull, kMemoryRdi}}},
      {kVmptrst, {{nullptr, ASM64("vmptrst [rdi]"), 0, 3, 0, kMemoryRdi}}},
      {kVmread,
       {{nullptr, ASM64("vmread rcx, rax"), 0, 3, 0, 1u << 3 | 1u << 10},
        {nullptr, ASM64("vmread [rdi], rax"), 0, 3, 0, kMemoryRdi}}},
      {kVmresume, {{nullptr, ASM64("vmresume"), 0, 3}}},
      {kVmwrite,
       {{nullptr, ASM64("vmwrite rax, rcx"), 0, 3, 0, 1u << 3 | 1u << 10},
        {nullptr, ASM64("vmwrite rdx, [rdi + 8]"), 0, 4, 8, kMemoryRdi | 2u << 28}}},
      {kVmxoff, {{nullptr, ASM64("vmxoff"), 0, 3}}},
      {kVmxon, {{nullptr, ASM64("vmxon [rdi]"), 0, 4, 0, kMemoryRdi}}},
      {kControlRegisterAccess,
       {{with<PrimaryProcBased::kCr3StoreExiting>, ASM64("mov rbx, cr3"), 0, 3, 0x313},
        {with<PrimaryProcBased::kCr8LoadExiting>, ASM64("mov cr8, rdx"), 0, 4, 0x208},
        {[](ExitEvidence& e) {
           e.set(Field::kCr0GuestHostMask, 8);
           e.set(Field::kCr0ReadShadow, 8);
         },
         ASM64("clts"), 0, 2, 0x20},
        {[](ExitEvidence& e) { e.set(Field::kCr0GuestHostMask, 8); }, ASM64("mov ecx, 9; lmsw cx"),
         5, 3, 0x90030}}},
      {kMovDr, {{with<PrimaryProcBased::kMovDrExiting>, ASM64("mov rcx, dr7"), 0, 3, 0x117}}},
      {kIoInstruction,
       {{with<PrimaryProcBased::kUnconditionalIoExiting>, ASM64("in al, 0x70"), 0, 2, 0x700048},
        {with<PrimaryProcBased::kUnconditionalIoExiting>, ASM64("mov edx, 0x1234; out dx, eax"), 5,
         1, 0x12340003}}},
      {kRdmsr, {{nullptr, ASM64("rdmsr"), 0, 2}}},
      {kWrmsr, {{nullptr, ASM64("wrmsr"), 0, 2}}},
      {kEntryFailureGuestState,
       {{[](ExitEvidence& e) { e.set(Field::kVmcsLinkPointer, 1); }, {}, kAnyWhere, 0, 4}}},
      {kEntryFailureMsrLoading,
       {{[](ExitEvidence& e) {
           e.set(Field::kVmEntryMsrLoadCount, 1);
           e.set(Field::kVmEntryMsrLoadAddress, ExitEvidence::kScratch);
         },
         {},
         kAnyWhere,
         0,
         1}}},
      {kMwait, {{with<PrimaryProcBased::kMwaitExiting>, ASM64("mwait"), 0, 3}}},
      {kMonitorTrapFlag, {{with<PrimaryProcBased::kMonitorTrapFlag>, ASM64("nop; nop"), 1}}},
      {kMonitor, {{with<PrimaryProcBased::kMonitorExiting>, ASM64("monitor"), 0, 3}}},
      {kPause, {{with<PrimaryProcBased::kPauseExiting>, ASM64("pause"), 0, 2}}},
      {kEntryFailureMachineCheck, {}, nullptr, "there are no machine checks"},
      // The exit comes behind MOV to CR8.
      {kTprBelowThreshold,
       {{[](ExitEvidence& e) {
           e.apic_page();
           e.set(Field::kTprThreshold, 5);
           e.put_vtpr(0x50);
         },
         ASM64("xor eax, eax; mov cr8, rax"), 6}}},
      // A write to 21080h would be virtual.
      {kApicAccess,
       {{[](ExitEvidence& e) { e.apic_page(); }, ASM64("mov [0x21030], eax"), 0, 7, 0x1030}}},
      {kVirtualizedEoi, {}, "ApicPage.AVirtualInterruptIsDeliveredAndEnded"},
      {kGdtrIdtrAccess,
       {{with<SecondaryProcBased::kDescriptorTableExiting>, ASM64("sgdt [rdi + 0x10]"), 0, 4, 0x10,
         kMemoryRdi},
        {with<SecondaryProcBased::kDescriptorTableExiting>, ASM64("lidt [rdi]"), 0, 3, 0,
         kMemoryRdi | 3u << 28}}},
      {kLdtrTrAccess,
       {{with<SecondaryProcBased::kDescriptorTableExiting>, ASM64("lldt cx"), 0, 3, 0,
         1u << 3 | 1u << 10 | 2u << 28},
        {with<SecondaryProcBased::kDescriptorTableExiting>, ASM64("str [rdi]"), 0, 3, 0,
         kMemoryRdi | 1u << 28}}},
      {kEptViolation,
       {{[](ExitEvidence& e) {
           e.enable_ept();
           e.map_guest(ExitEvidence::kData, ExitEvidence::kData | 5);
         },
         ASM64("mov [0x80000], eax"), 0, 7, 0x7aa},
        // What cannot be fetched has no length.
        {[](ExitEvidence& e) {
           e.enable_ept();
           e.map_guest(ExitEvidence::kData, ExitEvidence::kData | 3);
         },
         ASM64("mov ecx, 0x80000; jmp rcx"), kAnyWhere, 0, 0x79c}}},
      {kEptMisconfiguration,
       {{[](ExitEvidence& e) {
           e.enable_ept();
           e.map_guest(ExitEvidence::kData, ExitEvidence::kData | 2);
         },
         ASM64("mov [0x80000], eax"), 0, 7}}},
      {kInvept, {{with_ept, ASM64("invept rdx, [rdi]"), 0, 5, 0, kMemoryRdi | 2u << 28}}},
      {kRdtscp,
       {{[](ExitEvidence& e) {
           e.enable(SecondaryProcBased::kEnableRdtscp);
           e.enable(PrimaryProcBased::kRdtscExiting);
         },
         ASM64("rdtscp"), 0, 3}}},
      {kPreemptionTimerExpired, {{with<PinBased::kActivatePreemptionTimer>, ASM64("nop")}}},
      {kInvvpid, {{nullptr, ASM64("invvpid rdx, [rdi]"), 0, 5, 0, kMemoryRdi | 2u << 28}}},
      {kWbinvd,
       {{with<SecondaryProcBased::kWbinvdExiting>, ASM64("wbinvd"), 0, 2, 0},
        {with<SecondaryProcBased::kWbinvdExiting>, ASM64("wbnoinvd"), 0, 3, 1}}},
      {kXsetbv,
       {{[](ExitEvidence& e) {
           e.set(Field::kGuestCr4, e.vmcs_[Field::kGuestCr4] | vmx::cr4::kOsxsave);
         },
         ASM64("xsetbv"), 0, 3}}},
      {kApicWrite,
       {{[](ExitEvidence& e) {
           e.apic_page();
           e.enable(SecondaryProcBased::kApicRegisterVirtualization);
         },
         ASM64("mov [0x21280], eax"), 7, 0, 0x280}}},
      {kRdrand,
       {{with<SecondaryProcBased::kRdrandExiting>, ASM64("rdrand ebx"), 0, 3, 0,
         3u << 3 | 1u << 11}}},
      {kInvpcid,
       {{[](ExitEvidence& e) {
           e.enable(SecondaryProcBased::kEnableInvpcid);
           e.enable(PrimaryProcBased::kInvlpgExiting);
         },
         ASM64("invpcid rdx, [rdi + 0x10]"), 0, 6, 0x10, kMemoryRdi | 2u << 28}}},
      // The list of EPTPs is function 0.
      {kVmfunc,
       {{[](ExitEvidence& e) {
           e.enable_ept();
           e.enable(SecondaryProcBased::kEnableVmFunctions);
         },
         ASM64("mov eax, 1; vmfunc"), 5, 3}}},
      {kEncls, {}, nullptr, kNotOffered},
      {kRdseed,
       {{with<SecondaryProcBased::kRdseedExiting>, ASM64("rdseed r9"), 0, 4, 0,
         9u << 3 | 2u << 11}}},
      {kPmlFull, {}, "Pml.AFullLogExitsBeforeTheFlagIsSet"},
      {kXsaves, {}, "Both/XssExit.FollowsTheBitmap/0"},
      {kXrstors, {}, "Both/XssExit.FollowsTheBitmap/1"},
      {kPconfig, {}, nullptr, kNotOffered},
      {kSppRelatedEvent, {}, "SubPageWrites.MissesAndMisconfigurationsExit"},
      {kUmwait, {}, nullptr, kNotOffered},
      {kTpause, {}, nullptr, kNotOffered},
      {kLoadiwkey, {}, nullptr, kNotOffered},
      {kEnclv, {}, nullptr, kNotOffered},
      {kEnqcmdPasidTranslationFailure, {}, nullptr, kNotOffered},
      {kEnqcmdsPasidTranslationFailure, {}, nullptr, kNotOffered},
      {kBusLock, {}, nullptr, kNotOffered},
      {kInstructionTimeout, {}, nullptr, kNotOffered},
      {kSeamcall, {}, nullptr, kNotOffered},
      {kTdcall, {}, nullptr, kNotOffered},
  };
  return kRows;
}

bool test_exists(std::string_view name) {
  const auto& all = *testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_suite_count(); ++i) {
    const testing::TestSuite& suite = *all.GetTestSuite(i);
    for (int j = 0; j < suite.total_test_count(); ++j)
      if (std::string(suite.name()) + "." + suite.GetTestInfo(j)->name() == name) return true;
  }
  return false;
}

TEST(ExitReasonEvidence, EveryReasonHasOneRowAndOneKindOfEvidence) {
  ASSERT_EQ(evidence().size(), vmx::exit_reasons().size());
  for (const vmx::ExitReasonInfo& info : vmx::exit_reasons()) {
    const auto row = std::ranges::find(evidence(), info.reason, &Evidence::reason);
    ASSERT_NE(row, evidence().end()) << info.name;
    EXPECT_EQ(!row->scenes.empty() + (row->other != nullptr) + (row->absent != nullptr), 1)
        << info.name;
    if (row->other != nullptr) {
      EXPECT_TRUE(test_exists(row->other)) << row->other;
    }
  }
}

TEST(ExitReasonEvidence, GuestsCauseTheirExits) {
  for (const Evidence& row : evidence()) {
    const vmx::ExitReasonInfo& info = *vmx::find_exit_reason(static_cast<uint16_t>(row.reason));
    for (size_t i = 0; i < row.scenes.size(); ++i) {
      SCOPED_TRACE(std::string(info.name) + ", scene " + std::to_string(i));
      const Scene& scene = row.scenes[i];
      ExitEvidence machine;
      if (scene.prepare != nullptr) scene.prepare(machine);
      const auto exit = machine.first_exit(scene.code + ASM64("hlt"));
      ASSERT_TRUE(exit);
      EXPECT_EQ(vmx::basic_reason(exit->reason), row.reason)
          << vmx::exit_reason_name(exit->reason) << " " << std::hex << exit->guest_rip;
      if (scene.at != kAnyWhere) {
        EXPECT_EQ(exit->guest_rip, ExitEvidence::kGuestRip + scene.at);
      }
      EXPECT_EQ(exit->qualification, scene.qualification) << std::hex << exit->qualification;
      EXPECT_EQ(exit->instruction_length, scene.length);
      EXPECT_EQ(exit->instruction_information, scene.information)
          << std::hex << exit->instruction_information;
      EXPECT_EQ(exit->interruption_information, scene.interruption);
      EXPECT_EQ(exit->idt_vectoring_information, 0u);
    }
  }
}

}  // namespace
}  // namespace nestor::emu
