// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/checks/predicates.h"
#include "vmx/exceptions.h"

namespace nestor::vmx::checks {
namespace {

using F = Field;

constexpr std::string_view kExitSection = "VM-Exit Control Fields";
constexpr std::string_view kEntrySection = "VM-Entry Control Fields";

constexpr std::string_view kFixedBits = "bits must be as the VMX capability MSRs fix them";
constexpr std::string_view kAligned16 = "bits 3:0 must be 0 if the list is not empty";
constexpr std::string_view kWidth =
    "no bit beyond the physical-address width may be 1 if the list is not empty";
constexpr std::string_view kEndWidth =
    "the list's last byte must not lie beyond the physical-address width";

// --- Event injection.
bool injecting(Context c, Field) { return injection(c).valid(); }
template <EventType kType>
bool injects(Context c, Field) {
  return injection(c).is(kType);
}
template <uint8_t kVector>
bool vector_is(Context c, Field) {
  return injection(c).vector() == kVector;
}

// The exceptions that push an error code in protected mode. IA32_VMX_BASIC[56] is 0, so that of #CP
// is no reason to inject one.
bool pushes_error_code(Injection event) {
  return event.vector() != kCp && exception_info(event.vector()).error_code;
}
// Without "unrestricted guest" CR0.PE cannot be 0: processors do not look at the field then, which
// is wrong anyway.
bool injects_in_protected_mode(Context c) { return protected_guest(c) || !unrestricted(c); }
bool needs_error_code(Context c, Field) {
  const Injection event = injection(c);
  return event.is(EventType::kHardwareException) && injects_in_protected_mode(c) &&
         !c.capabilities.error_code_for_any_vector && pushes_error_code(event);
}
bool forbids_error_code(Context c, Field) {
  const Injection event = injection(c);
  return event.valid() &&
         (event.type() != EventType::kHardwareException || !injects_in_protected_mode(c) ||
          (!c.capabilities.error_code_for_any_vector && event.vector() < kExceptions.size() &&
           !pushes_error_code(event)));
}
bool delivers_error_code(Context c, Field) {
  return injection(c).valid() && injection(c).error_code();
}
bool type_not_reserved(Context c, Field) {
  const EventType type = injection(c).type();
  if (type == EventType::kOther) return c.capabilities.offers(PrimaryProcBased::kMonitorTrapFlag);
  return type != static_cast<EventType>(1);
}
bool injects_software_event(Context c, Field) {
  const Injection event = injection(c);
  return event.is(EventType::kSoftwareInterrupt) || event.is(EventType::kSoftwareException) ||
         event.is(EventType::kPrivilegedSoftwareException);
}
bool valid_instruction_length(Context c, Field field) {
  if (c[field] == 0) return c.capabilities.has_misc(vmx_misc::kInjectionLength0);
  return c[field] <= 15;
}

constexpr EntryCheck kExitChecks[] = {
    {"exit-reserved", F::kVmExitControls, always, as_offered<ControlGroup::kVmExit>, kFixedBits,
     kExitSection},
    {"secondary-exit-reserved", F::kSecondaryVmExitControls,
     on<VmExitControl::kActivateSecondaryControls>, as_offered<ControlGroup::kSecondaryVmExit>,
     "bits that the VMX capability MSRs do not offer must be 0", kExitSection},
    {"save-timer-needs-timer", F::kVmExitControls, off<PinBased::kActivatePreemptionTimer>,
     off<VmExitControl::kSavePreemptionTimerValue>,
     "\"save VMX-preemption timer value\" must be 0 if \"activate VMX-preemption timer\" is 0",
     kExitSection},
    {"exit-msr-store-alignment", F::kVmExitMsrStoreAddress, has_msrs<F::kVmExitMsrStoreCount>,
     zero<3, 0>, kAligned16, kExitSection},
    {"exit-msr-store-width", F::kVmExitMsrStoreAddress, has_msrs<F::kVmExitMsrStoreCount>,
     within_width, kWidth, kExitSection},
    {"exit-msr-store-end-width", F::kVmExitMsrStoreAddress, has_msrs<F::kVmExitMsrStoreCount>,
     msr_area_within_width<F::kVmExitMsrStoreCount>, kEndWidth, kExitSection},
    {"exit-msr-load-alignment", F::kVmExitMsrLoadAddress, has_msrs<F::kVmExitMsrLoadCount>,
     zero<3, 0>, kAligned16, kExitSection},
    {"exit-msr-load-width", F::kVmExitMsrLoadAddress, has_msrs<F::kVmExitMsrLoadCount>,
     within_width, kWidth, kExitSection},
    {"exit-msr-load-end-width", F::kVmExitMsrLoadAddress, has_msrs<F::kVmExitMsrLoadCount>,
     msr_area_within_width<F::kVmExitMsrLoadCount>, kEndWidth, kExitSection},
};

constexpr EntryCheck kEntryChecks[] = {
    {"entry-reserved", F::kVmEntryControls, always, as_offered<ControlGroup::kVmEntry>, kFixedBits,
     kEntrySection},
    {"injection-type", F::kVmEntryInterruptionInformation, injecting, type_not_reserved,
     "the interruption type must not be reserved (1, or 7 without \"monitor trap flag\")",
     kEntrySection},
    {"injection-nmi-vector", F::kVmEntryInterruptionInformation, injects<EventType::kNmi>,
     vector_is<2>, "the vector of a non-maskable interrupt must be 2", kEntrySection},
    {"injection-exception-vector", F::kVmEntryInterruptionInformation,
     injects<EventType::kHardwareException>,
     [](Context c, Field) { return injection(c).vector() < 32; },
     "the vector of a hardware exception must be at most 31", kEntrySection},
    {"injection-other-vector", F::kVmEntryInterruptionInformation, injects<EventType::kOther>,
     vector_is<0>, "the vector of an other event must be 0", kEntrySection},
    {"injection-error-code-missing", F::kVmEntryInterruptionInformation, needs_error_code,
     [](Context c, Field) { return injection(c).error_code(); },
     "deliver-error-code must be 1 for #DF, #TS, #NP, #SS, #GP, #PF and #AC in protected mode",
     kEntrySection},
    {"injection-error-code-forbidden", F::kVmEntryInterruptionInformation, forbids_error_code,
     [](Context c, Field) { return !injection(c).error_code(); },
     "deliver-error-code must be 0: the event pushes no error code", kEntrySection},
    {"injection-reserved", F::kVmEntryInterruptionInformation, injecting, zero<30, 12>,
     "bits 30:12 must be 0", kEntrySection},
    {"injection-error-code-value", F::kVmEntryExceptionErrorCode, delivers_error_code, zero<31, 16>,
     "bits 31:16 must be 0", kEntrySection},
    {"injection-instruction-length", F::kVmEntryInstructionLength, injects_software_event,
     valid_instruction_length, "must be 1 to 15, or 0 if IA32_VMX_MISC[30] is 1", kEntrySection},
    {"entry-msr-load-alignment", F::kVmEntryMsrLoadAddress, has_msrs<F::kVmEntryMsrLoadCount>,
     zero<3, 0>, kAligned16, kEntrySection},
    {"entry-msr-load-width", F::kVmEntryMsrLoadAddress, has_msrs<F::kVmEntryMsrLoadCount>,
     within_width, kWidth, kEntrySection},
    {"entry-msr-load-end-width", F::kVmEntryMsrLoadAddress, has_msrs<F::kVmEntryMsrLoadCount>,
     msr_area_within_width<F::kVmEntryMsrLoadCount>, kEndWidth, kEntrySection},
    {"smm-controls-outside-smm", F::kVmEntryControls, [](Context c, Field) { return !c.in_smm; },
     off<VmEntryControl::kEntryToSmm, VmEntryControl::kDeactivateDualMonitor>,
     "\"entry to SMM\" and \"deactivate dual-monitor treatment\" must be 0 outside SMM",
     kEntrySection},
    {"smm-controls-exclusive", F::kVmEntryControls, on<VmEntryControl::kEntryToSmm>,
     off<VmEntryControl::kDeactivateDualMonitor>,
     "\"entry to SMM\" and \"deactivate dual-monitor treatment\" must not both be 1",
     kEntrySection},
};

}  // namespace

CheckTable exit_controls() { return table_of<kExitChecks>(); }
CheckTable entry_controls() { return table_of<kEntryChecks>(); }

}  // namespace nestor::vmx::checks
