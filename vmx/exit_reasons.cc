// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/exit_reasons.h"

#include <array>

#include "vmx/injection.h"

namespace nestor::vmx {
namespace {

constexpr uint8_t kQ = kDefinesQualification, kLin = kDefinesGuestLinear,
                  kPhys = kDefinesGuestPhysical, kLen = kDefinesLength, kInfo = kDefinesInformation,
                  kInt = kDefinesInterruption;
constexpr uint8_t kEvent = kExitOfEvent, kAccess = kExitOfAccess, kBoundary = kExitAtBoundary,
                  kPending = kExitKeepsPendingDebugExceptions,
                  kUnblocking = kExitReportsNmiUnblocking;
using F = QualificationFormat;
using P = PrimaryProcBased;
using S = SecondaryProcBased;
using enum ExitReason;

constexpr InstructionIntercept kUnconditional{true, {}, {}};
constexpr InstructionIntercept by(std::optional<P> primary, std::optional<S> secondary = {}) {
  return {true, primary, secondary};
}
constexpr InstructionIntercept by(S secondary) { return {true, {}, secondary}; }

constexpr InstructionIntercept kNoIntercept;
constexpr QualificationPattern kLinearValid{1u << 7, 1u << 7};  // EPT violations
constexpr QualificationPattern kString{1u << 4, 1u << 4};       // I/O instructions
// LMSW, which is access type 3, with a memory operand.
constexpr QualificationPattern kLmswMemory{7u << 4, 7u << 4};

// PAUSE, ENCLS, XSAVES and XRSTORS have conditions of their own beside the control.
constexpr auto kReasons = std::to_array<ExitReasonInfo>({
    {kExceptionOrNmi, "Exception or NMI", "ExceptionOrNmi", kQ | kLen | kInt, F::kDebugOrPageFault,
     kEvent},
    {kExternalInterrupt, "External interrupt", "ExternalInterrupt", kInt, F::kNone, kEvent},
    {kTripleFault, "Triple fault", "TripleFault", 0, F::kNone, kBoundary},
    {kInitSignal, "INIT signal", "InitSignal", 0, F::kNone, kBoundary | kPending},
    {kSipi, "Start-up IPI (SIPI)", "Sipi", kQ, F::kSipiVector, kBoundary},
    {kIoSmi, "I/O system-management interrupt (SMI)", "IoSmi", kQ | kLin, F::kIo, 0, kNoIntercept,
     kString},
    {kOtherSmi, "Other SMI", "OtherSmi"},
    {kInterruptWindow, "Interrupt window", "InterruptWindow", 0, F::kNone, kBoundary},
    {kNmiWindow, "NMI window", "NmiWindow", 0, F::kNone, kBoundary},
    {kTaskSwitch, "Task switch", "TaskSwitch", kQ | kLen, F::kTaskSwitch},
    {kCpuid, "CPUID", "Cpuid", kLen, F::kNone, 0, kUnconditional},
    {kGetsec, "GETSEC", "Getsec", kLen, F::kNone, 0, kUnconditional},
    {kHlt, "HLT", "Hlt", kLen, F::kNone, 0, by(P::kHltExiting)},
    {kInvd, "INVD", "Invd", kLen, F::kNone, 0, kUnconditional},
    {kInvlpg, "INVLPG", "Invlpg", kQ | kLen, F::kLinearAddress, 0, by(P::kInvlpgExiting)},
    {kRdpmc, "RDPMC", "Rdpmc", kLen, F::kNone, 0, by(P::kRdpmcExiting)},
    {kRdtsc, "RDTSC", "Rdtsc", kLen, F::kNone, 0, by(P::kRdtscExiting)},
    {kRsm, "RSM", "Rsm", kLen},
    {kVmcall, "VMCALL", "Vmcall", kLen},
    {kVmclear, "VMCLEAR", "Vmclear", kQ | kLen | kInfo, F::kDisplacement},
    {kVmlaunch, "VMLAUNCH", "Vmlaunch", kLen},
    {kVmptrld, "VMPTRLD", "Vmptrld", kQ | kLen | kInfo, F::kDisplacement},
    {kVmptrst, "VMPTRST", "Vmptrst", kQ | kLen | kInfo, F::kDisplacement},
    {kVmread, "VMREAD", "Vmread", kQ | kLen | kInfo, F::kDisplacement},
    {kVmresume, "VMRESUME", "Vmresume", kLen},
    {kVmwrite, "VMWRITE", "Vmwrite", kQ | kLen | kInfo, F::kDisplacement},
    {kVmxoff, "VMXOFF", "Vmxoff", kLen},
    {kVmxon, "VMXON", "Vmxon", kQ | kLen | kInfo, F::kDisplacement},
    {kControlRegisterAccess, "Control-register accesses", "ControlRegisterAccess", kQ | kLin | kLen,
     F::kControlRegister, 0, kNoIntercept, kLmswMemory},
    {kMovDr, "MOV DR", "MovDr", kQ | kLen, F::kMovDr},
    {kIoInstruction, "I/O instruction", "IoInstruction", kQ | kLin | kLen | kInfo, F::kIo, 0,
     kNoIntercept, kString},
    {kRdmsr, "RDMSR", "Rdmsr", kLen},
    {kWrmsr, "WRMSR", "Wrmsr", kLen},
    {kEntryFailureGuestState, "VM-entry failure due to invalid guest state",
     "EntryFailureGuestState", kQ, F::kEntryFailure},
    {kEntryFailureMsrLoading, "VM-entry failure due to MSR loading", "EntryFailureMsrLoading", kQ,
     F::kMsrEntry},
    {kMwait, "MWAIT", "Mwait", kQ | kLen, F::kMwait, 0, by(P::kMwaitExiting)},
    {kMonitorTrapFlag, "Monitor trap flag", "MonitorTrapFlag", 0, F::kNone, kBoundary | kPending},
    {kMonitor, "MONITOR", "Monitor", kLen, F::kNone, 0, by(P::kMonitorExiting)},
    {kPause, "PAUSE", "Pause", kLen, F::kNone, 0, kUnconditional},
    {kEntryFailureMachineCheck, "VM-entry failure due to machine-check event",
     "EntryFailureMachineCheck"},
    {kTprBelowThreshold, "TPR below threshold", "TprBelowThreshold", 0, F::kNone,
     kBoundary | kPending},
    {kApicAccess, "APIC access", "ApicAccess", kQ | kLen, F::kApicAccess, kAccess},
    {kVirtualizedEoi, "Virtualized EOI", "VirtualizedEoi", kQ, F::kApicOffset,
     kBoundary | kPending},
    {kGdtrIdtrAccess, "Access to GDTR or IDTR", "GdtrIdtrAccess", kQ | kLen | kInfo,
     F::kDisplacement, 0, by(S::kDescriptorTableExiting)},
    {kLdtrTrAccess, "Access to LDTR or TR", "LdtrTrAccess", kQ | kLen | kInfo, F::kDisplacement, 0,
     by(S::kDescriptorTableExiting)},
    {kEptViolation, "EPT violation", "EptViolation", kQ | kLin | kPhys | kLen, F::kEptViolation,
     kAccess | kUnblocking, kNoIntercept, kLinearValid},
    {kEptMisconfiguration, "EPT misconfiguration", "EptMisconfiguration", kPhys, F::kNone, kAccess},
    {kInvept, "INVEPT", "Invept", kQ | kLen | kInfo, F::kDisplacement},
    {kRdtscp, "RDTSCP", "Rdtscp", kLen, F::kNone, 0, by(P::kRdtscExiting, S::kEnableRdtscp)},
    {kPreemptionTimerExpired, "VMX-preemption timer expired", "PreemptionTimerExpired", 0, F::kNone,
     kBoundary},
    {kInvvpid, "INVVPID", "Invvpid", kQ | kLen | kInfo, F::kDisplacement},
    {kWbinvd, "WBINVD or WBNOINVD", "Wbinvd", kQ | kLen, F::kNone, 0, by(S::kWbinvdExiting)},
    {kXsetbv, "XSETBV", "Xsetbv", kLen, F::kNone, 0, kUnconditional},
    {kApicWrite, "APIC write", "ApicWrite", kQ, F::kApicOffset, kBoundary | kPending},
    {kRdrand, "RDRAND", "Rdrand", kLen | kInfo, F::kNone, 0, by(S::kRdrandExiting)},
    {kInvpcid, "INVPCID", "Invpcid", kQ | kLen | kInfo, F::kDisplacement, 0,
     by(P::kInvlpgExiting, S::kEnableInvpcid)},
    {kVmfunc, "VMFUNC", "Vmfunc", kLen},
    {kEncls, "ENCLS", "Encls", kLen, F::kNone, 0, by(S::kEnableEnclsExiting)},
    {kRdseed, "RDSEED", "Rdseed", kLen | kInfo, F::kNone, 0, by(S::kRdseedExiting)},
    {kPmlFull, "Page-modification log full", "PmlFull", kQ | kLen, F::kEventDelivery,
     kAccess | kUnblocking},
    {kXsaves, "XSAVES", "Xsaves", kQ | kLen | kInfo, F::kDisplacement, 0,
     by(S::kEnableXsavesXrstors)},
    {kXrstors, "XRSTORS", "Xrstors", kQ | kLen | kInfo, F::kDisplacement, 0,
     by(S::kEnableXsavesXrstors)},
    {kPconfig, "PCONFIG", "Pconfig", kLen},
    {kSppRelatedEvent, "SPP-related event", "SppRelatedEvent", kQ | kLin | kPhys | kLen,
     F::kSubPageEvent, kAccess | kUnblocking},
    {kUmwait, "UMWAIT", "Umwait", kLen | kInfo, F::kNone, 0,
     by(P::kRdtscExiting, S::kEnableUserWaitAndPause)},
    {kTpause, "TPAUSE", "Tpause", kLen | kInfo, F::kNone, 0,
     by(P::kRdtscExiting, S::kEnableUserWaitAndPause)},
    {kLoadiwkey, "LOADIWKEY", "Loadiwkey", kLen | kInfo},
    {kEnclv, "ENCLV", "Enclv", kLen},
    {kEnqcmdPasidTranslationFailure, "ENQCMD PASID translation failure",
     "EnqcmdPasidTranslationFailure", kQ},
    {kEnqcmdsPasidTranslationFailure, "ENQCMDS PASID translation failure",
     "EnqcmdsPasidTranslationFailure", kQ},
    {kBusLock, "Bus lock", "BusLock"},
    {kInstructionTimeout, "Instruction timeout", "InstructionTimeout", kQ, F::kInstructionTimeout},
    {kSeamcall, "SEAMCALL", "Seamcall", kLen},
    {kTdcall, "TDCALL", "Tdcall", kLen},
});

constexpr uint8_t kNoRow = 0xff;
constexpr auto kRowOfReason = [] {
  std::array<uint8_t, 128> rows{};
  rows.fill(kNoRow);
  for (size_t i = 0; i < kReasons.size(); ++i)
    rows[static_cast<size_t>(kReasons[i].reason)] = static_cast<uint8_t>(i);
  return rows;
}();

using Part = QualificationPart;
struct FormatPart {
  QualificationFormat format;
  Part part;
};

constexpr std::string_view kGprs[] = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                      "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15"};
constexpr std::string_view kTaskSources[] = {"CALL", "IRET", "JMP", "task gate in IDT"};
constexpr std::string_view kCrAccesses[] = {"MOV to CR", "MOV from CR", "CLTS", "LMSW"};
constexpr std::string_view kOperands[] = {"register", "memory"};
constexpr std::string_view kDrDirections[] = {"MOV to DR", "MOV from DR"};
constexpr std::string_view kIoDirections[] = {"OUT", "IN"};
constexpr std::string_view kIoOperands[] = {"DX", "immediate"};
constexpr std::string_view kIoSizes[] = {"1-byte", "2-byte", "", "4-byte"};
constexpr std::string_view kApicAccesses[] = {
    "data read",
    "data write",
    "instruction fetch",
    "event delivery",
    "monitoring",
    "",
    "",
    "",
    "",
    "",
    "guest-physical access during event delivery",
    "guest-physical access for monitoring or trace",
    "",
    "",
    "",
    "guest-physical access for an instruction fetch or during instruction execution"};
constexpr std::string_view kEntryFailures[] = {"", "", "PDPTEs", "NMI injection",
                                               "VMCS link pointer"};

constexpr std::string_view kSubPageEvents[] = {"SPP misconfiguration", "SPP miss"};

constexpr Part flag(uint8_t bit, std::string_view key) { return {bit, 1, key, {}, true}; }
constexpr FormatPart flag(QualificationFormat format, uint8_t bit, std::string_view key) {
  return {format, flag(bit, key)};
}

constexpr FormatPart kParts[] = {
    {F::kSipiVector, {0, 8, "vector"}},
    {F::kTaskSwitch, {0, 16, "selector"}},
    {F::kTaskSwitch, {30, 2, "source", kTaskSources}},
    {F::kControlRegister, {0, 4, "cr"}},
    {F::kControlRegister, {4, 2, "access", kCrAccesses}},
    {F::kMovDr, {0, 3, "dr"}},
    {F::kMovDr, {4, 1, "access", kDrDirections}},
    {F::kMovDr, {8, 4, "register", kGprs}},
    {F::kIo, {16, 16, "port"}},
    {F::kIo, {0, 3, "size", kIoSizes}},
    {F::kIo, {3, 1, "direction", kIoDirections}},
    flag(F::kIo, 4, "string"),
    flag(F::kIo, 5, "rep"),
    {F::kIo, {6, 1, "operand", kIoOperands}},
    {F::kLinearAddress, {0, 64, "linear"}},
    {F::kDisplacement, {0, 64, "displacement"}},
    {F::kApicAccess, {0, 12, "offset"}},
    {F::kApicAccess, {12, 4, "access", kApicAccesses}},
    flag(F::kApicAccess, 16, "asynchronous"),
    {F::kApicOffset, {0, 12, "offset"}},
    flag(F::kEptViolation, 0, "read"),
    flag(F::kEptViolation, 1, "write"),
    flag(F::kEptViolation, 2, "fetch"),
    flag(F::kEptViolation, 3, "readable"),
    flag(F::kEptViolation, 4, "writable"),
    flag(F::kEptViolation, 5, "executable"),
    flag(F::kEptViolation, 6, "user-executable"),
    flag(F::kEptViolation, 7, "linear-valid"),
    flag(F::kEptViolation, 8, "translation"),  // else a paging-structure entry, if linear-valid
    flag(F::kEptViolation, 9, "user-linear"),
    flag(F::kEptViolation, 10, "page-writable"),
    flag(F::kEptViolation, 11, "page-execute-disable"),
    flag(F::kEptViolation, 12, "nmi-unblocking"),
    flag(F::kEptViolation, 13, "shadow-stack"),
    flag(F::kEptViolation, 14, "supervisor-shadow-stack-page"),
    flag(F::kEptViolation, 15, "guest-paging-verification"),
    flag(F::kEptViolation, 16, "asynchronous"),
    {F::kMwait, {0, 1, "armed"}},
    {F::kEntryFailure, {0, 64, "check", kEntryFailures}},
    {F::kMsrEntry, {0, 64, "entry"}},  // 1 is the first
    flag(F::kEventDelivery, 12, "nmi-unblocking"),
    flag(F::kEventDelivery, 16, "asynchronous"),
    flag(F::kInstructionTimeout, 0, "context-invalid"),
    flag(F::kInstructionTimeout, 12, "nmi-unblocking"),
    {F::kSubPageEvent, {11, 1, "event", kSubPageEvents}},
    flag(F::kSubPageEvent, 12, "nmi-unblocking"),
    flag(F::kSubPageEvent, 16, "asynchronous"),
};

// Debug exceptions share a format with page faults; the vector tells.
constexpr Part kPageFaultPart = {0, 64, "linear"};
constexpr Part kDebugParts[] = {
    flag(0, "B0"),   flag(1, "B1"),  flag(2, "B2"),  flag(3, "B3"),
    flag(11, "BLD"), flag(13, "BD"), flag(14, "BS"), flag(16, "RTM"),
};

// Control-register accesses: which parts mean something depends on the access type.
constexpr Part kMovCrParts[] = {{8, 4, "register", kGprs}};
constexpr Part kLmswParts[] = {{6, 1, "operand", kOperands}, {16, 16, "source"}};

void add_part(QualificationItems& items, const Part& part, uint64_t qualification) {
  const uint64_t value = qualification >> part.low & (~uint64_t{0} >> (64 - part.width));
  if (part.only_if_set && value == 0) return;
  items.add(part.key, value, value < part.names.size() ? part.names[value] : std::string_view());
}

constexpr std::string_view kEventTypes[] = {
    "external interrupt",           "",
    "non-maskable interrupt (NMI)", "hardware exception",
    "software interrupt",           "privileged software exception",
    "software exception",           "other event"};

}  // namespace

