// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/vmx/decided.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <vector>

#include "vmx/capabilities.h"
#include "vmx/cpu_state.h"
#include "vmx/exit_reasons.h"

namespace nestor::fuzz {
namespace {

using vmx::ExitReason;
using vmx::Field;

constexpr uint64_t kValid = 1ull << 31, kBlockedBySti = 1, kBlockedByMovSs = 2,
                   kSingleStep = 1 << 14, kEnabledBreakpoint = 1 << 12, kBreakpoints = 0xf;
constexpr uint64_t kHlt = 1, kShutdown = 2;
enum EventKind : uint64_t { kHardwareException = 3, kSoftwareInterrupt = 4, kOtherEvent = 7 };

// --- what a difference is about

uint64_t of(const Exit* exit, uint32_t encoding) {
  return exit != nullptr ? value_at(exit->information, encoding) : 0;
}
bool is_exit(const Exit* exit, ExitReason reason) {
  return exit != nullptr && of(exit, kReason) == static_cast<uint64_t>(reason);
}
bool is_exception(const Exit* exit, uint64_t vector) {
  return is_exit(exit, ExitReason::kExceptionOrNmi) && (of(exit, kInterruption) & 0xff) == vector;
}
bool both_are_exceptions(const Difference& d, uint64_t vector) {
  return is_exception(d.left_exit, vector) && is_exception(d.right_exit, vector);
}
bool is_guest(const Difference& d, Field field) {
  return d.item == Item::kGuest && d.key == vmx::encoding_of(field);
}
bool is_information(const Difference& d, uint32_t encoding) {
  return d.item == Item::kInformation && d.key == encoding;
}
// The left one has these bits and the right one has not, and nothing else differs.
bool only_left_has(const Difference& d, uint64_t bits) {
  return (d.left ^ d.right) == bits && (d.left & bits) == bits;
}
bool only_right_has(const Difference& d, uint64_t bits) {
  return (d.left ^ d.right) == bits && (d.right & bits) == bits;
}
bool real_mode(const vmx::Vmcs& vmcs) { return !(vmcs[Field::kGuestCr0] & vmx::cr0::kPe); }
bool virtual_8086(const vmx::Vmcs& vmcs) { return vmcs[Field::kGuestRflags] & vmx::rflags::kVm; }
bool code_64bit(const vmx::Vmcs& vmcs) {
  return vmcs.has(vmx::VmEntryControl::kIa32eModeGuest) &&
         (vmcs[Field::kGuestCsAccessRights] & 0x2000) != 0;
}
uint64_t blocking(const vmx::Vmcs& vmcs) {
  return vmcs[Field::kGuestInterruptibilityState] & (kBlockedBySti | kBlockedByMovSs);
}
// Whether the VM entry before this VM exit injects an event of the type.
bool injects(const Difference& d, uint64_t type) {
  const uint64_t event = d.situation.entry[Field::kVmEntryInterruptionInformation];
  return d.situation.index == 0 && (event & kValid) != 0 && (event >> 8 & 7) == type;
}
bool injects(const Difference& d) {
  return d.situation.index == 0 &&
         (d.situation.entry[Field::kVmEntryInterruptionInformation] & kValid) != 0;
}
bool is_ept_exit(const Exit* exit) {
  return is_exit(exit, ExitReason::kEptViolation) ||
         is_exit(exit, ExitReason::kEptMisconfiguration) || is_exit(exit, ExitReason::kPmlFull);
}
bool ept_sets_flags(const Difference& d) {
  return d.situation.entry.has(vmx::SecondaryProcBased::kEnableEpt) &&
         (d.situation.entry[Field::kEptPointer] & 0x40) != 0;
}

// --- VM entries that only one of them makes

struct Unchecked {
  std::string_view check;  // vmx::EntryCheck::id
  size_t kind;
};
// The kinds, from the one of RIP on, in the order of kKinds below.
enum UncheckedKind : size_t { kEvent, kTrap, kPending, kDebugctl, kRip, kCounters, kPosted };
constexpr Unchecked kUnchecked[] = {
    {"guest-hlt-injection", kEvent},
    {"guest-pending-debug-bs-forbidden", kTrap},
    {"guest-pending-debug-reserved", kPending},
    {"guest-debugctl-reserved", kDebugctl},
    {"guest-rip-linear-width", kRip},
    {"guest-perf-global-ctrl-reserved", kCounters},
    {"host-perf-global-ctrl-reserved", kCounters},
    {"posted-interrupts-need-virtual-interrupt-delivery", kPosted},
};

std::vector<std::string_view> failing_checks(const Difference& d) {
  std::vector<std::string_view> failing;
  const vmx::Capabilities capabilities = vmx::nestor_capabilities();
  vmx::check_all({.vmcs = d.situation.entry,
                  .capabilities = capabilities,
                  .memory = &d.situation.memory,
                  .current_vmcs = ept::PhysicalAddress{1}},
                 [&](const vmx::FailedCheck& check) { failing.push_back(check.id); });
  return failing;
}

bool entry_fails(const Exit* exit, const Difference& d, uint64_t error) {
  return exit != nullptr ? (of(exit, kReason) & vmx::kExitReasonEntryFailure) != 0
                         : d.item == Item::kOutcome && error != 0;
}

// Nestor refuses the VM entry, and Bochs makes none of the checks that fail.
template <UncheckedKind kKind>
bool is_unchecked(const Difference& d) {
  if (d.situation.index != 0 || (d.item != Item::kReason && d.item != Item::kOutcome)) return false;
  if (!entry_fails(d.left_exit, d, d.left) || entry_fails(d.right_exit, d, d.right)) return false;
  const auto kind_of = [](std::string_view check) {
    const auto* found = std::ranges::find(kUnchecked, check, &Unchecked::check);
    return found == std::end(kUnchecked) ? std::size(kUnchecked) : found->kind;
  };
  // Of these two fields Bochs looks at the low half.
  const auto low_half_reserved = [&](Field field, uint64_t allowed) {
    return (d.situation.entry[field] & 0xffffffff & ~allowed) != 0;
  };
  if (low_half_reserved(Field::kGuestPendingDebugExceptions, 0x1500f) && kKind == kPending)
    return false;
  const std::vector<std::string_view> failing = failing_checks(d);
  return !failing.empty() && kind_of(failing.front()) == kKind &&
         std::ranges::all_of(failing, [&](std::string_view check) {
           return kind_of(check) < std::size(kUnchecked);
         });
}

bool two_checks_fail(const Difference& d) {
  return is_information(d, kQualification) && entry_fails(d.left_exit, d, 0) &&
         failing_checks(d).size() > 1;
}

// --- paging

bool walk_is_read_and_write(const Difference& d) {
  return is_information(d, kQualification) && is_exit(d.left_exit, ExitReason::kEptViolation) &&
         ept_sets_flags(d) && only_left_has(d, 1) && (d.left & 0x183) == 0x83;
}

// Whether EPT forbids writes to some page with guest paging structures.
bool some_table_is_read_only(const Difference& d) {
  constexpr uint64_t kPages[] = {kPml4, kPdpt, kDirectory, kTable, kTable32, kDirectory32};
  return std::ranges::any_of(kPages, [&](uint64_t page) {
    uint64_t table = d.situation.entry[Field::kEptPointer] & ~0xfffull;
    for (int level = 3; level >= 0; --level) {
      uint64_t entry = 0;
      const uint64_t index = page >> (12 + 9 * level) & 511;
      d.situation.memory.read(ept::PhysicalAddress{table + 8 * index},
                              std::span(reinterpret_cast<uint8_t*>(&entry), sizeof entry));
      if (!(entry & 2)) return true;
      if (entry & 0x80) return false;
      table = entry & 0xfffff'ffff'f000;
    }
    return false;
  });
}

// The walk goes no further, or causes a virtualization exception.
bool accessed_flag_is_refused(const Difference& d) {
  if (!d.situation.entry.has(vmx::SecondaryProcBased::kEnableEpt) || ept_sets_flags(d))
    return false;
  if (is_exception(d.left_exit, vmx::kVe)) return some_table_is_read_only(d);
  return is_exit(d.left_exit, ExitReason::kEptViolation) &&
         (of(d.left_exit, kQualification) & 0x182) == 0x82;
}

// A guest entry leads to where Bochs has no physical addresses: to it the bits are reserved.
bool beyond_physical_width(const Difference& d) {
  constexpr unsigned kBochsWidth = 40;
  return is_ept_exit(d.left_exit) && of(d.left_exit, kGuestPhysical) >> kBochsWidth != 0 &&
         is_exception(d.right_exit, vmx::kPf);
}

// What is outside memory reads as ones here, and is code that is undefined.
bool tables_are_ones(const Difference& d) {
  std::array<uint8_t, 4> entry{};
  d.situation.memory.read(ept::PhysicalAddress{d.situation.left[Field::kGuestCr3] & ~0xfffull},
                          entry);
  return is_exception(d.left_exit, vmx::kUd) && is_exception(d.right_exit, vmx::kPf) &&
         std::ranges::all_of(entry, [](uint8_t byte) { return byte == 0xff; });
}

bool log_is_full_for_an_accessed_flag(const Difference& d) {
  return d.item == Item::kReason && is_exit(d.left_exit, ExitReason::kPmlFull) &&
         is_ept_exit(d.right_exit) && d.situation.before[Field::kPmlIndex] > 511;
}

// The flags of such guest entries are bits of EPT entries.
bool ept_holds_guest_tables(const Difference& d) {
  if (!d.situation.entry.has(vmx::SecondaryProcBased::kEnableEpt)) return false;
  constexpr uint64_t kPages[] = {kPml4, kPdpt, kDirectory, kTable, kTable32, kDirectory32};
  return std::ranges::any_of(kPages, [&](uint64_t page) {
    uint64_t entry = 0;
    d.situation.memory.read(ept::PhysicalAddress{kEptTable + 8 * (page >> 12 & 511)},
                            std::span(reinterpret_cast<uint8_t*>(&entry), sizeof entry));
    entry &= 0xfffff'ffff'f000;
    return entry >= kEptPml4 && entry <= kEptTable;
  });
}

bool ept_was_overwritten(const Difference& d) {
  if (ept_holds_guest_tables(d)) return true;
  // Executed, it depends on its own flags.
  const uint64_t page = (d.situation.left[Field::kGuestRip] & ~0xfffull) | kArena;
  if (page >= kEptPml4 && page <= kEptTable) return true;
  const auto changed = [](const Exit* exit) {
    return exit != nullptr && std::ranges::any_of(exit->memory, [](const auto& changed_page) {
             return changed_page.first >= kEptPml4 && changed_page.first <= kEptTable;
           });
  };
  return changed(d.left_exit) || changed(d.right_exit);
}

// --- events

bool vector_table_comes_first(const Difference& d) {
  const uint64_t event = of(d.left_exit, kVectoring);
  if (!(event & kValid) || !real_mode(d.situation.before)) return false;
  if (!is_ept_exit(d.left_exit)) return false;
  if (d.item == Item::kMemory) return d.left == 0 && d.key == kStack;
  const uint64_t entry = d.situation.before[Field::kGuestIdtrBase] + 4 * (event & 0xff);
  return of(d.left_exit, kGuestPhysical) == entry && of(d.right_exit, kGuestPhysical) != entry;
}

bool resume_flag_of_delivery(const Difference& d) {
  const uint64_t event = of(d.left_exit, kVectoring), type = event >> 8 & 7;
  const uint64_t vector = event & 0xff;
  const bool fault = type == kHardwareException && vector != vmx::kDb && vector != vmx::kDf;
  return is_guest(d, Field::kGuestRflags) && only_right_has(d, vmx::rflags::kRf) &&
         (event & kValid) != 0 && (injects(d) || !fault) &&
         (is_ept_exit(d.left_exit) || is_exit(d.left_exit, ExitReason::kApicAccess));
}

bool resume_flag_of_abort(const Difference& d) {
  return is_guest(d, Field::kGuestRflags) && only_right_has(d, vmx::rflags::kRf) &&
         (is_exception(d.left_exit, vmx::kDf) || is_exit(d.left_exit, ExitReason::kTripleFault));
}

bool unblocking_without_an_access(const Difference& d) {
  constexpr uint64_t kUnblocking = 1 << 12;
  constexpr uint64_t kOfAccess[] = {vmx::kPf, vmx::kAc, vmx::kVe};
  return is_information(d, kInterruption) && only_right_has(d, kUnblocking) &&
         is_exit(d.left_exit, ExitReason::kExceptionOrNmi) &&
         std::ranges::find(kOfAccess, d.left & 0xff) == std::end(kOfAccess);
}

// The flags that were pushed for the handler, which executes VMCALL.
bool resume_flag_on_the_stack(const Difference& d) {
  const bool long_mode = d.situation.left.has(vmx::VmEntryControl::kIa32eModeGuest);
  return d.item == Item::kMemory && d.key == kStack &&
         d.situation.left[Field::kGuestRip] == kHandlers + (long_mode ? 8 : 4) * vmx::kDf;
}

bool resume_flag_between_iterations(const Difference& d) {
  return is_guest(d, Field::kGuestRflags) && only_right_has(d, vmx::rflags::kRf) &&
         is_exit(d.left_exit, ExitReason::kMonitorTrapFlag) &&
         d.situation.left[Field::kGuestRip] == d.situation.before[Field::kGuestRip];
}

bool virtual_8086_injection(const Difference& d) {
  constexpr uint64_t kProtection = 0x80000b0d;  // as an event whose delivery was interrupted
  return injects(d, kSoftwareInterrupt) && virtual_8086(d.situation.entry) &&
         (d.situation.entry[Field::kGuestRflags] & vmx::rflags::kIopl) != vmx::rflags::kIopl &&
         (is_exception(d.right_exit, vmx::kGp) || of(d.right_exit, kVectoring) == kProtection);
}

bool virtual_8086_vectoring(const Difference& d) {
  return is_information(d, kVectoring) && both_are_exceptions(d, vmx::kGp) &&
         virtual_8086(d.situation.before) && (d.left & kValid) == 0 && (d.right & kValid) != 0;
}

bool breakpoints_beside_single_step(const Difference& d) {
  return is_information(d, kQualification) && both_are_exceptions(d, vmx::kDb) &&
         (d.left & kSingleStep) != 0 && d.right == (d.left & ~kBreakpoints);
}

bool breakpoint_without_number(const Difference& d) {
  constexpr uint64_t kDebugEvent = 0x80000301;
  const uint64_t pending = d.situation.before[Field::kGuestPendingDebugExceptions];
  return (is_exception(d.left_exit, vmx::kDb) || of(d.left_exit, kVectoring) == kDebugEvent) &&
         !is_exception(d.right_exit, vmx::kDb) &&
         (pending & (kEnabledBreakpoint | kSingleStep | kBreakpoints)) == kEnabledBreakpoint;
}

bool pending_in_shutdown(const Difference& d) {
  return d.situation.index == 0 && is_exception(d.right_exit, vmx::kDb) &&
         d.situation.entry[Field::kGuestActivityState] == kShutdown &&
         d.situation.entry[Field::kGuestPendingDebugExceptions] != 0;
}

bool pending_in_hlt(const Difference& d) {
  return d.situation.index == 0 && is_exit(d.right_exit, ExitReason::kPreemptionTimerExpired) &&
         d.situation.entry[Field::kGuestActivityState] == kHlt &&
         (d.situation.entry[Field::kGuestPendingDebugExceptions] &
          (kEnabledBreakpoint | kSingleStep)) != 0;
}

bool interrupt_flag_of_shutdown(const Difference& d) {
  return is_guest(d, Field::kGuestRflags) && only_left_has(d, vmx::rflags::kIf) &&
         d.situation.entry[Field::kGuestActivityState] == kShutdown;
}

// The VM exit comes before the first instruction, whatever the processor does then.
bool injected_monitor_trap_flag(const Difference& d) {
  return injects(d, kOtherEvent) && is_exit(d.left_exit, ExitReason::kMonitorTrapFlag);
}

bool timer_of_zero(const Difference& d) {
  return is_exit(d.left_exit, ExitReason::kPreemptionTimerExpired) &&
         d.situation.entry[Field::kVmxPreemptionTimerValue] == 0 && blocking(d.situation.before);
}

bool timer_of_zero_was_saved(const Difference& d) {
  return is_exit(d.left_exit, ExitReason::kPreemptionTimerExpired) && d.situation.index != 0 &&
         d.situation.entry[Field::kVmxPreemptionTimerValue] == 0 &&
         d.situation.entry.has(vmx::VmExitControl::kSavePreemptionTimerValue);
}

bool nmi_blocked_by_sti(const Difference& d) {
  return is_information(d, kQualification) && entry_fails(d.left_exit, d, 0) &&
         d.left == vmx::kEntryFailureNmi && d.right == 0;
}

// Nestor gives the exception's information on the page of its own.
bool virtualization_exception_information(const Difference& d) {
  return d.item == Item::kMemory &&
         d.situation.entry.has(vmx::SecondaryProcBased::kEptViolationVe) &&
         d.key == d.situation.entry[Field::kVirtualizationExceptionInformationAddress];
}

// --- single instructions

bool real_mode_code_segment(const Difference& d) {
  constexpr uint64_t kType = 0xf, kData = 3;
  return is_guest(d, Field::kGuestCsAccessRights) && real_mode(d.situation.left) &&
         d.right == ((d.left & ~kType) | kData);
}

bool task_register_bits(const Difference& d) {
  return is_guest(d, Field::kGuestTrAccessRights) && (d.left & ~0x6000ull) == d.right;
}

bool beyond_code_limit(const Difference& d) {
  constexpr uint64_t kLongest = 15;
  const vmx::Vmcs& vmcs = d.situation.right;
  const uint64_t rip = vmcs[Field::kGuestRip], limit = vmcs[Field::kGuestCsLimit];
  const bool fault = is_exception(d.right_exit, vmx::kGp) || is_exception(d.right_exit, vmx::kDf);
  if (fault) return !code_64bit(vmcs) && rip + kLongest > limit;
  // In the handler of the double fault, while the left one has gone on and written elsewhere.
  return d.item == Item::kReason && d.situation.entry[Field::kGuestCsLimit] == 0xffff &&
         rip == kHandlers + 4 * vmx::kDf && d.left_exit->memory != d.right_exit->memory;
}

bool sti_with_interrupts_on(const Difference& d) {
  return is_guest(d, Field::kGuestInterruptibilityState) && only_left_has(d, kBlockedBySti) &&
         (d.situation.before[Field::kGuestRflags] & vmx::rflags::kIf) != 0;
}

bool branch_out_of_canonical_space(const Difference& d) {
  const auto rip = static_cast<int64_t>(d.situation.left[Field::kGuestRip]);
  return both_are_exceptions(d, vmx::kGp) && rip << 16 >> 16 != rip &&
         (is_guest(d, Field::kGuestRip) || is_guest(d, Field::kGuestRsp) ||
          is_guest(d, Field::kGuestInterruptibilityState));
}

// The same in the handler of #GP: RET has popped, and the frame is aligned.
bool return_out_of_canonical_space(const Difference& d) {
  const uint64_t offset = d.situation.left[Field::kGuestRsp] - d.situation.right[Field::kGuestRsp];
  return is_guest(d, Field::kGuestRsp) && offset == 0x10 && code_64bit(d.situation.left) &&
         d.situation.left[Field::kGuestRip] == kHandlers + 8 * vmx::kGp;
}

// Loads, stores and returns through a segment that does not allow them, or not all offsets.
bool segment_is_not_checked(const Difference& d) {
  const bool fault = is_exception(d.right_exit, vmx::kGp) ||
                     is_exception(d.right_exit, vmx::kSs12) ||
                     is_exit(d.right_exit, ExitReason::kTripleFault);
  if (!fault || code_64bit(d.situation.before)) return false;
  constexpr vmx::SegmentRegister kData[] = {vmx::kEs, vmx::kSs, vmx::kDs, vmx::kFs, vmx::kGs};
  return std::ranges::any_of(kData, [&](vmx::SegmentRegister segment) {
    constexpr uint64_t kType = 0x1000e, kWritable = 2;  // with the unusable bit, without "accessed"
    const bool small = real_mode(d.situation.before) || virtual_8086(d.situation.before);
    return (d.situation.before[vmx::guest_access_rights(segment)] & kType) != kWritable ||
           d.situation.before[vmx::guest_limit(segment)] < (small ? 0xffff : 0xffffffff);
  });
}

bool words_of_far_return(const Difference& d) {
  return is_information(d, kGuestPhysical) && is_ept_exit(d.left_exit) &&
         (of(d.left_exit, kVectoring) & kValid) == 0 &&
         d.left == d.situation.before[Field::kGuestRsp] && d.right > d.left &&
         d.right - d.left <= 8;
}

bool loop_until_the_timer(const Difference& d) {
  return is_exit(d.left_exit, ExitReason::kPreemptionTimerExpired) &&
         is_exit(d.right_exit, ExitReason::kPreemptionTimerExpired) &&
         d.situation.entry[Field::kVmxPreemptionTimerValue] != 0;
}

bool interrupt_window_in_hlt(const Difference& d) {
  return d.item == Item::kReason && is_exit(d.left_exit, ExitReason::kInterruptWindow) &&
         d.situation.left[Field::kGuestActivityState] == kHlt;
}

bool walk_on_the_apic_access_page(const Difference& d) {
  const uint64_t type = d.left >> 12 & 0xf;  // "Exit Qualification for APIC-Access VM Exits"
  return is_information(d, kQualification) && is_exit(d.left_exit, ExitReason::kApicAccess) &&
         (type == 10 || type == 15);
}

bool debugctl_was_not_loaded(const Difference& d) {
  return is_guest(d, Field::kGuestIa32Debugctl) && d.left == 0 &&
         !d.situation.entry.has(vmx::VmEntryControl::kLoadDebugControls);
}

// OUTS has passed its iterations, of which Bochs makes a VM exit without one.
bool output_without_iterations(const Difference& d) {
  constexpr uint64_t kRep = 1 << 5, kRcx = 1;
  return is_exit(d.right_exit, ExitReason::kIoInstruction) &&
         (of(d.right_exit, kQualification) & kRep) != 0 &&
         value_at(d.right_exit->registers, kRcx) == 0;
}

bool displacement_of_a_register(const Difference& d) {
  constexpr uint64_t kRegister = 1 << 10;
  return is_information(d, kQualification) && d.left == 0 &&
         (of(d.left_exit, kInformation) & kRegister) != 0;
}

// An MTF VM exit right behind RDTSC or IN.
bool value_of_the_machine(const Difference& d) {
  constexpr uint32_t kRax = 0, kRdx = 2;
  constexpr uint8_t kInByte = 0xec, kInImmediate = 0xe4;
  const auto before = [&](uint64_t distance) {
    uint8_t byte = 0;
    const uint64_t rip = d.situation.left[Field::kGuestRip] - distance;
    d.situation.memory.read(ept::PhysicalAddress{kCode + rip % kPage}, std::span(&byte, 1));
    return byte;
  };
  const bool rdtsc = before(2) == 0x0f && before(1) == 0x31;
  const bool in = (before(2) & 0xfe) == kInImmediate || (before(1) & 0xfe) == kInByte;
  return d.item == Item::kRegister && (d.key == kRax || d.key == kRdx) && (rdtsc || in);
}

bool operand_size_of_table(const Difference& d) {
  constexpr uint64_t kOperandSize = 1 << 11;
  return is_information(d, kInformation) && is_exit(d.left_exit, ExitReason::kGdtrIdtrAccess) &&
         only_left_has(d, kOperandSize) &&
         (d.situation.before[Field::kGuestCsAccessRights] & 0x4000) != 0;
}

// The first that applies is the kind of a difference.
constexpr DecidedKind kKinds[] = {
    {"pending MTF injected", "Injection of Pending MTF VM Exits", Right::kNestor, true,
     injected_monitor_trap_flag},
    {"guest page walk with EPT accessed and dirty flags: read and write, or write",
     "Exit Qualification for EPT Violations", Right::kNestor, false, walk_is_read_and_write},
    {"real mode: type of CS", "Saving Segment Registers and Descriptor-Table Registers",
     Right::kNestor, false, real_mode_code_segment},
    {"bits of TR's access rights", "Saving Segment Registers and Descriptor-Table Registers",
     Right::kNestor, false, task_register_bits},
    {"RF behind the delivery of an injected or software event", "Saving RIP, RSP, RFLAGS, and SSP",
     Right::kNestor, false, resume_flag_of_delivery},
    {"NMI unblocking due to IRET, of a fault that is no memory access",
     "Information About NMI Unblocking Due to IRET", Right::kNestor, false,
     unblocking_without_an_access},
    {"RF of a double or triple fault", "Instruction-Breakpoint Exception Condition", Right::kNestor,
     false, resume_flag_of_abort},
    {"RF that a double fault pushes", "Instruction-Breakpoint Exception Condition", Right::kNestor,
     true, resume_flag_on_the_stack},
    {"RF between two iterations", "Instruction-Breakpoint Exception Condition", Right::kBochs,
     false, resume_flag_between_iterations},
    {"blocking by STI with IF = 1 before", "STI", Right::kBochs, false, sti_with_interrupts_on},
    {"#GP for a branch to a non-canonical address: RIP and RSP", "JMP", Right::kBochs, false,
     branch_out_of_canonical_space},
    {"IA32_DEBUGCTL that VM entry does not load",
     "Loading Host Control Registers, Debug Registers, MSRs", Right::kNestor, false,
     debugctl_was_not_loaded},
    {"guest page walk on the APIC-access page", "Guest-Physical Accesses to the APIC-Access Page",
     Right::kNestor, false, walk_on_the_apic_access_page},
    {"displacement of a register operand", "Basic VM-Exit Information", Right::kNestor, false,
     displacement_of_a_register},
    {"values of the time-stamp counter and of ports", "-", Right::kBoth, true,
     value_of_the_machine},
    {"paging structures outside memory", "-", Right::kBoth, true, tables_are_ones},
    {"operand size of SGDT, SIDT, LGDT and LIDT",
     "Information for VM Exits Due to Instruction Execution", Right::kNestor, false,
     operand_size_of_table},
    {"IDT-vectoring information of INT n in virtual-8086 mode",
     "Information for VM Exits During Event Delivery", Right::kNestor, false,
     virtual_8086_vectoring},
    {"breakpoints beside a single step", "Delivery of Pending Debug Exceptions after VM Entry",
     Right::kNestor, false, breakpoints_beside_single_step},
    {"IF in the shutdown state", "Loading Guest RIP, RSP, RFLAGS, and SSP", Right::kNestor, false,
     interrupt_flag_of_shutdown},
    {"information of a virtualization exception", "Virtualization-Exception Information",
     Right::kNestor, false, virtualization_exception_information},
    {"NMI injected under blocking by STI: qualification",
     "VM-Entry Failures During or After Loading Guest State", Right::kNestor, true,
     nmi_blocked_by_sti},
    {"two checks of the guest state fail: whose qualification",
     "VM-Entry Failures During or After Loading Guest State", Right::kBoth, true, two_checks_fail},
    {"HLT and an injected event that it does not allow", "Checks on Guest Non-Register State",
     Right::kNestor, true, is_unchecked<kEvent>},
    {"BS pending without RFLAGS.TF", "Checks on Guest Non-Register State", Right::kNestor, true,
     is_unchecked<kTrap>},
    {"pending debug exceptions: reserved bits of the upper half",
     "Checks on Guest Non-Register State", Right::kNestor, true, is_unchecked<kPending>},
    {"IA32_DEBUGCTL: reserved bits", "Checks on Guest Control Registers, Debug Registers, and MSRs",
     Right::kNestor, true, is_unchecked<kDebugctl>},
    {"RIP beyond the linear-address width", "Checks on Guest RIP, RFLAGS, and SSP", Right::kNestor,
     true, is_unchecked<kRip>},
    {"IA32_PERF_GLOBAL_CTRL: reserved bits", "Checks on Host Control Registers, MSRs, and SSP",
     Right::kNestor, true, is_unchecked<kCounters>},
    {"posted interrupts without virtual-interrupt delivery", "VM-Execution Control Fields",
     Right::kNestor, true, is_unchecked<kPosted>},
    {"accessed flag in a guest entry that EPT does not let be written", "EPT Violations",
     Right::kNestor, true, accessed_flag_is_refused},
    {"accessed flag of an upper EPT entry with a full page-modification log",
     "Page-Modification Logging", Right::kBoth, true, log_is_full_for_an_accessed_flag},
    {"real mode: the vector table or the stack first",
     "Interrupt and Exception Handling in Real-Address Mode", Right::kBoth, true,
     vector_table_comes_first},
    {"software interrupt injected in virtual-8086 mode with IOPL below 3",
     "Details of Vectored-Event Injection", Right::kNestor, true, virtual_8086_injection},
    {"enabled breakpoint pending without its number",
     "Delivery of Pending Debug Exceptions after VM Entry", Right::kNestor, true,
     breakpoint_without_number},
    {"debug exceptions pending in the shutdown state",
     "Delivery of Pending Debug Exceptions after VM Entry", Right::kNestor, true,
     pending_in_shutdown},
    {"debug exceptions pending in the HLT state", "Activity State", Right::kNestor, true,
     pending_in_hlt},
    {"preemption timer of 0 and blocking by STI or MOV SS", "VMX-Preemption Timer", Right::kNestor,
     true, timer_of_zero},
    {"preemption timer of 0, saved by a VM exit before", "Saving Non-Register State",
     Right::kNestor, true, timer_of_zero_was_saved},
    {"REP INS and REP OUTS with a count of 0", "Instructions That Cause VM Exits Conditionally",
     Right::kBoth, true, output_without_iterations},
    {"physical addresses beyond those of Bochs", "4-Level Paging and 5-Level Paging", Right::kBoth,
     true, beyond_physical_width},
    {"interrupt window in the HLT state", "Other Causes of VM Exits", Right::kNestor, true,
     interrupt_window_in_hlt},
    {"far RET and IRET: which of their words EPT refuses", "EPT Violations", Right::kBoth, true,
     words_of_far_return},
    {"where a loop is when the preemption timer expires", "VMX-Preemption Timer", Right::kBoth,
     true, loop_until_the_timer},
    {"handler of #GP for a return to a non-canonical address", "RET", Right::kBochs, true,
     return_out_of_canonical_space},
    {"code beyond the limit of CS", "Limit Checking", Right::kBochs, true, beyond_code_limit},
    {"segment that does not allow an access", "Type Checking", Right::kBochs, true,
     segment_is_not_checked},
    {"EPT that the guest has written to or executes",
     "Guidelines for Use of the INVEPT Instruction", Right::kBoth, true, ept_was_overwritten},
};

}  // namespace

const DecidedKind* find_decided_kind(const Difference& difference) {
  const auto* found =
      std::ranges::find_if(kKinds, [&](const DecidedKind& kind) { return kind.is(difference); });
  return found == std::end(kKinds) ? nullptr : found;
}

}  // namespace nestor::fuzz
