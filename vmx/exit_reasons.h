// SPDX-License-Identifier: GPL-2.0-or-later
//
// Why a VM exit happened, and which VM-exit information fields say more ("VMX Basic Exit Reasons";
// "Basic VM-Exit Information").
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "vmx/controls.h"

namespace nestor::vmx {

// Bits 15:0 of the exit-reason field.
enum class ExitReason : uint16_t {
  kExceptionOrNmi = 0,
  kExternalInterrupt = 1,
  kTripleFault = 2,
  kInitSignal = 3,
  kSipi = 4,
  kIoSmi = 5,
  kOtherSmi = 6,
  kInterruptWindow = 7,
  kNmiWindow = 8,
  kTaskSwitch = 9,
  kCpuid = 10,
  kGetsec = 11,
  kHlt = 12,
  kInvd = 13,
  kInvlpg = 14,
  kRdpmc = 15,
  kRdtsc = 16,
  kRsm = 17,
  kVmcall = 18,
  kVmclear = 19,
  kVmlaunch = 20,
  kVmptrld = 21,
  kVmptrst = 22,
  kVmread = 23,
  kVmresume = 24,
  kVmwrite = 25,
  kVmxoff = 26,
  kVmxon = 27,
  kControlRegisterAccess = 28,
  kMovDr = 29,
  kIoInstruction = 30,
  kRdmsr = 31,
  kWrmsr = 32,
  kEntryFailureGuestState = 33,
  kEntryFailureMsrLoading = 34,
  kMwait = 36,
  kMonitorTrapFlag = 37,
  kMonitor = 39,
  kPause = 40,
  kEntryFailureMachineCheck = 41,
  kTprBelowThreshold = 43,
  kApicAccess = 44,
  kVirtualizedEoi = 45,
  kGdtrIdtrAccess = 46,
  kLdtrTrAccess = 47,
  kEptViolation = 48,
  kEptMisconfiguration = 49,
  kInvept = 50,
  kRdtscp = 51,
  kPreemptionTimerExpired = 52,
  kInvvpid = 53,
  kWbinvd = 54,
  kXsetbv = 55,
  kApicWrite = 56,
  kRdrand = 57,
  kInvpcid = 58,
  kVmfunc = 59,
  kEncls = 60,
  kRdseed = 61,
  kPmlFull = 62,
  kXsaves = 63,
  kXrstors = 64,
  kPconfig = 65,
  kSppRelatedEvent = 66,
  kUmwait = 67,
  kTpause = 68,
  kLoadiwkey = 69,
  kEnclv = 70,
  kEnqcmdPasidTranslationFailure = 72,
  kEnqcmdsPasidTranslationFailure = 73,
  kBusLock = 74,
  kInstructionTimeout = 75,
  kSeamcall = 76,
  kTdcall = 77,
};

// Exit-reason field, the bits beyond the basic reason.
inline constexpr uint32_t kExitReasonBasicMask = 0xffff;
inline constexpr uint32_t kExitReasonPendingMtf = 1u << 28;
inline constexpr uint32_t kExitReasonFromRoot = 1u << 29;
inline constexpr uint32_t kExitReasonEntryFailure = 1u << 31;
constexpr ExitReason basic_reason(uint32_t exit_reason) {
  return static_cast<ExitReason>(exit_reason & kExitReasonBasicMask);
}

// VM-exit information fields that hold something for a reason, as bits.
enum ExitDefines : uint8_t {
  kDefinesQualification = 1 << 0,
  kDefinesGuestLinear = 1 << 1,  // for some exits of the reason
  kDefinesGuestPhysical = 1 << 2,
  kDefinesLength = 1 << 3,        // VM-exit instruction length; task switch and events: some exits
  kDefinesInformation = 1 << 4,   // VM-exit instruction information
  kDefinesInterruption = 1 << 5,  // VM-exit interruption information
};

// How the exit qualification is to be read.
enum class QualificationFormat : uint8_t {
  kNone,
  kDebugOrPageFault,  // exceptions: #DB debug exceptions, #PF linear address, otherwise nothing
  kSipiVector,
  kTaskSwitch,
  kControlRegister,
  kMovDr,
  kIo,
  kLinearAddress,
  kDisplacement,
  kApicAccess,
  kApicOffset,  // virtualized EOI: the vector; APIC write: the offset
  kEptViolation,
  kMwait,
  kEntryFailure,   // which check of the guest state
  kMsrEntry,       // which entry of the MSR-load area
  kEventDelivery,  // PML full: NMI unblocking due to IRET
  kInstructionTimeout,
  kSubPageEvent,  // SPP-related events: miss or misconfiguration
};

// What else differs by the reason, as bits.
enum ExitTraits : uint8_t {
  // When the exit happens: because of an event that would otherwise be delivered through the IDT;
  // because of an access to memory, maybe in the middle of an instruction or of a delivery; between
  // two instructions. None of these: because of an instruction.
  kExitOfEvent = 1 << 0,
  kExitOfAccess = 1 << 1,
  kExitAtBoundary = 1 << 2,
  kExitKeepsPendingDebugExceptions = 1 << 3,  // "Saving Non-Register State"
  kExitReportsNmiUnblocking = 1 << 4,         // bit 12 of the exit qualification
};

// Which controls make an instruction exit: all that are named here are 1. None: unconditionally.
struct InstructionIntercept {
  bool exists = false;  // the reason is that of an instruction that Vmx::instruction_exits judges
  std::optional<PrimaryProcBased> primary{};
  std::optional<SecondaryProcBased> secondary{};
};

// Bits of an exit qualification that must have a value.
struct QualificationPattern {
  uint64_t mask = 0, value = 0;
  constexpr bool matches(uint64_t qualification) const { return (qualification & mask) == value; }
};

struct ExitReasonInfo {
  ExitReason reason{};
  std::string_view name;        // as the SDM prints it, shortened: "EPT violation"
  std::string_view identifier;  // the enumerator without its k
  uint8_t defines = 0;          // ExitDefines
  QualificationFormat qualification = QualificationFormat::kNone;
  uint8_t traits = 0;  // ExitTraits
  InstructionIntercept intercept{};
  // With kDefinesGuestLinear: which exits define it, and kDefinesInformation where that is set too.
  QualificationPattern guest_linear_if{};