std::span<const ExitReasonInfo> exit_reasons() { return kReasons; }

const ExitReasonInfo* find_exit_reason(uint16_t basic_reason) {
  if (basic_reason >= kRowOfReason.size()) return nullptr;
  const uint8_t row = kRowOfReason[basic_reason];
  return row == kNoRow ? nullptr : &kReasons[row];
}

bool has_trait(ExitReason reason, ExitTraits trait) {
  const ExitReasonInfo* info = find_exit_reason(static_cast<uint16_t>(reason));
  return info != nullptr && (info->traits & trait) != 0;
}

std::string_view exit_reason_name(uint32_t exit_reason) {
  const ExitReasonInfo* info = find_exit_reason(exit_reason & kExitReasonBasicMask);
  return info != nullptr ? info->name : "unknown";
}

QualificationParts::QualificationParts(uint32_t exit_reason, uint64_t qualification,
                                       uint8_t vector) {
  const ExitReasonInfo* info = find_exit_reason(exit_reason & kExitReasonBasicMask);
  if (info == nullptr || info->qualification == F::kNone) return;
  if (info->qualification == F::kDebugOrPageFault) {
    if (vector == kPf) add(kPageFaultPart);
    if (vector == kDb)
      for (const Part& part : kDebugParts) add(part);
    return;
  }
  for (const FormatPart& row : kParts)
    if (row.format == info->qualification) add(row.part);
  if (info->qualification == F::kControlRegister) {
    const uint64_t access = qualification >> 4 & 3;
    const std::span<const Part> parts = access <= 1   ? std::span<const Part>(kMovCrParts)
                                        : access == 3 ? std::span<const Part>(kLmswParts)
                                                      : std::span<const Part>();
    for (const Part& part : parts) add(part);
  }
}

QualificationItems decode_qualification(uint32_t exit_reason, uint64_t qualification,
                                        uint8_t vector) {
  QualificationItems items;
  for (const Part* part : QualificationParts(exit_reason, qualification, vector))
    add_part(items, *part, qualification);
  return items;
}

QualificationItems decode_interruption_information(uint32_t information) {
  QualificationItems items;
  if (!interruption::is_valid(information)) return items;
  items.add("vector", interruption::vector_of(information));
  const auto type = static_cast<uint8_t>(interruption::type_of(information));
  items.add("type", type, kEventTypes[type]);
  if (interruption::has_error_code(information)) items.add("error-code", 1);
  if (information & interruption::kNmiUnblocking) items.add("nmi-unblocking", 1);
  return items;
}

}  // namespace nestor::vmx