  constexpr bool defines_information(uint64_t exit_qualification) const {
    return (defines & kDefinesInformation) != 0 && guest_linear_if.matches(exit_qualification);
  }
  constexpr bool defines_guest_linear(uint64_t exit_qualification) const {
    return (defines & kDefinesGuestLinear) != 0 && guest_linear_if.matches(exit_qualification);
  }
};

// In the order of the numbers.
std::span<const ExitReasonInfo> exit_reasons();
// nullptr: the SDM defines no such basic exit reason.
const ExitReasonInfo* find_exit_reason(uint16_t basic_reason);
// Does a defined reason have the trait?
bool has_trait(ExitReason reason, ExitTraits trait);
// "unknown" when undefined.
std::string_view exit_reason_name(uint32_t exit_reason);

// One datum of an exit qualification. `text` is not empty where the value has a name
// ("MOV to CR", "IN"); flags are reported only when they are 1.
struct QualificationItem {
  std::string_view key;
  uint64_t value = 0;
  std::string_view text;
};

// The decoded exit qualification, without allocation.
class QualificationItems {
 public:
  static constexpr size_t kCapacity = 17;  // the flags of an EPT violation
  void add(std::string_view key, uint64_t value, std::string_view text = {}) {
    if (size_ < kCapacity) items_[size_++] = {key, value, text};
  }
  const QualificationItem* begin() const { return items_.data(); }
  const QualificationItem* end() const { return items_.data() + size_; }
  size_t size() const { return size_; }
  const QualificationItem& operator[](size_t i) const { return items_[i]; }

 private:
  std::array<QualificationItem, kCapacity> items_{};
  size_t size_ = 0;
};

// What some bits of an exit qualification are.
struct QualificationPart {
  uint8_t low = 0, width = 0;  // its lowest bit, and how many there are
  std::string_view key;
  std::span<const std::string_view> names = {};  // by value
  bool only_if_set = false;                      // a flag, which is reported when it is 1
};

// The parts of an exit qualification of that reason, by pointers to static tables; the
// qualification itself may decide on them. The other arguments are those of decode_qualification().
class QualificationParts {
 public:
  QualificationParts(uint32_t exit_reason, uint64_t qualification, uint8_t vector = 0);
  const QualificationPart* const* begin() const { return parts_.data(); }
  const QualificationPart* const* end() const { return parts_.data() + size_; }

 private:
  void add(const QualificationPart& part) {
    if (size_ < parts_.size()) parts_[size_++] = &part;
  }
  std::array<const QualificationPart*, QualificationItems::kCapacity> parts_{};
  size_t size_ = 0;
};

// Decodes by the format of the reason (`exit_reason` is the whole field). `vector`: that of the
// VM-exit interruption information, for exceptions. Empty where the qualification is undefined.
QualificationItems decode_qualification(uint32_t exit_reason, uint64_t qualification,
                                        uint8_t vector = 0);

// The 32-bit VM-exit interruption information and IDT-vectoring information fields, and the
// VM-entry one. `text` of the type is as the SDM prints it.
QualificationItems decode_interruption_information(uint32_t information);

}  // namespace nestor::vmx
